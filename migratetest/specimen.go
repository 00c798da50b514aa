package migratetest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"ferry/daemon"
	"ferry/internal/sim"
)

// kit is one run of Run.
type kit struct {
	kind  daemon.Kind
	opts  Options
	dir   string
	begun time.Time
	noise map[string]bool // fields that are no state
	n     int             // directories made
	all   []*specimen     // not swept yet

	moves, events, faults uint64 // simulated
}

func newKit(kind daemon.Kind, dir string, o Options) *kit {
	k := &kit{kind: kind, opts: o, dir: dir, begun: time.Now(), noise: make(map[string]bool)}
	for _, name := range o.Ignore {
		k.noise[name] = true
	}
	return k
}

// specimen is one copy of the author's daemon, and what it was given.
type specimen struct {
	k      *kit
	dir    string // Env.Dir
	d      daemon.Daemon
	head   daemon.Head
	events []daemon.Event // since it was created or restored
	snaps  []daemon.Snapshot
	keep   bool // payloads stay as they are after Apply; otherwise they are spoiled
	closed bool
}

// open makes a daemon in a new directory.
func (k *kit) open(created bool) (*specimen, error) {
	k.n++
	s := &specimen{k: k, dir: filepath.Join(k.dir, fmt.Sprint("daemon-", k.n)), head: daemon.Genesis(sim.Origin())}
	if err := os.Mkdir(s.dir, 0o700); err != nil {
		return nil, err
	}
	return s, s.start(created)
}

// start opens what is in the directory.
func (s *specimen) start(created bool) error {
	s.k.all = append(s.k.all, s)
	env := daemon.Env{Dir: s.dir, Origin: sim.Origin(), Name: "specimen", Created: created, Log: slog.New(slog.DiscardHandler)}
	err := guard("Open", func() (err error) { s.d, err = s.k.kind.Open(env); return err })
	if err == nil && s.d == nil {
		err = errors.New("no daemon came of Open")
	}
	return err
}

// durable is the daemon as one that keeps its own log, if it is one.
func (s *specimen) durable() (daemon.Durable, bool) {
	d, ok := s.d.(daemon.Durable)
	return d, ok && !s.k.kind.InMemory
}

// apply makes events of payloads, and has them applied in one batch.
func (s *specimen) apply(payloads ...[]byte) error {
	head, events := s.head, make([]daemon.Event, 0, len(payloads))
	for _, p := range payloads {
		link, err := head.Link.Next(head.Hash, 0)
		if err != nil {
			return err
		}
		e := daemon.Event{Seq: link.Sequence, Link: link, Hash: link.Hash(p), Payload: p, ReceivedAt: receivedAt(uint64(link.Sequence))}
		head = daemon.Head{Seq: e.Seq, Link: e.Link, Hash: e.Hash}
		events = append(events, e)
	}
	return s.give(events)
}

// receivedAt is when event n was accepted: the same for every copy, as in a real move.
func receivedAt(n uint64) uint64 { return 1_700_000_000_000_000_000 + n*1_000_003 }

// give has events applied. The daemon may keep nothing of a payload, so it is spoiled afterwards.
func (s *specimen) give(events []daemon.Event) error {
	if len(events) == 0 {
		return nil // the host does not call it for nothing
	}
	lent := slices.Clone(events)
	for i := range lent {
		lent[i].Payload = bytes.Clone(lent[i].Payload)
	}
	if err := guard("Apply", func() error { return s.d.Apply(lent) }); err != nil {
		return err
	}
	for i := range lent {
		if !s.keep {
			for j := range lent[i].Payload {
				lent[i].Payload[j] ^= 0xa5
			}
		}
		s.events = append(s.events, events[i])
		s.head = daemon.Head{Seq: events[i].Seq, Link: events[i].Link, Hash: events[i].Hash}
	}
	return nil
}

// each applies payloads one by one.
func (s *specimen) each(payloads [][]byte) error {
	for _, p := range payloads {
		if err := s.apply(p); err != nil {
			return err
		}
	}
	return nil
}

func (s *specimen) snapshot() (snap daemon.Snapshot, err error) {
	err = guard("Snapshot", func() (err error) { snap, err = s.d.Snapshot(); return err })
	if err == nil && snap == nil {
		err = errors.New("no snapshot came of Snapshot")
	}
	if err != nil {
		return nil, err
	}
	once := &closeOnce{Snapshot: snap}
	s.snaps = append(s.snaps, once)
	return once, nil
}

