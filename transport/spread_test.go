package transport

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	netpath "ferry/internal/path"
)

// until waits for a condition.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for deadline := time.Now().Add(patience); !ok(); <-look.C {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

// collector is a handler's Stream that reads pieces of 8 bytes, and counts each and every connection.
type collector struct {
	mu    sync.Mutex
	got   map[uint64]int
	conns map[uint8]int
	err   error
}

func (c *collector) stream(_ *Session, st *Stream) {
	c.mu.Lock()
	if c.got == nil {
		c.got, c.conns = make(map[uint64]int), make(map[uint8]int)
	}
	c.conns[st.Conn()]++
	c.mu.Unlock()
	for {
		var b [8]byte
		_, err := io.ReadFull(st, b[:])
		c.mu.Lock()
		if err != nil {
			if err != io.EOF {
				c.err = err
			}
			c.mu.Unlock()
			return
		}
		c.got[binary.LittleEndian.Uint64(b[:])]++
		c.mu.Unlock()
	}
}

// pieces is a run for Spread.
func pieces(total uint64) func(context.Context, *Stream) error {
	var next atomic.Uint64
	return func(_ context.Context, st *Stream) error {
		for i := next.Add(1) - 1; i < total; i = next.Add(1) - 1 {
			var b [8]byte
			binary.LittleEndian.PutUint64(b[:], i)
			if _, err := st.Write(b[:]); err != nil {
				return err
			}
		}
		return nil
	}
}

func bulkLinks(n *node) int64 { return n.bulk.Load() }

// Every piece arrives once, each lane has a connection of its own, and those that were for this only are closed.
func TestSpread(t *testing.T) {
	const total = 20_000
	w := newWorld(t)
	a := w.listening("a", nil)
	var c collector
	b := w.prepare("b", nil)
	b.onStream = c.stream
	if err := b.Listen("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	b.run(b.Addr().String())
	s := a.session(b)
	for round := range 3 {
		run := pieces(total)
		var begun sync.WaitGroup // with all four, or a fast one might be over before another has dialed
		begun.Add(4)
		err := s.Spread(t.Context(), 4, func(ctx context.Context, st *Stream) error {
			begun.Done()
			begun.Wait()
			return run(ctx, st)
		})
		if err != nil {
			t.Fatal(err)
		}
		arrived := func() bool {
			c.mu.Lock()
			defer c.mu.Unlock()
			return len(c.got) == total
		}
		until(t, "everything has arrived", arrived)
		until(t, "passing connections are closed", func() bool {
			return bulkLinks(a) == connectionsDefault && bulkLinks(b) == connectionsDefault
		})
		c.mu.Lock()
		for i, n := range c.got {
			if n != 1 {
				t.Fatalf("round %d: piece %d has arrived %d times", round, i, n)
			}
		}
		if len(c.conns) != 4 || c.conns[0] > 0 || c.err != nil {
			t.Fatalf("round %d: streams by connection %v, error %v", round, c.conns, c.err)
		}
		clear(c.got)
		clear(c.conns)
		c.mu.Unlock()
	}
	until(t, "no stream is left", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.streams) == 0
	})
}

