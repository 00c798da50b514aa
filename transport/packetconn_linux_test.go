package transport

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"

	"ferry/identity"
)

func udpSocket(t *testing.T, addr string) *net.UDPConn {
	t.Helper()
	a, err := net.ResolveUDPAddr("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	socket, err := net.ListenUDP("udp", a)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	return socket
}

// groConn is a PacketConn that asks for ECN and destinations, as quic-go does.
func groConn(t *testing.T, addr string) *PacketConn {
	t.Helper()
	c := NewPacketConn(udpSocket(t, addr), slog.New(slog.NewTextHandler(testLog{t, "conn"}, nil)))
	if c.plain != nil {
		t.Skip("no UDP_GRO here")
	}
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) {
		err = errors.Join(unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_RECVTOS, 1),
			unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_PKTINFO, 1))
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// messages are as quic-go's.
func messages(n int) []ipv4.Message {
	ms := make([]ipv4.Message, n)
	for i := range ms {
		ms[i].Buffers = [][]byte{make([]byte, 1452)}
		ms[i].OOB = make([]byte, 128)
	}
	return ms
}

func controlMessage(level, kind int32, data []byte) []byte {
	b := make([]byte, unix.CmsgSpace(len(data)))
	binary.NativeEndian.PutUint64(b, uint64(unix.CmsgLen(len(data)))) // on 64 bits
	binary.NativeEndian.PutUint32(b[8:], uint32(level))
	binary.NativeEndian.PutUint32(b[12:], uint32(kind))
	copy(b[unix.CmsgLen(0):], data)
	return b
}

// sendGlued sends b as datagrams of segment bytes each, but the last, with one call.
func sendGlued(t *testing.T, from *net.UDPConn, to net.Addr, b []byte, segment int, ecn byte) {
	t.Helper()
	oob := controlMessage(unix.IPPROTO_IP, unix.IP_TOS, []byte{ecn})
	if len(b) > segment {
		oob = append(oob, controlMessage(unix.IPPROTO_UDP, unix.UDP_SEGMENT, binary.NativeEndian.AppendUint16(nil, uint16(segment)))...)
	}
	if _, _, err := from.WriteMsgUDP(b, oob, to.(*net.UDPAddr)); err != nil {
		t.Fatal(err)
	}
}

// marksOf reads ECN and destination.
func marksOf(t *testing.T, m ipv4.Message) (ecn byte, dst netip.Addr) {
	t.Helper()
	all, err := unix.ParseSocketControlMessage(m.OOB[:m.NN])
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range all {
		switch {
		case c.Header.Level == unix.IPPROTO_IP && c.Header.Type == unix.IP_TOS:
			ecn = c.Data[0] & 3
		case c.Header.Level == unix.IPPROTO_IP && c.Header.Type == unix.IP_PKTINFO:
			dst, _ = netip.AddrFromSlice(c.Data[8:12])
		default:
			t.Errorf("control message %d/%d is not for quic-go", c.Header.Level, c.Header.Type)
		}
	}
	return ecn, dst
}

