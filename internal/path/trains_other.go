//go:build !linux

package path

import "net"

// Elsewhere a train is one packet.

const oobBytes = 0

func setBuffers(conn *net.UDPConn) {
	conn.SetReadBuffer(socketBufferBytes)
	conn.SetWriteBuffer(socketBufferBytes)
}

func enableTrains(*net.UDPConn) {}

func segmentBytes(_ []byte, n int) int { return max(n, 1) }

func segmentControl(b []byte, _ int) []byte { return nil }
