package transport

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"sync/atomic"
	"testing"

	"ferry/identity"
)

// relayWorld is a and b, which cannot reach each other, and o, which both can.
func relayWorld(t *testing.T, forge func(dst, src *Stream)) (a, b, o *node) {
	w := newWorld(t)
	closed := func(c *Config) {
		c.RelayFrom = func(relay, _ identity.NodeID) error {
			if relay != testKey(t, "o").NodeID() {
				return errors.New("only o may relay")
			}
			return nil
		}
	}
	a, b = w.listening("a", closed), w.listening("b", closed)
	o = w.prepare("o", func(c *Config) {
		c.Relay = func(_ context.Context, _, to identity.NodeID) error {
			if to != b.ID() && to != a.ID() {
				return errors.New("not for this one")
			}
			return nil
		}
	})
	if forge != nil {
		o.splice = func(x, y *Stream) {
			back := make(chan struct{})
			go func() {
				defer close(back)
				forge(y, x)
			}()
			forge(x, y)
			<-back
		}
	}
	if err := o.Listen("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	o.run(o.Addr().String())
	// Both are dialed by o, or dial it; towards each other the address is a hole.
	o.session(a)
	o.session(b)
	wait(t, "o at a", a.opened)
	wait(t, "o at b", b.opened)
	for _, n := range []*node{a, b} {
		w.set(Address{ID: n.ID(), Name: n.name, Key: n.key.Public()}) // no address: a dial fails at once
	}
	return a, b, o
}

func TestRelay(t *testing.T) {
	a, b, o := relayWorld(t, nil)
	as := a.session(b, o.ID())
	bs := wait(t, "session at b", b.opened)
	if !as.Relayed() || !bs.Relayed() || as.Relay() != o.ID() || bs.Relay() != o.ID() {
		t.Fatalf("relays: %v, %v", as.Relay(), bs.Relay())
	}
	if as.Peer() != b.ID() || bs.Peer() != a.ID() || as.Value() != "hello from b" {
		t.Fatalf("a sees %v, b sees %v", as.Peer(), bs.Peer())
	}
	roundTrip(t, a, b, as, bs)
	for _, s := range []*Session{as, bs} {
		echo(t, open(t, s, Events, 0), []byte("events"))
		for lane := range uint8(3) {
			echo(t, open(t, s, Lane, lane), bytes.Repeat([]byte{lane}, 256<<10))
		}
	}
	if got := a.session(b, o.ID()); got != as {
		t.Error("a second Session is not the live one")
	}
	as.Close(nil)
	if got := wait(t, "close at b", b.closed); got.s != bs || !errors.Is(got.cause, ErrClosed) {
		t.Errorf("b was closed with %v", got.cause)
	}
	wait(t, "close at a", a.closed)
	// The relay can go on, and dies with everything that went through it.
	as = a.session(b, o.ID())
	bs = wait(t, "session at b", b.opened)
	lane := open(t, as, Lane, 0)
	o.stop()
	if _, err := lane.Read(make([]byte, 1)); err == nil || err == io.EOF {
		t.Errorf("a stream through a relay that is gone: %v", err)
	}
	<-as.Done()
	<-bs.Done()
}

func TestRelayRefuses(t *testing.T) {
	a, b, o := relayWorld(t, nil)
	stranger := a.w.listening("stranger", nil) // takes no relayed streams, and o splices to a and b only
	c := a.w.listening("c", nil)               // splices for nobody
	// d splices for everybody, but a and b take only what o splices.
	d := a.w.listening("d", func(c *Config) {
		c.Relay = func(context.Context, identity.NodeID, identity.NodeID) error { return nil }
	})
	for _, n := range []*node{a, b} {
		d.w.set(Address{ID: n.ID(), Name: n.name, Addr: n.Addr().String(), Key: n.key.Public()})
		d.session(n)
		d.w.set(Address{ID: n.ID(), Name: n.name, Key: n.key.Public()})
	}
	for _, tc := range []struct {
		name   string
		to     identity.NodeID
		via    identity.NodeID
		wanted error
	}{
		{"o refuses", stranger.ID(), o.ID(), ErrNoRelay},
		{"no relay", b.ID(), c.ID(), ErrNoRelay},
		{"b refuses the relay", b.ID(), d.ID(), ErrNoRelay},
		{"unknown node", 12345, o.ID(), ErrUnknownNode},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.to == stranger.ID() {
				a.w.set(Address{ID: tc.to, Key: stranger.key.Public()})
			}
			_, err := a.Session(t.Context(), tc.to, tc.via)
			u, ok := errors.AsType[*UnreachableError](err)
			if !ok || u.Node != tc.to || !errors.Is(err, tc.wanted) {
				t.Errorf("got %v, want %v", err, tc.wanted)
			}
		})
	}
}

func TestRelayToNowhere(t *testing.T) {
	a, b, o := relayWorld(t, nil)
	b.stop()
	wait(t, "close at o", o.closed)
	_, err := a.Session(t.Context(), b.ID(), o.ID())
	if !errors.Is(err, ErrNoPath) {
		t.Errorf("got %v, want %v", err, ErrNoPath)
	}
}

// A relay alters, invents or cuts what passes. Both ends refuse it, and nothing false is delivered.
func TestRelayForges(t *testing.T) {
	flip := func(b []byte) []byte {
		b[len(b)/2] ^= 0x10
		return b
	}
	for _, tc := range []struct {
		name  string
		forge func([]byte) []byte
	}{
		{"alters a byte", flip},
		{"alters the last byte", func(b []byte) []byte { b[len(b)-1] ^= 1; return b }},
		{"alters a record header", func(b []byte) []byte { b[0] ^= 0xff; return b }},
		{"invents a byte", func(b []byte) []byte { return append(b, 0x17) }},
		{"invents a record", func(b []byte) []byte {
			return append([]byte{0x17, 3, 3, 0, 20, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20}, b...)
		}},
		{"repeats", func(b []byte) []byte { return append(b, b...) }},
		{"drops a byte", func(b []byte) []byte { return b[1:] }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, kind := range []Kind{Control, Events, Lane} {
				t.Run(kind.String(), func(t *testing.T) { forgeOne(t, kind, tc.forge) })
			}
		})
	}
}

