package transport

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/quic-go/quic-go"

	"ferry/identity"
)

// from is a transport on a socket of one of this host's addresses.
func from(t *testing.T, ip net.IP) *quic.Transport {
	t.Helper()
	socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: ip})
	if err != nil {
		t.Skipf("no second loopback address: %v", err)
	}
	tr := &quic.Transport{Conn: socket}
	t.Cleanup(func() {
		tr.Close()
		socket.Close()
	})
	return tr
}

// TestDoor: connections that say nothing are counted by address, refused above the bound with a line at both ends, and
// leave others room.
func TestDoor(t *testing.T) {
	w := newWorld(t)
	b := w.listening("b", nil)
	key := testKey(t, "raw")
	w.set(Address{ID: key.NodeID(), Name: "raw", Key: key.Public()})
	tr := from(t, net.IPv4(127, 0, 0, 2))
	var conns []*quic.Conn
	dial := func() error {
		conn, err := tr.Dial(t.Context(), b.Addr(), identity.ClientTLS(key, []string{ALPN}, b.key.Public()), QUICConfig())
		conns = append(conns, conn)
		return err
	}
	for i := range strangersPerHostMax {
		if err := dial(); err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
	}
	if !b.door.validate(nil) {
		t.Error("a new address need not show that it answers")
	}
	err := dial()
	if err, _ := explain(err); !errors.Is(err, ErrOverload) {
		t.Errorf("one more than allowed: %v", err)
	}
	if n := b.Refused()["connection refused before its handshake"]; n == 0 {
		t.Errorf("refused: %v", b.Refused())
	}
	// Others come in, by way of a Retry, and leave the count.
	good := w.listening("good", nil)
	roundTrip(t, good, b, good.session(b), sessionWith(t, b, good.ID()))
	b.door.mu.Lock()
	all, here := b.door.all, b.door.hosts[hostOf(good.Addr())]
	b.door.mu.Unlock()
	if all != strangersPerHostMax || here != 0 {
		t.Errorf("%d without a session, %d of them at the good address", all, here)
	}
	// Those that end make room.
	for _, c := range conns[:strangersPerHostMax] {
		c.CloseWithError(0, "")
	}
	for {
		b.door.mu.Lock()
		all := b.door.all
		b.door.mu.Unlock()
		if all == 0 {
			break
		}
		if t.Context().Err() != nil {
			t.Fatal("nobody leaves")
		}
	}
	if err := dial(); err != nil {
		t.Errorf("after the others have gone: %v", err)
	}
	conns[len(conns)-1].CloseWithError(0, "")
}

// TestDoorInAll: so many from all addresses together, and no more.
func TestDoorInAll(t *testing.T) {
	w := newWorld(t)
	b := w.prepare("b", nil)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for i := range strangersMax {
		addr := &net.UDPAddr{IP: net.IPv4(10, 0, byte(i>>8), byte(i))}
		if _, err := b.door.knock(ctx, &quic.ClientInfo{RemoteAddr: addr}); err != nil {
			t.Fatal(i, err)
		}
		if got, want := b.door.validate(addr), i+1 >= strangersTrusted; got != want {
			t.Fatalf("validate with %d: %v", i+1, got)
		}
	}
	if _, err := b.door.knock(ctx, &quic.ClientInfo{RemoteAddr: &net.UDPAddr{IP: net.IPv4(10, 9, 9, 9)}}); err == nil ||
		!strings.Contains(err.Error(), "without a session") {
		t.Errorf("one more: %v", err)
	}
	six := func(s string) net.Addr { return &net.UDPAddr{IP: net.ParseIP(s)} }
	if hostOf(six("2001:db8::1")) != hostOf(six("2001:db8::2:1")) || hostOf(six("2001:db8:0:1::1")) == hostOf(six("2001:db8::1")) {
		t.Error("an IPv6 host is not its network of 64 bits")
	}
}
