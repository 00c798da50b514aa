package transport

import (
	"errors"
	"io"
	"runtime"
	"sync"
	"testing"
	"time"

	"ferry/frame"
)

// The path swallows everything: both notice within the idle timeout, streams and sessions alike.
func TestSilentPath(t *testing.T) {
	w := newWorld(t)
	quick := func(c *Config) { c.KeepAlive, c.IdleTimeout = 200*time.Millisecond, 2*time.Second }
	a, b := w.listening("a", quick), w.listening("b", quick)
	p := newPath(t, b.Addr())
	w.set(Address{ID: b.ID(), Name: "b", Addr: p.addr(), Key: b.key.Public()})
	as := a.session(b)
	bs := wait(t, "session at b", b.opened)
	roundTrip(t, a, b, as, bs)
	st := open(t, as, Lane, 0)
	read := make(chan error, 1)
	go func() {
		_, err := st.Read(make([]byte, 1))
		read <- err
	}()
	p.cut.Store(true)
	began := time.Now()
	for _, n := range []*node{a, b} {
		if got := wait(t, "close at "+n.name, n.closed); !errors.Is(got.cause, ErrLost) {
			t.Errorf("%s was closed with %v", n.name, got.cause)
		}
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v to notice", took)
	}
	if err := wait(t, "end of the lane", read); !errors.Is(err, ErrLost) {
		t.Errorf("the lane has ended with %v", err)
	}
	if err := as.Send(0, []byte{1}); !errors.Is(err, ErrLost) {
		t.Errorf("Send says %v", err)
	}
	if _, err := as.OpenStream(t.Context(), Lane, 0); !errors.Is(err, ErrLost) {
		t.Errorf("OpenStream says %v", err)
	}
	// The path heals, and a new session is made.
	p.cut.Store(false)
	if again := a.session(b); again == as {
		t.Error("the dead session is given out")
	}
}

