package transport

import (
	"context"
	"crypto/ed25519"
	"errors"
	"strings"
	"testing"
	"time"

	"ferry/identity"
)

// failedDial is the one cause of a dial that must fail.
func failedDial(t *testing.T, n *node, id identity.NodeID) *UnreachableError {
	t.Helper()
	s, err := n.Session(t.Context(), id)
	if err == nil {
		t.Fatalf("there is a session with %v", s.Peer())
	}
	u, ok := errors.AsType[*UnreachableError](err)
	if !ok {
		t.Fatalf("not an UnreachableError: %v", err)
	}
	if u.Node != id || len(u.Causes) != 1 {
		t.Errorf("node %v, causes %v", u.Node, u.Causes)
	}
	return u
}

// The dialer has pinned one key, and at the address is another.
func TestDialsAnother(t *testing.T) {
	w := newWorld(t)
	a, b := w.listening("a", nil), w.listening("b", nil)
	wanted := testKey(t, "wanted")
	w.set(Address{ID: wanted.NodeID(), Name: "wanted", Addr: b.Addr().String(), Key: wanted.Public()})
	err := failedDial(t, a, wanted.NodeID())
	pin, ok := errors.AsType[*identity.PinError](err)
	if !ok || !errors.Is(err, ErrWrongKey) || !pin.Got.Equal(b.key.Public()) {
		t.Errorf("got %v", err)
	}
	for _, part := range []string{"wanted", b.Addr().String()} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error does not name %s: %v", part, err)
		}
	}
	if len(b.opened) > 0 {
		t.Error("b has opened a session")
	}
}

// The acceptor does not know the dialer, or knows its id with another key.
func TestUnknownDialer(t *testing.T) {
	known := errors.New("not in the cluster")
	for _, tc := range []struct {
		name  string
		admit func(context.Context, ed25519.PublicKey) error
	}{
		{"by resolver", nil},
		{"by Admit", func(context.Context, ed25519.PublicKey) error { return known }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			b := w.listening("b", func(c *Config) { c.Admit = tc.admit })
			stranger := w.prepare("stranger", nil)
			if err := stranger.Listen(""); err != nil {
				t.Fatal(err)
			}
			if tc.admit == nil { // a resolver that has the id under another key
				stranger.run("")
				w.set(Address{ID: stranger.ID(), Name: "stranger", Key: testKey(t, "other").Public()})
			} else {
				stranger.run("")
			}
			if err := failedDial(t, stranger, b.ID()); !errors.Is(err, ErrRefused) {
				t.Errorf("got %v, want %v", err, ErrRefused)
			}
			if len(b.opened) > 0 || len(stranger.opened) > 0 {
				t.Error("a session was opened")
			}
		})
	}
}

func TestHandlerRefuses(t *testing.T) {
	w := newWorld(t)
	a, b := w.listening("a", nil), w.prepare("b", nil)
	b.onOpened = func(*Session, []byte) error { return errors.New("not today") }
	if err := b.Listen("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	b.run(b.Addr().String())
	// The dialer's handler may have opened it by the time that the refusal comes.
	s, err := a.Session(t.Context(), b.ID())
	if err == nil {
		got := wait(t, "close at a", a.closed)
		if got.s != s {
			t.Error("another session was closed")
		}
		err = got.cause
	}
	if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "not today") {
		t.Errorf("got %v", err)
	}
	if len(b.closed) > 0 {
		t.Error("Closed was called for a session that was refused")
	}
}

func TestUnreachable(t *testing.T) {
	w := newWorld(t)
	a := w.listening("a", func(c *Config) { c.DialTimeout = 200 * time.Millisecond })
	hole := blackHole(t)
	gone := testKey(t, "gone")
	w.set(Address{ID: gone.NodeID(), Name: "gone", Addr: hole, Key: gone.Public()})
	err := failedDial(t, a, gone.NodeID())
	if !errors.Is(err, ErrTimeout) || !strings.Contains(err.Error(), "gone") || !strings.Contains(err.Error(), hole) {
		t.Errorf("got %v", err)
	}
	if err := failedDial(t, a, 99); !errors.Is(err, ErrUnknownNode) {
		t.Errorf("got %v", err)
	}
	if err := failedDial(t, a, a.ID()); !errors.Is(err, ErrSelf) {
		t.Errorf("got %v", err)
	}
	w.set(Address{ID: gone.NodeID(), Name: "gone", Addr: "no port here", Key: gone.Public()})
	if err := failedDial(t, a, gone.NodeID()); !strings.Contains(err.Error(), "no port here") {
		t.Errorf("got %v", err)
	}
	w.set(Address{ID: gone.NodeID(), Name: "gone", Addr: hole, Key: a.key.Public()})
	if err := failedDial(t, a, gone.NodeID()); !errors.Is(err, ErrWrongKey) {
		t.Errorf("got %v", err)
	}
}

func TestListenInUse(t *testing.T) {
	w := newWorld(t)
	a := w.listening("a", nil)
	b := w.prepare("b", nil)
	if err := b.Listen(a.Addr().String()); !errors.Is(err, ErrAddrInUse) || !strings.Contains(err.Error(), a.Addr().String()) {
		t.Errorf("got %v", err)
	}
}

func TestNoSocket(t *testing.T) {
	w := newWorld(t)
	a, b := w.prepare("a", nil), w.listening("b", nil)
	a.run("")
	if err := failedDial(t, a, b.ID()); !errors.Is(err, ErrNoSocket) {
		t.Errorf("got %v", err)
	}
}
