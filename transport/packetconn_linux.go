package transport

import (
	"encoding/binary"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/quic-go/quic-go"
	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

const (
	// groBytesMax is what the kernel hands out at once: datagrams of one sender and one size, glued.
	groBytesMax = 64 << 10
	// controlBytesMax holds the control messages that quic-go and we ask the kernel for: ECN and destination, for IPv4 and
	// IPv6 both, and the segment size.
	controlBytesMax = 256
	// addrsMax bounds the addresses that are kept, as anybody can send from many.
	addrsMax = 256
)

// PacketConn is a UDP socket for a quic.Transport. Through it quic-go reads many datagrams with one call of the kernel
// (UDP_GRO), and not faster than the connections process them, so that none are dropped in between (see Watch). Where
// the kernel has no UDP_GRO, quic-go's usual way to read remains, with one line in the log. On other systems than Linux a
// PacketConn is no more than its socket.
//
// It belongs to one transport, which alone reads from it; closing it closes the socket. The socket must not be read from
// directly: datagrams come glued together there.
type PacketConn struct {
	*net.UDPConn
	gate  *gate
	plain *ipv4.PacketConn // reads where there is no UDP_GRO

	// Of ReadBatch, which has one caller at a time.
	buf     []byte // what the kernel hands out at once
	oob     []byte // its control messages
	rest    []byte // the datagrams in buf that have not been handed on
	segment int    // the size of each but the last
	control []byte // the control messages that are for each of them
	from    *net.UDPAddr
	counts  bool // for the gate
	at      time.Time
	addrs   map[netip.AddrPort]*net.UDPAddr
}

var _ quic.OOBCapablePacketConn = (*PacketConn)(nil)

// NewPacketConn takes over a socket that is not connected, and raises its buffers. A nil log discards.
func NewPacketConn(socket *net.UDPConn, log *slog.Logger) *PacketConn {
	return newPacketConn(socket, log, prepareSocket(socket))
}

// newPacketConn reads with UDP_GRO unless err says that there is none.
func newPacketConn(socket *net.UDPConn, log *slog.Logger, err error) *PacketConn {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	c := &PacketConn{UDPConn: socket, gate: newGate()}
	if err != nil {
		log.Warn("no UDP_GRO: datagrams are read one by one", slog.Any("cause", err))
		c.plain = ipv4.NewPacketConn(socket)
		return c
	}
	c.buf = make([]byte, groBytesMax)
	c.oob = make([]byte, controlBytesMax)
	c.control = make([]byte, 0, controlBytesMax)
	c.addrs = make(map[netip.AddrPort]*net.UDPAddr)
	return c
}

// prepareSocket raises the buffers as far as we may, and turns UDP_GRO on.
func prepareSocket(socket *net.UDPConn) error {
	raw, err := socket.SyscallConn()
	if err != nil {
		return err
	}
	var gro error
	err = raw.Control(func(fd uintptr) {
		raise(int(fd), unix.SO_RCVBUFFORCE, unix.SO_RCVBUF)
		raise(int(fd), unix.SO_SNDBUFFORCE, unix.SO_SNDBUF)
		gro = unix.SetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_GRO, 1)
	})
	return errors.Join(err, gro)
}

// raise is beyond the system's limit where we are root. What it cannot do costs speed only; quic-go warns of it.
func raise(fd, force, usual int) {
	if size, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, usual); err == nil && size >= socketBufferBytes {
		return
	}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, force, socketBufferBytes) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, usual, socketBufferBytes)
	}
}

// Watch tells of a connection of the transport, for as long as it lives. When 128 datagrams from the addresses of watched
// connections have not been processed by them, reading waits, at most for 5 ms; so every connection with such an address
// should be watched: datagrams for others there are waited for in vain. Others' are not waited for.
func (c *PacketConn) Watch(conn *quic.Conn) {
	peer, _ := conn.RemoteAddr().(*net.UDPAddr)
	c.gate.watch(conn.Context(), peer.AddrPort(), func() uint64 { return conn.ConnectionStats().BytesReceived })
}

// WriteMsgUDP is what quic-go sends with. A connection sends something, an acknowledgement at least, after it has processed
// what came.
func (c *PacketConn) WriteMsgUDP(b, oob []byte, addr *net.UDPAddr) (n, oobn int, err error) {
	n, oobn, err = c.UDPConn.WriteMsgUDP(b, oob, addr)
	c.gate.look()
	return n, oobn, err
}