// On a long path where each lane's window is the limit, lanes are added.
func TestSpreadGrows(t *testing.T) {
	w := newWorld(t)
	narrow := func(c *Config) { c.Lanes, c.StreamWindow = 4, 32<<10 }
	a, b := w.prepare("a", narrow), w.prepare("b", narrow)
	b.onStream = func(_ *Session, st *Stream) { io.Copy(io.Discard, struct{ io.Reader }{st}) }
	for _, n := range []*node{a, b} {
		if err := n.Listen("127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		n.run(n.Addr().String())
	}
	p, err := netpath.Start(netpath.Both(b.Addr().String(), netpath.Link{Delay: 10 * time.Millisecond}, 1))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	w.set(Address{ID: b.ID(), Name: "b", Addr: p.Addr().String(), Key: b.key.Public()})
	s := a.session(b)
	enough := make(chan struct{})
	var once sync.Once
	var conns sync.Map
	deadline := time.Now().Add(patience)
	err = s.Spread(t.Context(), 8, func(_ context.Context, st *Stream) error {
		conns.Store(st.Conn(), st.Lane())
		if st.Lane() == 7 {
			once.Do(func() { close(enough) })
		}
		for buf := make([]byte, 16<<10); ; {
			select {
			case <-enough:
				return nil
			default:
			}
			if time.Now().After(deadline) {
				return errors.New("there are no more lanes than at first")
			}
			if _, err := st.Write(buf); err != nil {
				return err
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	conns.Range(func(k, _ any) bool { n++; return k != 0 })
	if n != 8 {
		t.Errorf("8 lanes on %d connections", n)
	}
	until(t, "passing connections are closed", func() bool { return bulkLinks(b) == connectionsDefault })
}

// The first error ends every lane, and comes out.
func TestSpreadError(t *testing.T) {
	w := newWorld(t)
	a, b := w.listening("a", nil), w.prepare("b", nil)
	begun, ends := make(chan struct{}, 8), make(chan error, 8)
	b.onStream = func(_ *Session, st *Stream) {
		begun <- struct{}{}
		_, err := io.Copy(io.Discard, struct{ io.Reader }{st})
		ends <- err
	}
	if err := b.Listen("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	b.run(b.Addr().String())
	s := a.session(b)
	broken := errors.New("the disk is gone")
	endless := func(fail <-chan struct{}) func(context.Context, *Stream) error {
		return func(ctx context.Context, st *Stream) error {
			for {
				select {
				case <-fail:
					return broken
				default:
				}
				if _, err := st.Write(make([]byte, 100)); err != nil {
					if ctx.Err() == nil {
						t.Errorf("lane %d has ended by itself: %v", st.Lane(), err)
					}
					return err
				}
			}
		}
	}
	failed := make(chan struct{})
	close(failed)
	one := func(ctx context.Context, st *Stream) error {
		if st.Lane() == 0 {
			return endless(failed)(ctx, st)
		}
		return endless(nil)(ctx, st)
	}
	if err := s.Spread(t.Context(), 4, one); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	stopped := errors.New("stopped")
	for len(begun) > 0 {
		<-begun
	}
	go func() {
		<-begun
		cancel(stopped)
	}()
	if err := s.Spread(ctx, 4, endless(nil)); !errors.Is(err, stopped) {
		t.Errorf("after the context: %v", err)
	}
	for len(ends) > 0 {
		err := <-ends
		if se, ok := errors.AsType[*StreamError](err); !ok || se.Code != CodeCanceled {
			t.Errorf("the peer saw a lane end with %v", err)
		}
	}
	until(t, "passing connections are closed", func() bool { return bulkLinks(b) <= connectionsDefault })
	s.Close(errors.New("enough"))
	<-s.Done()
	if err := s.Spread(t.Context(), 4, endless(nil)); err == nil {
		t.Error("spread over a session that has ended")
	}
}

// Through a relay lanes spread too, on both legs.
func TestSpreadRelayed(t *testing.T) {
	const total = 5000
	a, b, o := relayWorld(t, nil)
	var c collector
	b.onStream = c.stream
	if err := a.session(b, o.ID()).Spread(t.Context(), 4, pieces(total)); err != nil {
		t.Fatal(err)
	}
	until(t, "everything has arrived", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.got) == total
	})
	until(t, "passing connections are closed", func() bool { return bulkLinks(o) <= 2*connectionsDefault })
}

// However many sessions there are, further connections stay within BulkWindow, but for the first of each.
func TestBulkWindow(t *testing.T) {
	const peers, fit = 5, 6
	w := newWorld(t)
	b := w.prepare("b", func(c *Config) { c.StreamWindow, c.BulkWindow = 64<<10, fit*4*64<<10 })
	var most atomic.Int64
	arrived := make(chan struct{}, peers*8)
	release := make(chan struct{})
	b.onStream = func(_ *Session, st *Stream) {
		for n := bulkLinks(b); ; {
			was := most.Load()
			if n <= was || most.CompareAndSwap(was, n) {
				break
			}
		}
		arrived <- struct{}{}
		<-release
		io.Copy(io.Discard, struct{ io.Reader }{st})
	}
	if err := b.Listen("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	b.run(b.Addr().String())
	var spreads sync.WaitGroup
	var sessions [][2]*Session
	var nodes []*node
	for i := range peers {
		a := w.listening(string(rune('k'+i)), nil)
		s := a.session(b)
		nodes = append(nodes, a)
		sessions = append(sessions, [2]*Session{s, wait(t, "session at b", b.opened)})
		// More than the windows hold: every lane stands full.
		var left atomic.Int64
		left.Store(64)
		spreads.Go(func() {
			err := s.Spread(t.Context(), 4, func(_ context.Context, st *Stream) error {
				for left.Add(-1) >= 0 {
					if _, err := st.Write(make([]byte, 16<<10)); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
		wait(t, "a lane at b", arrived)
	}
	if n := most.Load(); n > fit+peers || n < fit {
		t.Errorf("%d further connections, %d fit", n, fit)
	}
	// Nobody reads any of it, and control goes on with everybody.
	for i, s := range sessions {
		roundTrip(t, nodes[i], b, s[0], s[1])
	}
	close(release)
	spreads.Wait()
	for _, a := range nodes {
		a.stop()
	}
	until(t, "no further connection is counted", func() bool { return bulkLinks(b) == 0 })
}

// A peer that cannot be dialed gets one lane on the control connection. It may stand full beside full events, both ways.
func TestControlPassesLoneLane(t *testing.T) {
	w := newWorld(t)
	small := func(c *Config) { c.StreamWindow = 64 << 10 }
	release := make(chan struct{})
	unread := make(chan struct{}, 8)
	hold := func(_ *Session, st *Stream) {
		unread <- struct{}{}
		<-release
		io.Copy(io.Discard, struct{ io.Reader }{st})
	}
	a, b := w.prepare("a", small), w.prepare("b", small)
	a.onStream, b.onStream = hold, hold
	if err := errors.Join(a.Listen(""), b.Listen("127.0.0.1:0")); err != nil {
		t.Fatal(err)
	}
	b.run(b.Addr().String())
	a.run("")
	as := a.session(b)
	bs := wait(t, "session at b", b.opened)
	const bulk = 1 << 20
	var writers sync.WaitGroup
	blocked := make(chan struct{}, 8)
	write := func(st *Stream) error {
		st.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
		n, err := st.Write(make([]byte, bulk))
		if err == nil {
			t.Errorf("a write of %d bytes did not block", n)
		}
		blocked <- struct{}{}
		st.SetWriteDeadline(time.Time{})
		_, err = st.Write(make([]byte, bulk-n))
		return err
	}
	for _, s := range []*Session{as, bs} {
		st := open(t, s, Events, 0)
		writers.Go(func() {
			if err := errors.Join(write(st), st.CloseWrite()); err != nil {
				t.Error(err)
			}
		})
	}
	writers.Go(func() {
		err := bs.Spread(t.Context(), 8, func(_ context.Context, st *Stream) error {
			if st.Conn() != 0 || st.Lane() != 0 {
				t.Errorf("lane %d on connection %d", st.Lane(), st.Conn())
			}
			return write(st)
		})
		if err != nil {
			t.Error(err)
		}
	})
	for range 3 {
		wait(t, "stream", unread)
		wait(t, "full window", blocked)
	}
	for range 100 {
		roundTrip(t, a, b, as, bs)
	}
	close(release)
	writers.Wait()
}