// TestReadBatchSplits sends glued datagrams from several senders, of several sizes and with several marks, and wants each
// back as it was sent.
func TestReadBatchSplits(t *testing.T) {
	c := groConn(t, "127.0.0.1:0")
	type datagram struct {
		data []byte
		ecn  byte
	}
	sent := make(map[string][]datagram)
	var senders []*net.UDPConn
	for range 3 {
		senders = append(senders, udpSocket(t, "127.0.0.1:0"))
	}
	rng := rand.New(rand.NewPCG(1, 2))
	total := 0
	for i := range 40 {
		from := senders[i%len(senders)]
		segment := []int{1452, 1200, 37, 1}[rng.IntN(4)]
		b := make([]byte, segment*(1+rng.IntN(14))+rng.IntN(segment))
		for k := range b {
			b[k] = byte(rng.Uint32())
		}
		ecn := byte(rng.IntN(4))
		sendGlued(t, from, c.LocalAddr(), b, segment, ecn)
		for len(b) > 0 {
			n := min(segment, len(b))
			key := from.LocalAddr().String()
			sent[key] = append(sent[key], datagram{b[:n], ecn})
			b = b[n:]
			total++
		}
	}
	ms := messages(8)
	c.SetReadDeadline(time.Now().Add(patience))
	glued := false
	for total > 0 {
		n, err := c.ReadBatch(ms, 0)
		if err != nil {
			t.Fatalf("%d datagrams are missing: %v", total, err)
		}
		glued = glued || n > 1
		for _, m := range ms[:n] {
			key := m.Addr.String()
			if len(sent[key]) == 0 {
				t.Fatalf("a datagram from %s, which has sent no more", key)
			}
			want := sent[key][0]
			sent[key] = sent[key][1:]
			total--
			ecn, dst := marksOf(t, m)
			if !bytes.Equal(m.Buffers[0][:m.N], want.data) || ecn != want.ecn || m.Flags != 0 {
				t.Fatalf("from %s: %d bytes with mark %d and flags %#x, want %d bytes with mark %d",
					key, m.N, ecn, m.Flags, len(want.data), want.ecn)
			}
			if dst != netip.AddrFrom4([4]byte{127, 0, 0, 1}) {
				t.Fatalf("destination %v", dst)
			}
		}
	}
	if !glued {
		t.Error("nothing was glued: the test has tested nothing")
	}
}

// TestReadBatchOddDatagrams: an empty one is passed over, and one that is too large for QUIC is cut, as recvmmsg does.
func TestReadBatchOddDatagrams(t *testing.T) {
	c := groConn(t, "127.0.0.1:0")
	from := udpSocket(t, "127.0.0.1:0")
	for _, size := range []int{0, 1, 0, 0, 1453, 65507, 1452} {
		if _, err := from.WriteTo(bytes.Repeat([]byte{byte(size)}, size), c.LocalAddr()); err != nil {
			t.Fatal(err)
		}
	}
	c.SetReadDeadline(time.Now().Add(patience))
	var got []string
	ms := messages(8)
	for len(got) < 4 {
		n, err := c.ReadBatch(ms, 0)
		if err != nil {
			t.Fatal(err, got)
		}
		for _, m := range ms[:n] {
			got = append(got, fmt.Sprint(m.N, m.Flags&unix.MSG_TRUNC != 0))
		}
	}
	if want := "1 false, 1452 true, 1452 true, 1452 false"; strings.Join(got, ", ") != want {
		t.Fatalf("got %v, want %v", got, want)
	}
}

// TestReadBatchShortOOB: a control message is given whole or not at all.
func TestReadBatchShortOOB(t *testing.T) {
	c := groConn(t, "127.0.0.1:0")
	sendGlued(t, udpSocket(t, "127.0.0.1:0"), c.LocalAddr(), []byte("x"), 1000, 2)
	ms := messages(1)
	ms[0].OOB = ms[0].OOB[:unix.CmsgSpace(1)+1]
	c.SetReadDeadline(time.Now().Add(patience))
	if _, err := c.ReadBatch(ms, 0); err != nil {
		t.Fatal(err)
	}
	if ms[0].NN != 0 || ms[0].Flags&unix.MSG_CTRUNC == 0 {
		t.Fatalf("%d bytes of control messages, flags %#x", ms[0].NN, ms[0].Flags)
	}
}

func TestReadBatchEnds(t *testing.T) {
	for _, end := range []struct {
		name string
		do   func(*PacketConn)
		want error
	}{
		{"close", func(c *PacketConn) { c.Close() }, net.ErrClosed},
		{"deadline", func(c *PacketConn) { c.SetReadDeadline(time.Unix(1, 0)) }, os.ErrDeadlineExceeded},
	} {
		t.Run(end.name, func(t *testing.T) {
			c := groConn(t, "127.0.0.1:0")
			from := udpSocket(t, "127.0.0.1:0")
			ms := messages(8)
			if _, err := from.WriteTo([]byte("before"), c.LocalAddr()); err != nil {
				t.Fatal(err)
			}
			if n, err := c.ReadBatch(ms, 0); n != 1 || err != nil {
				t.Fatal(n, err)
			}
			failed := make(chan error, 1)
			go func() {
				_, err := c.ReadBatch(ms, 0)
				failed <- err
			}()
			end.do(c)
			if err := wait(t, "end of the read", failed); !errors.Is(err, end.want) {
				t.Fatalf("the read ended with %v", err)
			}
			for _, m := range ms {
				if m.N != 0 || m.NN != 0 {
					t.Fatal("a message has a length after an error: quic-go would read the old datagram again")
				}
			}
		})
	}
}

