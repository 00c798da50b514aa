package daemon_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"

	"ferry/daemon"
	"ferry/proto0500"
)

// diary is a daemon that remembers every event it was given, so that a test can
// ask for all of them wherever it is. Its state can be padded to any size.
type diary struct {
	hooks   *hooks
	padding int

	mu      sync.Mutex
	entries []entry
	sum     uint64
}

type entry struct {
	link    proto0500.Link
	payload []byte
}

// hooks let a test step in where a daemon at one node is called. A hook runs on
// whatever goroutine calls the daemon; an error of it is the call's.
type hooks struct {
	padding  int
	says     int64 // the size that it says it has; 0: the padding
	inMemory bool
	schema   uint32

	mu sync.Mutex
	at map[string]func() error
}

// on sets what happens at a point: open, apply, snapshot, read, restore, digest.
func (h *hooks) on(point string, f func() error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.at == nil {
		h.at = make(map[string]func() error)
	}
	h.at[point] = f // nil: nothing
}

func (h *hooks) hit(point string) error {
	h.mu.Lock()
	f := h.at[point]
	h.mu.Unlock()
	if f == nil {
		return nil
	}
	return f()
}

// diaryKind is the kind "diary"; h may be nil.
func diaryKind(h *hooks) daemon.Kind {
	if h == nil {
		h = new(hooks)
	}
	return daemon.Kind{
		Name: "diary", Schema: max(h.schema, 1), InMemory: h.inMemory,
		Open: func(env daemon.Env) (daemon.Daemon, error) {
			d := &diary{hooks: h}
			if env.Created {
				d.padding = h.padding // kept by the state from then on
			}
			return d, h.hit("open")
		},
	}
}

// with gives a node the diary with these hooks.
func with(h *hooks) func(*daemon.Config) {
	return func(c *daemon.Config) { c.Kinds = []daemon.Kind{diaryKind(h)} }
}

func (d *diary) Apply(events []daemon.Event) error {
	if err := d.hooks.hit("apply"); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range events {
		if bytes.HasPrefix(e.Payload, []byte("bad")) {
			return fmt.Errorf("event %d is bad", e.Seq)
		}
		if string(e.Payload) == "panic" {
			panic("at the author's")
		}
		d.entries = append(d.entries, entry{e.Link, slices.Clone(e.Payload)})
		d.sum = d.sum*31 + xxhash.Sum64(e.Payload)
	}
	return nil
}

// state is padding u32, sum u64, count u32, the padding, then link(32), length u32 and payload of each event.
func (d *diary) state() []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	b := binary.LittleEndian.AppendUint32(nil, uint32(d.padding))
	b = binary.LittleEndian.AppendUint64(b, d.sum)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(d.entries)))
	// Noise: what is all zeros, or can be compressed, does not travel.
	at := len(b)
	b = append(b, make([]byte, d.padding)...)
	_, _ = rand.NewChaCha8([32]byte{}).Read(b[at:])
	for _, e := range d.entries {
		b = binary.LittleEndian.AppendUint32(e.link.Append(b), uint32(len(e.payload)))
		b = append(b, e.payload...)
	}
	return b
}

func (d *diary) Snapshot() (daemon.Snapshot, error) {
	if err := d.hooks.hit("snapshot"); err != nil {
		return nil, err
	}
	return hookedSnapshot{daemon.Bytes(d.state()), d.hooks}, nil
}

type hookedSnapshot struct {
	daemon.Snapshot
	hooks *hooks
}

func (s hookedSnapshot) ReadAt(p []byte, off int64) (int, error) {
	if err := s.hooks.hit("read"); err != nil {
		return 0, err
	}
	return s.Snapshot.ReadAt(p, off)
}

func (d *diary) Restore(s daemon.State) error {
	if err := d.hooks.hit("restore"); err != nil {
		return err
	}
	b := make([]byte, s.Size())
	if _, err := s.ReadAt(b, 0); err != nil {
		return err
	}
	if len(b) < 16 {
		return errors.New("a state of another kind")
	}
	d.padding = int(binary.LittleEndian.Uint32(b))
	d.sum = binary.LittleEndian.Uint64(b[4:])
	n := binary.LittleEndian.Uint32(b[12:])
	b = b[16+d.padding:]
	for range n {
		link := proto0500.LinkFrom(b)
		size := binary.LittleEndian.Uint32(b[32:])
		d.entries = append(d.entries, entry{link, b[36 : 36+size]})
		b = b[36+size:]
	}
	return nil
}

func (d *diary) Digest() (uint64, error) {
	if err := d.hooks.hit("digest"); err != nil {
		return 0, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.sum | 1, nil
}

func (d *diary) StateBytes() int64 { return max(int64(d.padding), d.hooks.says) }

func (d *diary) Close() error { return nil }

// read gives what the diary of a node holds, as payloads in order, after it has
// checked that they are one unbroken chain from its beginning.
func (n *node) read(name string) []string {
	n.w.t.Helper()
	st := n.status(name)
	d, ok := st.Daemon.(*diary)
	if !ok {
		n.w.t.Fatalf("no diary at %s: %+v", n.name, st)
	}
	return d.payloads(n.w.t, st.Origin)
}

func (d *diary) payloads(t testing.TB, origin proto0500.Origin) (list []string) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	head := daemon.Genesis(origin)
	for _, e := range d.entries {
		if err := e.link.Follows(head.Link, head.Hash); err != nil {
			t.Fatalf("the chain is broken at %d: %v", e.link.Sequence, err)
		}
		head = daemon.Head{Seq: e.link.Sequence, Link: e.link, Hash: e.link.Hash(e.payload)}
		list = append(list, string(e.payload))
	}
	return list
}

// lines gives n payloads.
func lines(from, n int) (list []string) {
	for i := range n {
		list = append(list, fmt.Sprintf("line %d", from+i))
	}
	return list
}

// fill writes them.
func (n *node) fill(name string, list []string) {
	n.w.t.Helper()
	for _, l := range list {
		n.write(name, []byte(l))
	}
}

// stop is a place where a hook waits until the test has done something.
type stop struct {
	reached chan struct{}
	free    chan struct{}
	once    sync.Once
	err     error // the hook's, set before release
}

func newStop() *stop { return &stop{reached: make(chan struct{}), free: make(chan struct{})} }

// here is the hook; only its first call stops.
func (s *stop) here() (err error) {
	s.once.Do(func() {
		close(s.reached)
		<-s.free
		err = s.err
	})
	return err
}

func (s *stop) wait(t testing.TB) {
	t.Helper()
	select {
	case <-s.reached:
	case <-time.After(patience):
		t.Fatal("a hook is not reached")
	}
}

func (s *stop) release() { close(s.free) }
