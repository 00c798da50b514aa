package transport

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"ferry/frame"
	"ferry/identity"
)

// patience bounds what a test waits for. It is only reached when the test fails.
const patience = 20 * time.Second

// world is a set of nodes that know each other, each on a loopback socket.
type world struct {
	t     *testing.T
	mu    sync.Mutex
	known map[identity.NodeID]Address
}

func newWorld(t *testing.T) *world {
	// Registered first, so that it runs after every node has been stopped.
	ignore := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, ignore) })
	return &world{t: t, known: make(map[identity.NodeID]Address)}
}

func (w *world) Resolve(_ context.Context, id identity.NodeID) (Address, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	a, ok := w.known[id]
	if !ok {
		return Address{}, fmt.Errorf("%w: %v", ErrUnknownNode, id)
	}
	return a, nil
}

func (w *world) set(a Address) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.known[a.ID] = a
}

// node is an endpoint with a handler that records.
type node struct {
	*Endpoint
	w    *world
	t    *testing.T
	name string
	key  *identity.Key

	opened chan *Session
	closed chan closedSession
	frames chan received
	// onStream handles incoming streams; the default echoes.
	onStream func(s *Session, st *Stream)
	onOpened func(s *Session, hello []byte) error
	onFrame  func(s *Session, f frame.Frame)

	cancel context.CancelFunc
	ended  chan error
}

type closedSession struct {
	s     *Session
	cause error
}

type received struct {
	s     *Session
	epoch frame.Epoch
	msg   string
}

func testKey(t *testing.T, name string) *identity.Key {
	t.Helper()
	var seed [ed25519.SeedSize]byte
	copy(seed[:], t.Name()+"/"+name)
	copy(seed[20:], name)
	return identity.KeyFromSeed(seed)
}

// prepare makes a node that does not run yet; edit may change its config.
func (w *world) prepare(name string, edit func(*Config)) *node {
	w.t.Helper()
	n := &node{
		w: w, t: w.t, name: name, key: testKey(w.t, name),
		opened: make(chan *Session, 64), closed: make(chan closedSession, 64), frames: make(chan received, 4096),
		ended: make(chan error, 1),
	}
	cfg := Config{Key: n.key, Resolver: w, Handler: n, Hello: func() []byte { return []byte("hello from " + name) },
		// Long, as tests share a busy machine; those that are about time set their own.
		DialTimeout: patience / 2, IdleTimeout: patience / 2,
		Log: slog.New(slog.NewTextHandler(testLog{w.t, name}, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	if edit != nil {
		edit(&cfg)
	}
	e, err := New(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	n.Endpoint = e
	return n
}

// run starts a prepared node, known to the others under addr.
func (n *node) run(addr string) *node {
	n.w.set(Address{ID: n.ID(), Name: n.name, Addr: addr, Key: n.key.Public()})
	ctx, cancel := context.WithCancel(context.Background())
	n.cancel = cancel
	go func() { n.ended <- n.Run(ctx) }()
	n.t.Cleanup(n.stop)
	return n
}

// listening is a node of way (a).
func (w *world) listening(name string, edit func(*Config)) *node {
	w.t.Helper()
	n := w.prepare(name, edit)
	if err := n.Listen("127.0.0.1:0"); err != nil {
		w.t.Fatal(err)
	}
	return n.run(n.Addr().String())
}

func (n *node) stop() {
	n.cancel()
	select {
	case err := <-n.ended:
		n.ended <- err
		if err != nil {
			n.t.Errorf("%s: Run: %v", n.name, err)
		}
	case <-time.After(patience):
		n.t.Errorf("%s: Run has not returned", n.name)
	}
}

func (n *node) Opened(s *Session, hello []byte) error {
	if n.onOpened != nil {
		if err := n.onOpened(s, hello); err != nil {
			return err
		}
	}
	s.SetValue(string(hello))
	n.opened <- s
	return nil
}

func (n *node) Control(s *Session, f frame.Frame) {
	if n.onFrame != nil {
		n.onFrame(s, f)
		return
	}
	select {
	case n.frames <- received{s, f.Epoch(), string(f.Message())}:
	case <-s.Done(): // a test that does not want them all
	}
}

func (n *node) Stream(s *Session, st *Stream) {
	if n.onStream != nil {
		n.onStream(s, st)
		return
	}
	io.Copy(st, st)
}

func (n *node) Closed(s *Session, cause error) { n.closed <- closedSession{s, cause} }

// session is Session within patience.
func (n *node) session(to *node, via ...identity.NodeID) *Session {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(n.t.Context(), patience)
	defer cancel()
	s, err := n.Session(ctx, to.ID(), via...)
	if err != nil {
		n.t.Fatalf("%s: session with %s: %v", n.name, to.name, err)
	}
	return s
}

func wait[T any](t *testing.T, what string, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatalf("no %s", what)
		panic("unreachable")
	}
}

func open(t *testing.T, s *Session, kind Kind, lane uint8) *Stream {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	st, err := s.OpenStream(ctx, kind, lane)
	if err != nil {
		t.Fatalf("open %v: %v", kind, err)
	}
	return st
}

// echo sends b over the stream to an echoing peer, and finishes it.
func echo(t *testing.T, st *Stream, b []byte) {
	t.Helper()
	failed := make(chan error, 1)
	go func() {
		_, err := st.Write(b)
		failed <- errors.Join(err, st.CloseWrite())
	}()
	got, err := io.ReadAll(st)
	if err != nil {
		t.Fatalf("%v %d: read: %v", st.Kind(), st.Lane(), err)
	}
	if err := <-failed; err != nil {
		t.Fatalf("%v %d: write: %v", st.Kind(), st.Lane(), err)
	}
	if !bytes.Equal(got, b) {
		t.Fatalf("%v %d: %d bytes came back, not the %d that were sent", st.Kind(), st.Lane(), len(got), len(b))
	}
}

// roundTrip sends a frame each way and checks both.
func roundTrip(t *testing.T, a, b *node, as, bs *Session) {
	t.Helper()
	for _, leg := range []struct {
		from *Session
		to   *node
		msg  string
	}{{as, b, "\x80there"}, {bs, a, "\x81back"}} {
		if err := leg.from.Send(7, []byte(leg.msg)); err != nil {
			t.Fatal(err)
		}
		if got := wait(t, "frame", leg.to.frames); got.msg != leg.msg || got.epoch != 7 {
			t.Fatalf("got %+v, want %q", got, leg.msg)
		}
	}
}

// testLog writes to the test's log as long as it runs.
type testLog struct {
	t    *testing.T
	name string
}

func (l testLog) Write(b []byte) (int, error) {
	if l.t.Context().Err() == nil {
		l.t.Logf("%s: %s", l.name, bytes.TrimSpace(b))
	}
	return len(b), nil
}