func TestReadBatchAllocatesNothing(t *testing.T) {
	c := groConn(t, "127.0.0.1:0")
	a, b := udpSocket(t, "127.0.0.1:0"), udpSocket(t, "127.0.0.1:0")
	const runs = 50
	burst := make([]byte, 20*1000)
	for range runs + 1 { // and one to warm up
		for _, from := range []*net.UDPConn{a, b} {
			sendGlued(t, from, c.LocalAddr(), burst, 1000, 2)
		}
	}
	ms := messages(8)
	c.SetReadDeadline(time.Now().Add(patience))
	read := func() {
		for total := 0; total < 40; {
			n, err := c.ReadBatch(ms, 0)
			if err != nil {
				t.Fatal(err)
			}
			total += n
		}
	}
	if n := testing.AllocsPerRun(runs, read); n != 0 {
		t.Errorf("%v allocations for 40 datagrams", n)
	}
}

func TestReadOne(t *testing.T) {
	c := groConn(t, "127.0.0.1:0")
	from := udpSocket(t, "127.0.0.1:0")
	sendGlued(t, from, c.LocalAddr(), []byte("onetwo"), 3, 0)
	c.SetReadDeadline(time.Now().Add(patience))
	for _, want := range []string{"one", "two"} {
		b := make([]byte, 100)
		n, addr, err := c.ReadFrom(b)
		if err != nil || string(b[:n]) != want || addr.String() != from.LocalAddr().String() {
			t.Fatalf("%q from %v, %v", b[:n], addr, err)
		}
	}
}

// TestReadBatchCounts: datagrams of watched connections' peers are noted, and no others.
func TestReadBatchCounts(t *testing.T) {
	for name, c := range map[string]*PacketConn{
		"GRO":         groConn(t, "127.0.0.1:0"),
		"without GRO": newPacketConn(udpSocket(t, "127.0.0.1:0"), nil, unix.ENOPROTOOPT),
	} {
		t.Run(name, func(t *testing.T) {
			peer, stranger := udpSocket(t, "127.0.0.1:0"), udpSocket(t, "127.0.0.1:0")
			c.gate.watch(t.Context(), peer.LocalAddr().(*net.UDPAddr).AddrPort(), func() uint64 { return 0 })
			c.SetReadDeadline(time.Now().Add(patience))
			ms := messages(8)
			for _, from := range []*net.UDPConn{stranger, peer} {
				sendGlued(t, from, c.LocalAddr(), make([]byte, 2500), 1000, 0)
				for total := 0; total < 3; {
					n, err := c.ReadBatch(ms, 0)
					if err != nil {
						t.Fatal(err)
					}
					total += n
				}
				if want := map[*net.UDPConn]int{stranger: 0, peer: 3}[from]; c.gate.n != want {
					t.Fatalf("%d datagrams are noted, not %d", c.gate.n, want)
				}
			}
			if got := c.gate.out[2].bytes; got != 500 {
				t.Fatalf("the last datagram is noted as %d bytes", got)
			}
		})
	}
}

func TestAddrsAreBounded(t *testing.T) {
	c := groConn(t, "127.0.0.1:0")
	for i := range 3 * addrsMax {
		want := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 1)
		if got := c.addrOf(want); got.AddrPort() != want || len(c.addrs) > addrsMax {
			t.Fatalf("%v for %v, of %d", got, want, len(c.addrs))
		}
	}
}