func forgeOne(t *testing.T, kind Kind, forge func([]byte) []byte) {
	var armed atomic.Bool
	a, b, o := relayWorld(t, func(dst, src *Stream) {
		buf := make([]byte, 64<<10)
		for {
			n, err := src.p.Read(buf)
			if n > 0 {
				out := append([]byte(nil), buf[:n]...)
				if armed.CompareAndSwap(true, false) {
					out = forge(out)
				}
				dst.p.Write(out)
			}
			if err == io.EOF {
				dst.CloseWrite()
				return
			}
			if err != nil {
				dst.Cancel(passedCode(err))
				return
			}
		}
	})
	delivered := make(chan error, 1)
	b.onStream = func(_ *Session, st *Stream) {
		var ok [4]byte
		if _, err := io.ReadFull(st, ok[:]); err != nil {
			delivered <- err
			return
		}
		st.Write(ok[:])
		rest, err := io.ReadAll(st)
		if !bytes.HasPrefix(bytes.Repeat([]byte("true"), len(rest)/4+1), rest) {
			t.Errorf("forged bytes were delivered: %q", rest)
		}
		if err == nil {
			err = errors.New("it ended in good order")
		}
		delivered <- err
	}
	as := a.session(b, o.ID())
	bs := wait(t, "session at b", b.opened)
	if kind == Control {
		armed.Store(true)
		// A byte too few or too many shows only when TLS gets what follows: so a frame that arrives is followed by
		// another.
		for as.Send(1, []byte("\x80true")) == nil {
			select {
			case f := <-b.frames:
				if f.msg != "\x80true" {
					t.Errorf("a forged frame was delivered: %+v", f)
				}
			case <-bs.Done():
				<-as.Done()
			case <-as.Done():
			}
		}
		causes := map[*Session]error{}
		for _, n := range []*node{a, b} {
			got := wait(t, "close at "+n.name, n.closed)
			causes[got.s] = got.cause
		}
		for _, s := range []*Session{as, bs} {
			if !errors.Is(causes[s], ErrTampered) {
				t.Errorf("a session through a forging relay has ended with %v", causes[s])
			}
		}
		return
	}
	st := open(t, as, kind, 0)
	if _, err := st.Write([]byte("true")); err != nil {
		t.Fatal(err)
	}
	var ok [4]byte
	if _, err := io.ReadFull(st, ok[:]); err != nil {
		t.Fatal(err)
	}
	armed.Store(true)
	go func() {
		for {
			if _, err := st.Write([]byte("true")); err != nil {
				return
			}
		}
	}()
	if err := wait(t, "end at b", delivered); !errors.Is(err, ErrTampered) {
		t.Errorf("b's read through a forging relay: %v", err)
	}
	if _, err := io.ReadAll(st); !errors.Is(err, ErrTampered) {
		t.Errorf("a's read through a forging relay: %v", err)
	}
	// It harms only that stream.
	if as.Err() != nil || bs.Err() != nil {
		t.Errorf("the sessions have ended: %v, %v", as.Err(), bs.Err())
	}
	roundTrip(t, a, b, as, bs)
}

// A relay that ends a stream early cannot make it look complete.
func TestRelayCutsShort(t *testing.T) {
	var armed atomic.Bool
	a, b, o := relayWorld(t, func(dst, src *Stream) {
		buf := make([]byte, 64<<10)
		for {
			n, err := src.p.Read(buf)
			if err != nil || armed.Load() {
				dst.CloseWrite()
				src.Cancel(CodeNone)
				return
			}
			dst.p.Write(buf[:n])
		}
	})
	got := make(chan error, 1)
	b.onStream = func(_ *Session, st *Stream) {
		io.CopyN(st, st, 4)
		_, err := io.ReadAll(st)
		got <- err
	}
	st := open(t, a.session(b, o.ID()), Events, 0)
	if _, err := st.Write([]byte("true")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(st, make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
	armed.Store(true)
	st.Write([]byte("lost")) // the relay ends the stream instead
	if err := wait(t, "end at b", got); !errors.Is(err, ErrTampered) {
		t.Errorf("b has taken a stream that was cut short with %v", err)
	}
}

// A relay that says that its own stream comes from a is found out by the key inside.
func TestRelayImpersonates(t *testing.T) {
	a, b, o := relayWorld(t, nil)
	st, err := o.session(b).openRelay(t.Context(), relayHeader{node: a.ID(), role: roleSpliced}, place{})
	if err != nil {
		t.Fatal(err)
	}
	p := newTLSPipe(st, tls.Client(streamConn{st}, identity.ClientTLS(o.key, []string{relayALPN}, b.key.Public())))
	if err := p.handshake(t.Context()); err == nil { // the client is done before the server has judged
		_, _ = p.Write(prefix{kind: Control}.append(nil)) // refused at once, or by the read
		_, err = p.Read(make([]byte, 1))
		if why, _ := explain(err); !errors.Is(why, ErrRefused) && !errors.Is(why, ErrWrongKey) {
			t.Errorf("b has answered with %v", err)
		}
	}
	if s, ok := b.Live(a.ID()); ok {
		t.Errorf("b believes that it talks with a: %v", s.PeerAddr())
	}
}
