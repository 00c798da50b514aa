package transport

import (
	"bytes"
	"errors"
	"testing"
)

func TestOwnSocket(t *testing.T) {
	w := newWorld(t)
	a, b := w.listening("a", nil), w.listening("b", nil)
	as := a.session(b)
	bs := wait(t, "session at b", b.opened)
	if as.Peer() != b.ID() || bs.Peer() != a.ID() || !bs.PeerKey().Equal(a.key.Public()) || as.Relayed() {
		t.Fatalf("a sees %v, b sees %v", as.Peer(), bs.Peer())
	}
	if as.Value() != "hello from b" || bs.Value() != "hello from a" {
		t.Fatalf("hellos: %q, %q", as.Value(), bs.Value())
	}
	roundTrip(t, a, b, as, bs)
	echo(t, open(t, as, Events, 0), []byte("some events"))
	conns := make(map[uint8]bool)
	for lane := range uint8(a.Lanes()) {
		st := open(t, as, Lane, lane)
		conns[st.Conn()] = true
		echo(t, st, bytes.Repeat([]byte{lane}, 3<<20))
	}
	if len(conns) != connectionsDefault || conns[0] {
		t.Errorf("lanes on the connections %v, wanted two further ones", conns)
	}
	// The other side, which did not dial, opens lanes too, on the same connections.
	st := open(t, bs, Lane, 1)
	if st.Conn() == 0 {
		t.Error("b's lane is on the control connection")
	}
	echo(t, st, []byte("from b"))
	if again := a.session(b); again != as {
		t.Error("a second Session is not the live one")
	}
	as.Close(nil)
	if got := wait(t, "close at b", b.closed); got.s != bs || !errors.Is(got.cause, ErrClosed) {
		t.Errorf("b was closed with %v", got.cause)
	}
	if got := wait(t, "close at a", a.closed); !errors.Is(got.cause, ErrClosed) {
		t.Errorf("a was closed with %v", got.cause)
	}
}
