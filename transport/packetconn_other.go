//go:build !linux

package transport

import (
	"log/slog"
	"net"

	"github.com/quic-go/quic-go"
)

// PacketConn is a UDP socket for a quic.Transport. On Linux it reads faster than quic-go does by itself; here it is no
// more than its socket.
type PacketConn struct{ *net.UDPConn }

// NewPacketConn takes over a socket that is not connected, and raises its buffers. A nil log discards.
func NewPacketConn(socket *net.UDPConn, log *slog.Logger) *PacketConn {
	// What is not allowed costs speed only; quic-go warns of it.
	_ = socket.SetReadBuffer(socketBufferBytes)
	_ = socket.SetWriteBuffer(socketBufferBytes)
	return &PacketConn{socket}
}

// Watch tells of a connection of the transport. It has no effect here.
func (c *PacketConn) Watch(conn *quic.Conn) {}