// ReadBatch is what quic-go reads with: one datagram for each message, as recvmmsg gives them, but that flags has no
// meaning and only the first buffer of a message is used. It returns at least one message, or an error.
func (c *PacketConn) ReadBatch(ms []ipv4.Message, flags int) (n int, err error) {
	c.gate.wait()
	if c.plain != nil {
		n, err = c.plain.ReadBatch(ms, flags)
	} else {
		n, err = c.split(ms)
	}
	if err != nil {
		// quic-go goes on to look at them when the error is one that passes.
		for i := range ms {
			ms[i].N, ms[i].NN = 0, 0
		}
		return 0, err
	}
	if c.plain != nil {
		now := time.Now()
		for _, m := range ms[:n] {
			if from, ok := m.Addr.(*net.UDPAddr); ok && c.gate.counts(from.AddrPort()) {
				c.gate.hand(m.N, now)
			}
		}
	} else if c.counts {
		for i := range ms[:n] {
			c.gate.hand(ms[i].N, c.at)
		}
	}
	return n, nil
}

// split fills messages with datagrams that the kernel has glued together.
func (c *PacketConn) split(ms []ipv4.Message) (n int, err error) {
	for len(c.rest) == 0 { // also after an empty datagram, which means nothing in QUIC
		if err := c.receive(); err != nil {
			return 0, err
		}
	}
	for n < len(ms) && len(c.rest) > 0 {
		size := min(c.segment, len(c.rest))
		m := &ms[n]
		m.N = copy(m.Buffers[0], c.rest[:size])
		m.NN = copy(m.OOB, c.control)
		m.Addr = c.from
		m.Flags = 0
		if m.N < size {
			m.Flags |= unix.MSG_TRUNC
		}
		if m.NN < len(c.control) {
			// A part of a control message would be an error to quic-go that ends the transport.
			m.NN = 0
			m.Flags |= unix.MSG_CTRUNC
		}
		c.rest = c.rest[size:]
		n++
	}
	return n, nil
}

// receive waits for what the kernel hands out at once.
func (c *PacketConn) receive() error {
	n, oobn, _, from, err := c.UDPConn.ReadMsgUDPAddrPort(c.buf, c.oob)
	if err != nil {
		return err
	}
	c.at = time.Now()
	c.rest, c.segment = c.buf[:n], n
	c.control = c.control[:0]
	for oob := c.oob[:oobn]; len(oob) > 0; {
		h, data, rest, err := unix.ParseOneSocketControlMessage(oob)
		if err != nil {
			break
		}
		if h.Level == unix.IPPROTO_UDP && h.Type == unix.UDP_GRO {
			if len(data) >= 4 {
				c.segment = max(1, int(int32(binary.NativeEndian.Uint32(data))))
			}
		} else {
			c.control = append(c.control, oob[:len(oob)-len(rest)]...)
		}
		oob = rest
	}
	c.from, c.counts = c.addrOf(from), c.gate.counts(from)
	return nil
}

// addrOf makes no new address for a sender that is known.
func (c *PacketConn) addrOf(from netip.AddrPort) *net.UDPAddr {
	addr := c.addrs[from]
	if addr == nil {
		if len(c.addrs) == addrsMax {
			clear(c.addrs)
		}
		addr = net.UDPAddrFromAddrPort(from)
		c.addrs[from] = addr
	}
	return addr
}

// ReadMsgUDP reads one datagram. It is not what quic-go reads with.
func (c *PacketConn) ReadMsgUDP(b, oob []byte) (n, oobn, flags int, addr *net.UDPAddr, err error) {
	ms := [1]ipv4.Message{{Buffers: [][]byte{b}, OOB: oob}}
	if _, err := c.ReadBatch(ms[:], 0); err != nil {
		return 0, 0, 0, nil, err
	}
	addr, _ = ms[0].Addr.(*net.UDPAddr)
	return ms[0].N, ms[0].NN, ms[0].Flags, addr, nil
}

// ReadFrom reads one datagram. It is not what quic-go reads with.
func (c *PacketConn) ReadFrom(b []byte) (int, net.Addr, error) {
	n, _, _, addr, err := c.ReadMsgUDP(b, nil)
	if err != nil {
		return 0, nil, err
	}
	return n, addr, nil
}