// A node that is killed and restarted says so at the first packet of the old connection, long before the timeout.
func TestRestartedPeer(t *testing.T) {
	w := newWorld(t)
	a := w.listening("a", func(c *Config) { c.KeepAlive, c.IdleTimeout = 100*time.Millisecond, time.Hour })
	patient := func(c *Config) { c.IdleTimeout = time.Hour }
	b := w.listening("b", nil)
	p := newPath(t, b.Addr())
	w.set(Address{ID: b.ID(), Name: "b", Addr: p.addr(), Key: b.key.Public()})
	as := a.session(b)
	wait(t, "session at b", b.opened)
	// As after kill -9, what b was says nothing any more, and another process with its key is at its address.
	again := w.prepare("b", patient)
	if err := again.Listen("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	again.run(p.addr())
	p.redirect(again.Addr())
	if got := wait(t, "close at a", a.closed); got.s != as || !errors.Is(got.cause, ErrLost) {
		t.Errorf("a was closed with %v", got.cause)
	}
	as = a.session(again)
	roundTrip(t, a, again, as, wait(t, "session at the restarted b", again.opened))
}

// Both dial at the same time. There may be two sessions then, and both deliver.
func TestBothDial(t *testing.T) {
	w := newWorld(t)
	a, b := w.listening("a", nil), w.listening("b", nil)
	var as, bs *Session
	var both sync.WaitGroup
	both.Go(func() { as, _ = a.Session(t.Context(), b.ID()) })
	both.Go(func() { bs, _ = b.Session(t.Context(), a.ID()) })
	both.Wait()
	if as == nil || bs == nil {
		t.Fatal("a dial has failed")
	}
	for _, leg := range []struct {
		from *Session
		to   *node
	}{{as, b}, {bs, a}} {
		if err := leg.from.Send(1, []byte("\x80both")); err != nil {
			t.Fatal(err)
		}
		if got := wait(t, "frame", leg.to.frames); got.msg != "\x80both" {
			t.Errorf("got %+v", got)
		}
		echo(t, open(t, leg.from, Lane, 0), make([]byte, 1<<20))
	}
}

// Many want the same node at once: one dial, one session.
func TestSharedDial(t *testing.T) {
	w := newWorld(t)
	a, b := w.listening("a", nil), w.listening("b", nil)
	var all sync.WaitGroup
	got := make(chan *Session, 32)
	for range cap(got) {
		all.Go(func() {
			s, err := a.Session(t.Context(), b.ID())
			if err != nil {
				t.Error(err)
			}
			got <- s
		})
	}
	all.Wait()
	first := <-got
	for len(got) > 0 {
		if s := <-got; s != first {
			t.Fatal("there is a second session")
		}
	}
	wait(t, "session at b", b.opened)
	if len(b.opened) > 0 {
		t.Error("b has a second session")
	}
}

// Everything that was sent before a clean close arrives before it.
func TestCleanCloseDelivers(t *testing.T) {
	const frames = 500
	w := newWorld(t)
	a, b := w.listening("a", nil), w.listening("b", nil)
	s := a.session(b)
	for i := range frames {
		if err := s.Send(frame.Epoch(i), []byte("\x8aone of many")); err != nil {
			t.Fatal(err)
		}
	}
	a.stop()
	if got := wait(t, "close at b", b.closed); !errors.Is(got.cause, ErrClosed) {
		t.Errorf("b was closed with %v", got.cause)
	}
	if len(b.frames) != frames {
		t.Fatalf("%d of %d frames have arrived", len(b.frames), frames)
	}
	for i := range frames {
		if got := <-b.frames; got.epoch != frame.Epoch(i) {
			t.Fatalf("frame %d has arrived in place %d", got.epoch, i)
		}
	}
	if err := s.Send(0, []byte{1}); !errors.Is(err, ErrClosed) {
		t.Errorf("Send after the close says %v", err)
	}
}

// A peer that does not take control frames is given up when the queue is full, and costs no more memory than that.
func TestSlowPeer(t *testing.T) {
	w := newWorld(t)
	release := make(chan struct{})
	a := w.listening("a", func(c *Config) { c.ControlQueue = 8 })
	b := w.prepare("b", func(c *Config) { c.StreamWindow, c.ConnWindow = 64<<10, 256<<10 })
	b.onFrame = func(*Session, frame.Frame) { <-release }
	if err := b.Listen("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	b.run(b.Addr().String())
	t.Cleanup(func() { close(release) })
	s := a.session(b)
	msg := make([]byte, 16<<10)
	var err error
	for sent := 0; err == nil; sent++ {
		if err = s.Send(1, msg); sent > 10_000 {
			t.Fatal("the queue has no end")
		}
	}
	if !errors.Is(err, ErrSlowPeer) {
		t.Errorf("Send says %v", err)
	}
	if got := wait(t, "close at a", a.closed); !errors.Is(got.cause, ErrSlowPeer) {
		t.Errorf("a was closed with %v", got.cause)
	}
}

// Lanes and events that nobody reads stand full, and control goes on in both directions.
func TestControlPassesBulk(t *testing.T) {
	for _, connections := range []int{connectionsDefault, -1} {
		w := newWorld(t)
		small := func(c *Config) {
			c.StreamWindow, c.ConnWindow, c.Connections = 64<<10, 512<<10, connections
		}
		a, b := w.listening("a", small), w.prepare("b", small)
		release := make(chan struct{})
		full := make(chan struct{}, 16)
		b.onStream = func(_ *Session, st *Stream) {
			full <- struct{}{}
			<-release
			io.Copy(io.Discard, st)
		}
		if err := b.Listen("127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		b.run(b.Addr().String())
		as := a.session(b)
		bs := wait(t, "session at b", b.opened)
		const bulk = 1 << 20
		var writers sync.WaitGroup
		blocked := make(chan struct{}, 16)
		for lane := range uint8(3) {
			kind := Lane
			if lane == 0 {
				kind = Events
			}
			st := open(t, as, kind, lane)
			writers.Go(func() {
				st.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
				n, err := st.Write(make([]byte, bulk))
				if err == nil {
					t.Errorf("a write of %d bytes did not block at a window of 64 KiB", n)
				}
				blocked <- struct{}{}
				st.SetWriteDeadline(time.Time{})
				if _, err := st.Write(make([]byte, bulk-n)); err != nil {
					t.Error(err)
				}
				st.CloseWrite()
			})
			wait(t, "stream at b", full)
		}
		for range 3 {
			wait(t, "full window", blocked)
		}
		for range 200 {
			roundTrip(t, a, b, as, bs)
		}
		close(release)
		writers.Wait()
		a.stop()
		b.stop()
	}
}

// Run ends soon although a dial is under way, and every call says so afterwards.
func TestShutdownWhileDialing(t *testing.T) {
	w := newWorld(t)
	a := w.listening("a", func(c *Config) { c.DialTimeout = time.Hour })
	gone := testKey(t, "gone")
	w.set(Address{ID: gone.NodeID(), Name: "gone", Addr: blackHole(t), Key: gone.Public()})
	ended := make(chan error, 1)
	go func() {
		_, err := a.Session(t.Context(), gone.NodeID())
		ended <- err
	}()
	for dialing := false; !dialing; {
		a.mu.Lock()
		dialing = len(a.dials) > 0
		a.mu.Unlock()
	}
	a.stop()
	if err := wait(t, "end of the dial", ended); err == nil {
		t.Error("the dial has succeeded")
	}
	if _, err := a.Session(t.Context(), gone.NodeID()); !errors.Is(err, ErrShutdown) {
		t.Errorf("Session says %v", err)
	}
}

// Somebody who connects and never speaks is not kept.
func TestSilentDialer(t *testing.T) {
	w := newWorld(t)
	b := w.listening("b", func(c *Config) { c.DialTimeout = 500 * time.Millisecond })
	raw := dialRaw(t, w, b)
	select {
	case <-raw.Context().Done():
	case <-time.After(patience):
		t.Fatal("b keeps a connection on which nothing is said")
	}
	deadline := time.Now().Add(patience)
	for left := 1; left > 0; {
		b.mu.Lock()
		left = len(b.links)
		b.mu.Unlock()
		if time.Now().After(deadline) {
			t.Fatalf("%d connections are left", left)
		}
		runtime.Gosched()
	}
}

// A clean close does not wait for ever for a peer that says nothing.
func TestCloseOnSilentPath(t *testing.T) {
	w := newWorld(t)
	patient := func(c *Config) { c.IdleTimeout = time.Hour }
	a, b := w.listening("a", patient), w.listening("b", patient)
	p := newPath(t, b.Addr())
	w.set(Address{ID: b.ID(), Name: "b", Addr: p.addr(), Key: b.key.Public()})
	s := a.session(b)
	wait(t, "session at b", b.opened)
	p.cut.Store(true)
	s.Close(nil)
	if got := wait(t, "close at a", a.closed); !errors.Is(got.cause, ErrClosed) {
		t.Errorf("a was closed with %v", got.cause)
	}
}