// logLines keeps what was logged.
type logLines struct {
	mu    sync.Mutex
	lines []string
}

func (l *logLines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, string(b))
	return len(b), nil
}

// carry moves bytes over a connection between two transports, one of which listens, and checks them.
func carry(t *testing.T, from, to *quic.Transport, watch func(from, to *quic.Conn), bytesToSend int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	server, client := testKey(t, "server"), testKey(t, "client")
	listener, err := to.Listen(identity.ServerTLS(server, []string{ALPN}, func(ed25519.PublicKey) error { return nil }), QUICConfig())
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	conn, err := from.Dial(ctx, listener.Addr(), identity.ClientTLS(client, []string{ALPN}, server.Public()), QUICConfig())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseWithError(0, "")
	accepted, err := listener.Accept(ctx)
	if err != nil {
		t.Fatal(err)
	}
	watch(conn, accepted)
	sent := make([]byte, bytesToSend)
	rand.NewChaCha8([32]byte{1}).Read(sent)
	failed := make(chan error, 1)
	go func() {
		str, err := conn.OpenStreamSync(ctx)
		if err == nil {
			_, err = str.Write(sent)
			err = errors.Join(err, str.Close())
		}
		failed <- err
	}()
	str, err := accepted.AcceptStream(ctx)
	if err != nil {
		t.Fatal(err)
	}
	str.SetReadDeadline(time.Now().Add(patience))
	got, err := io.ReadAll(str)
	if err := errors.Join(err, <-failed); err != nil || !bytes.Equal(got, sent) {
		t.Fatalf("%d bytes of %d have come right: %v", len(got), len(sent), err)
	}
}

// TestPacketConnCarries: every mixture of ours and quic-go's own, and of IPv4, IPv6 and both.
func TestPacketConnCarries(t *testing.T) {
	ours := func(s *net.UDPConn) net.PacketConn { return NewPacketConn(s, nil) }
	without := func(s *net.UDPConn) net.PacketConn { return newPacketConn(s, nil, unix.ENOPROTOOPT) }
	plain := func(s *net.UDPConn) net.PacketConn { return s }
	for _, c := range []struct {
		name     string
		from, to func(*net.UDPConn) net.PacketConn
		at       string
	}{
		{"ours to ours", ours, ours, "127.0.0.1:0"},
		{"plain to ours", plain, ours, "127.0.0.1:0"},
		{"ours to plain", ours, plain, "127.0.0.1:0"},
		{"without GRO", without, without, "127.0.0.1:0"},
		{"to any IPv4 address", ours, ours, "0.0.0.0:0"},
		{"to any address", ours, ours, "[::]:0"},
		{"IPv6", ours, ours, "[::1]:0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if strings.HasPrefix(c.at, "[") {
				if probe, err := net.ListenPacket("udp6", "[::1]:0"); err != nil {
					t.Skip("no IPv6 here: ", err)
				} else {
					probe.Close()
				}
			}
			from := &quic.Transport{Conn: c.from(udpSocket(t, c.at))}
			to := &quic.Transport{Conn: c.to(udpSocket(t, c.at))}
			defer from.Close()
			defer to.Close()
			carry(t, from, to, func(a, b *quic.Conn) {
				for tr, conn := range map[*quic.Transport]*quic.Conn{from: a, to: b} {
					if p, ok := tr.Conn.(*PacketConn); ok {
						p.Watch(conn)
					}
				}
			}, 8<<20)
		})
	}
}

func TestPacketConnFallsBack(t *testing.T) {
	var log logLines
	c := newPacketConn(udpSocket(t, "127.0.0.1:0"), slog.New(slog.NewTextHandler(&log, nil)), unix.ENOPROTOOPT)
	if len(log.lines) != 1 || !strings.Contains(log.lines[0], "UDP_GRO") {
		t.Fatalf("logged: %q", log.lines)
	}
	from := udpSocket(t, "127.0.0.1:0")
	sendGlued(t, from, c.LocalAddr(), []byte("onetwo"), 3, 0)
	c.SetReadDeadline(time.Now().Add(patience))
	b := make([]byte, 100)
	for _, want := range []string{"one", "two"} {
		if n, addr, err := c.ReadFrom(b); err != nil || string(b[:n]) != want || addr.String() != from.LocalAddr().String() {
			t.Fatalf("%q from %v, %v", b[:n], addr, err)
		}
	}
}

