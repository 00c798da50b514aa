package sim

import (
	"encoding/binary"
	"io"
	"math/rand/v2"
	"os"
	"slices"

	"ferry/proto0500"
)

// Daemon is what moves: the four methods of package daemon's interface of that name, which this package does not
// import, with the types below in place of that package's. Their shapes are the same, so that a conversion is enough.
type Daemon interface {
	Apply(events []Event) error
	Snapshot() (Snapshot, error)
	Restore(state State) error
	Close() error
}

// Digester may be implemented by a Daemon.
type Digester interface{ Digest() (uint64, error) }

// Pictured may be implemented by a Daemon whose snapshots can differ where its states do not: the picture is compared.
type Pictured interface{ Picture() ([]byte, error) }

// Survivor may be implemented by a Daemon that keeps its own log. Crash gives what a crash of the process leaves, and
// its last event; the others are rebuilt from the log that this package keeps for them.
type Survivor interface {
	Sync() error
	Crash() (again Daemon, through proto0500.Seq, err error)
}

// Origin is that of the first daemon of every episode.
func Origin() proto0500.Origin { return entities[0].origin }

// Event is one accepted event.
type Event struct {
	Seq        proto0500.Seq
	Link       proto0500.Link
	Hash       uint64
	Payload    []byte
	ReceivedAt uint64
}

// Snapshot is a consistent picture of a state.
type Snapshot interface {
	io.ReaderAt
	Size() int64
	Close() error
}

// State is a received snapshot.
type State interface {
	io.ReaderAt
	Size() int64
	Take(path string) error
}

// Factory makes the daemons of an episode, and their events.
type Factory struct {
	// Open makes an empty daemon. created says that it begins its life, and will not be given a state.
	Open func(created bool) (Daemon, error)
	// Payload makes an event, whatever the daemon understands.
	Payload func(r *rand.Rand) []byte
	// ChunkBytes is the size of a chunk; 0: small ones.
	ChunkBytes uint32
}

// openDaemon makes a daemon, which the episode closes at its end, if nobody does before.
func (w *world) openDaemon(created bool) (Daemon, error) {
	d, err := w.cfg.Factory.Open(created)
	if err == nil {
		w.opened = append(w.opened, d)
	}
	return d, err
}

func (w *world) closeDaemon(d Daemon) {
	if i := slices.Index(w.opened, d); i >= 0 {
		w.opened = slices.Delete(w.opened, i, i+1)
		_ = d.Close() // it may have crashed
	}
}

// Ledger is the factory of the simulator's own daemon: a table of sums over all events in which order matters.
func Ledger() Factory {
	return Factory{
		Open: func(bool) (Daemon, error) { return &ledger{}, nil },
		Payload: func(r *rand.Rand) []byte {
			return binary.LittleEndian.AppendUint32(nil, r.Uint32())
		},
	}
}

const ledgerSlots = 24

type ledger struct {
	n, sum uint64
	slots  [ledgerSlots]uint64
}

func (l *ledger) Apply(events []Event) error {
	for i := range events {
		h := uint64(14695981039346656037)
		for _, b := range events[i].Payload {
			h = (h ^ uint64(b)) * 1099511628211
		}
		l.n++
		l.sum = (l.sum+h)*0x9e3779b97f4a7c15 ^ l.sum>>29
		l.slots[l.sum>>32%ledgerSlots] += h ^ l.sum
	}
	return nil
}

func (l *ledger) Snapshot() (Snapshot, error) {
	b := make([]byte, 0, 8*(ledgerSlots+2))
	b = binary.LittleEndian.AppendUint64(b, l.n)
	b = binary.LittleEndian.AppendUint64(b, l.sum)
	for _, v := range l.slots {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	return bytesSnapshot(b), nil
}

func (l *ledger) Restore(s State) error {
	b := make([]byte, 8*(ledgerSlots+2))
	if _, err := s.ReadAt(b, 0); err != nil && err != io.EOF {
		return err
	}
	l.n, l.sum = binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])
	for i := range l.slots {
		l.slots[i] = binary.LittleEndian.Uint64(b[16+8*i:])
	}
	return nil
}

func (l *ledger) Close() error { return nil }

func (l *ledger) Digest() (uint64, error) { return l.sum | 1, nil }

type bytesSnapshot []byte

func (b bytesSnapshot) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off > int64(len(b)) {
		return 0, io.EOF
	}
	n := copy(p, b[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (b bytesSnapshot) Size() int64  { return int64(len(b)) }
func (b bytesSnapshot) Close() error { return nil }

// buffer is a received state. Take is for daemons with files of their own.
type buffer struct{ bytesSnapshot }

func (b *buffer) WriteAt(p []byte, off int64) (int, error) {
	return copy(b.bytesSnapshot[off:], p), nil
}

func (b *buffer) Take(path string) error { return os.WriteFile(path, b.bytesSnapshot, 0o600) }
