package path

import (
	"encoding/binary"
	"net"
	"unsafe"

	"golang.org/x/sys/unix"
)

// oobBytes holds one control message with the length of a train's packets.
const oobBytes = 64

// setBuffers asks for large buffers: first as one who may exceed the system's limit, then as anybody.
func setBuffers(conn *net.UDPConn) {
	conn.SetReadBuffer(socketBufferBytes)
	conn.SetWriteBuffer(socketBufferBytes)
	control(conn, func(fd int) {
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, socketBufferBytes)
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, socketBufferBytes)
	})
}

// enableTrains lets one read give a train. A kernel that cannot gives packets.
func enableTrains(conn *net.UDPConn) {
	control(conn, func(fd int) { unix.SetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_GRO, 1) })
}

func control(conn *net.UDPConn, f func(fd int)) {
	if raw, err := conn.SyscallConn(); err == nil {
		raw.Control(func(fd uintptr) { f(int(fd)) })
	}
}

// segmentBytes is how long the packets of a train of n bytes are, by what the kernel says of it.
func segmentBytes(oob []byte, n int) int {
	for len(oob) > 0 {
		hdr, body, rest, err := unix.ParseOneSocketControlMessage(oob)
		if err != nil {
			break
		}
		if hdr.Level == unix.IPPROTO_UDP && hdr.Type == unix.UDP_GRO && len(body) >= 4 {
			if s := int(binary.NativeEndian.Uint32(body)); s > 0 {
				return s
			}
		}
		oob = rest
	}
	return max(n, 1)
}

// segmentControl asks the kernel to cut a train into packets of segment bytes again.
func segmentControl(b []byte, segment int) []byte {
	hdr := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
	hdr.Level, hdr.Type = unix.IPPROTO_UDP, unix.UDP_SEGMENT
	hdr.SetLen(unix.CmsgLen(2))
	binary.NativeEndian.PutUint16(b[unix.CmsgLen(0):], uint16(segment))
	return b[:unix.CmsgSpace(2)]
}
