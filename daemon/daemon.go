// Package daemon hosts stateful event processors that can move between nodes.
//
// An author implements [Daemon] and registers a [Kind]; the [Host] gives each
// daemon its sequence numbers, the causal chain, the durable log, and both
// sides of a move. What is promised depends on where the state lives:
//
//   - A durable daemon (the default: the host keeps the log on disk, or the
//     daemon implements [Durable] and keeps it itself) survives any number of
//     crashes of any node, before, during and after a move, with every event
//     that was acknowledged, once and in order.
//   - An in-memory daemon ([Kind].InMemory) dies with the node that is its
//     authority, exactly as it would without ferry; a move neither adds nor
//     removes that risk once it has ended, and no other node is promoted by
//     itself.
//
// docs/protocol.md and docs/architecture.md give the rules behind this.
package daemon

import (
	"io"
	"log/slog"
	"time"

	"ferry/identity"
	"ferry/proto0500"
)

// Event is one accepted event of a daemon's chain.
type Event struct {
	Seq  proto0500.Seq
	Link proto0500.Link
	// Hash is XXH3-64 over the link's 32 bytes and the payload: the
	// parent_hash of the event that follows.
	Hash    uint64
	Payload []byte
	// ReceivedAt is when the event was accepted, in nanoseconds since 1970.
	// It is information only: nothing orders by it.
	ReceivedAt uint64
}

// Time is ReceivedAt as a time.
func (e Event) Time() time.Time { return time.Unix(0, int64(e.ReceivedAt)) }

// Head is the end of a chain: its last link and that event's hash.
type Head struct {
	Seq  proto0500.Seq
	Link proto0500.Link
	Hash uint64
}

// Genesis is the head of a chain without events.
func Genesis(origin proto0500.Origin) Head {
	link := proto0500.Genesis(origin)
	return Head{Link: link, Hash: link.Hash(nil)}
}

// Daemon is what an author implements. The host calls Apply, Snapshot, Restore
// and Close from one goroutine at a time; what Snapshot returned is read
// concurrently with later Applies, and closed before Close. A panic in any of
// them is an error of it: this daemon stops, and the node's others go on.
type Daemon interface {
	// Apply applies events in order. It must be deterministic: the same events
	// give the same state on every node. Payloads are borrowed until it returns.
	// An error is final: the host stops the daemon until the node is restarted,
	// and a move in which it happens at the target ends with the source serving
	// on. The events were not accepted then: where the host keeps the log it
	// does not hold them, and where the daemon does it must not either.
	Apply(events []Event) error

	// Snapshot returns the state as of the last applied event. It should
	// return at once: writes wait for it. Its bytes stay the same while further
	// events are applied, until it is closed.
	Snapshot() (Snapshot, error)

	// Restore fills a daemon that was just opened on an empty directory. No
	// event is applied before it returns.
	Restore(state State) error

	// Close releases what the daemon holds. No call follows it.
	Close() error
}

// Snapshot is a consistent picture of a daemon's state, readable in any order
// and by many goroutines at once.
type Snapshot interface {
	io.ReaderAt
	// Size is the number of bytes, fixed.
	Size() int64
	// Close ends the reads; the host calls it exactly once.
	Close() error
}

// State is a received snapshot, lying in a file of its own.
type State interface {
	io.ReaderAt
	Size() int64
	// Take moves the file to path, without copying where both lie on one file
	// system. The caller owns it from then on; the State must not be read after.
	Take(path string) error
}

// Digester is implemented by a daemon that can tell a digest of its state
// after the last applied event. Where both sides of a move can, the source
// seals it and the target goes live only when its own is equal. It is asked
// inside the blackout, so it should be kept up incrementally. 0 means "none".
type Digester interface {
	Digest() (uint64, error)
}

// Durable is implemented by a daemon that keeps its accepted events with its
// own state, instead of leaving the log to the host. The events move with the
// state.
type Durable interface {
	// Head is the last event in the state, or Genesis.
	Head() (Head, error)

	// Events gives accepted events in order, from seq from on: about bytesMax
	// bytes of payload, at least one event where there is one. It is called
	// concurrently with Apply. The events are the caller's.
	Events(from proto0500.Seq, bytesMax int) ([]Event, error)

	// Sync returns when everything applied so far survives a crash. Between
	// Restore and the first Sync, Apply need not be durable (a crash there ends
	// the attempt); from then on, and in a daemon opened from its own
	// directory, Apply is durable when it returns.
	Sync() error
}

// Env is where a daemon lives.
type Env struct {
	// Dir is the daemon's own directory. It exists, and nobody else writes in
	// it. Its path does not change while the daemon is open.
	Dir    string
	Origin proto0500.Origin
	Name   string
	// Created: this is a new daemon, at its first event, and may begin with
	// whatever state its kind begins with. Otherwise it finds its state in Dir,
	// or will be given it by Restore.
	Created bool
	// Key is the daemon's own ed25519 key, which moves with it, sealed; nil where a source had none to send.
	Key *identity.Key
	Log *slog.Logger
}

// Kind is how a node makes daemons of one sort: the factory that prepare asks
// for by name.
type Kind struct {
	// Name is compared by bytes, 1 to 255 of them.
	Name string
	// Schema is the version of the snapshots and events that this code writes.
	Schema uint32
	// Reads says which schema versions this code can restore and replay; nil
	// means only Schema itself.
	Reads func(schema uint32) bool
	// InMemory leaves the log in memory: fast, and gone with the process.
	InMemory bool
	// Open opens the daemon that lies in env.Dir, or an empty one.
	Open func(env Env) (Daemon, error)

	memoryLogBytes int // the host's
}

func (k Kind) reads(schema uint32) bool {
	if k.Reads == nil {
		return schema == k.Schema
	}
	return k.Reads(schema)
}

// Bytes makes a Snapshot of b, which must not change afterwards.
func Bytes(b []byte) Snapshot { return byteSnapshot(b) }

type byteSnapshot []byte

func (b byteSnapshot) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off > int64(len(b)) {
		return 0, io.EOF
	}
	n := copy(p, b[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (b byteSnapshot) Size() int64  { return int64(len(b)) }
func (b byteSnapshot) Close() error { return nil }

// Sizer is implemented by a daemon that can tell how large a snapshot would be
// about now, in bytes: for status and for the target's admission. It is called
// concurrently with everything else, and must answer at once.
type Sizer interface{ StateBytes() int64 }