// closeOnce is closed once, as the host promises.
type closeOnce struct {
	daemon.Snapshot
	closed bool
}

func (c *closeOnce) ReadAt(p []byte, off int64) (n int, err error) {
	if bad := guard("Snapshot.ReadAt", func() error { n, err = c.Snapshot.ReadAt(p, off); return nil }); bad != nil {
		return 0, bad
	}
	return n, err
}

func (c *closeOnce) Close() error {
	if c.closed {
		return nil
	}
	c.closed = true
	return guard("Snapshot.Close", c.Snapshot.Close)
}

// restored is a new daemon, given state.
func (k *kit) restored(state []byte, base daemon.Head) (*specimen, error) {
	s, err := k.open(false)
	if err != nil {
		return nil, err
	}
	s.head = base
	return s, s.restore(state)
}

func (s *specimen) restore(state []byte) error {
	return guard("Restore", func() error { return s.d.Restore(&received{b: state}) })
}

// received is a State. Take puts a file there.
type received struct {
	b     []byte
	taken bool
}

var errTaken = errors.New("the State was read after Take")

func (r *received) ReadAt(p []byte, off int64) (int, error) {
	if r.taken {
		return 0, errTaken
	}
	return bytes.NewReader(r.b).ReadAt(p, off)
}

func (r *received) Size() int64 { return int64(len(r.b)) }

func (r *received) Take(path string) error {
	if r.taken {
		return errTaken
	}
	r.taken = true
	return os.WriteFile(path, r.b, 0o600)
}

// close is the end of a copy; its snapshots go first.
func (s *specimen) close() {
	if s.closed || s.d == nil {
		return
	}
	s.closed = true
	s.endSnapshots()
	_ = guard("Close", s.d.Close)
}

func (s *specimen) endSnapshots() {
	for _, snap := range s.snaps {
		_ = snap.Close()
	}
	s.snaps = nil
}

// crashed opens a copy of the directory as it is now: what a crash of the process leaves. What the daemon has in
// memory is gone; what the operating system has not written yet is there, which a power failure could take too.
func (s *specimen) crashed() (*specimen, error) {
	k := s.k
	k.n++
	again := &specimen{k: k, dir: filepath.Join(k.dir, fmt.Sprint("daemon-", k.n)), head: s.head, keep: s.keep}
	if err := os.CopyFS(again.dir, os.DirFS(s.dir)); err != nil {
		return nil, err
	}
	return again, again.start(false)
}

// guard calls the author's code.
func guard(what string, f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%s panicked: %v (%s)", what, p, culprit())
		}
	}()
	if err := f(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// culprit is the line that panicked.
func culprit() string {
	var pcs [64]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	panicked := false
	for {
		f, more := frames.Next()
		if panicked && !strings.HasPrefix(f.Function, "runtime.") {
			return fmt.Sprintf("%s:%d", filepath.Base(f.File), f.Line)
		}
		panicked = panicked || f.Function == "runtime.gopanic"
		if !more {
			return "at an unknown line"
		}
	}
}

// readAll reads a snapshot in pieces of size, in the order of order.
func readAll(snap daemon.Snapshot, size int64, order func(pieces int) []int) ([]byte, error) {
	b := make([]byte, snap.Size())
	pieces := int((int64(len(b)) + size - 1) / size)
	for _, i := range order(pieces) {
		p := b[int64(i)*size : min(int64(i+1)*size, int64(len(b)))]
		if n, err := snap.ReadAt(p, int64(i)*size); n < len(p) {
			if err == nil || err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, fmt.Errorf("Snapshot.ReadAt: %d of %d bytes at %d: %w", n, len(p), int64(i)*size, err)
		}
	}
	return b, nil
}

func inOrder(pieces int) []int {
	list := make([]int, pieces)
	for i := range list {
		list[i] = i
	}
	return list
}

// image is the whole snapshot of now.
func (s *specimen) image() ([]byte, error) {
	snap, err := s.snapshot()
	if err != nil {
		return nil, err
	}
	b, err := readAll(snap, 1<<16, inOrder)
	if err = errors.Join(err, snap.Close()); err != nil {
		return nil, err
	}
	s.snaps = s.snaps[:len(s.snaps)-1]
	return b, nil
}