// TestPacketConnOutlastsGarbage: somebody from the address of a watched connection sends what no connection ever
// processes, while a transfer goes on; and in the second part no connection accounts for the transfer's own datagrams.
func TestPacketConnOutlastsGarbage(t *testing.T) {
	var conns [2]*PacketConn
	var transports [2]*quic.Transport
	for i := range conns {
		conns[i] = NewPacketConn(udpSocket(t, "127.0.0.1:0"), nil)
		transports[i] = &quic.Transport{Conn: conns[i]}
		defer transports[i].Close()
	}
	stop := make(chan struct{})
	var strangers sync.WaitGroup
	defer strangers.Wait()
	defer close(stop)
	for i := range conns {
		garbage := make([]byte, 1452)
		rand.NewChaCha8([32]byte{2}).Read(garbage)
		from, to := udpSocket(t, "127.0.0.1:0"), conns[i].LocalAddr()
		conns[i].gate.watch(t.Context(), from.LocalAddr().(*net.UDPAddr).AddrPort(), func() uint64 { return 0 })
		strangers.Go(func() {
			pace := time.NewTicker(time.Millisecond)
			defer pace.Stop()
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				case <-pace.C:
				}
				for k := range 20 {
					// Of all sizes, and with every kind of first byte: both headers, and neither.
					b := garbage[:(n*31+k*97)%len(garbage)]
					if len(b) > 0 {
						b[0] = byte(k << 4)
					}
					from.WriteTo(b, to)
				}
				from.WriteTo(make([]byte, 60000), to)
			}
		})
	}
	t.Run("watched", func(t *testing.T) {
		carry(t, transports[0], transports[1], func(a, b *quic.Conn) {
			conns[0].Watch(a)
			conns[1].Watch(b)
		}, 4<<20)
	})
	t.Run("unwatched", func(t *testing.T) {
		for i, c := range conns {
			// An idle connection with the other end.
			c.gate.watch(t.Context(), conns[1-i].LocalAddr().(*net.UDPAddr).AddrPort(), func() uint64 { return 0 })
		}
		carry(t, transports[0], transports[1], func(a, b *quic.Conn) {}, 4<<20)
	})
}

// TestEndpointSockets: Listen makes a PacketConn and tells it of every connection, unless Config has it otherwise; so does
// UseTransport with a caller's.
func TestEndpointSockets(t *testing.T) {
	w := newWorld(t)
	a := w.listening("a", nil)
	b := w.listening("b", func(c *Config) { c.PlainSocket = true })
	if a.packets == nil || b.packets != nil {
		t.Fatal("the setting has no effect")
	}
	s := a.session(b)
	echo(t, open(t, s, Lane, 0), bytes.Repeat([]byte("bulk"), 1<<20))
	watched := func() int {
		a.packets.gate.mu.Lock()
		defer a.packets.gate.mu.Unlock()
		return len(a.packets.gate.conns)
	}
	if n := watched(); n != 2 {
		t.Errorf("%d connections are watched, not the control connection and the lane's", n)
	}

	c := w.prepare("c", nil)
	packets := NewPacketConn(udpSocket(t, "127.0.0.1:0"), nil)
	shared := &quic.Transport{Conn: packets}
	t.Cleanup(func() { shared.Close() })
	if err := c.UseTransport(shared); err != nil {
		t.Fatal(err)
	}
	c.run("")
	c.session(b)
	packets.gate.mu.Lock()
	defer packets.gate.mu.Unlock()
	if len(packets.gate.conns) != 1 {
		t.Errorf("%d connections of the caller's transport are watched", len(packets.gate.conns))
	}
}
