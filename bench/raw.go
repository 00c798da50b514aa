package main

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
	"golang.org/x/sync/errgroup"

	"ferry/identity"
	"ferry/transport"
)

// Raw quic-go with what ferry puts under it (its packet conn, its windows, its number of connections), from memory to
// memory and without a check of any kind: what is left of it is the price of everything else that ferry does.

// rawTransport is a quic.Transport on a socket such as an Endpoint has.
type rawTransport struct {
	quic.Transport
	packets *transport.PacketConn
}

func newRawTransport() (*rawTransport, error) {
	socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	packets := transport.NewPacketConn(socket, nil)
	return &rawTransport{Transport: quic.Transport{Conn: packets}, packets: packets}, nil
}

func (t *rawTransport) close() error { return errors.Join(t.Close(), t.packets.Close()) }

type rawSink struct {
	transport *rawTransport
	listener  *quic.Listener
	wg        sync.WaitGroup
}

// do carries out "start".
func (s *rawSink) do(ctx context.Context, o order) (r reply, err error) {
	if o.Do != "start" {
		return r, errNoOrder
	}
	key := keyOf("sink")
	if s.transport, err = newRawTransport(); err != nil {
		return r, err
	}
	s.listener, err = s.transport.Listen(identity.ServerTLS(key, []string{plainALPN}, anyone), transport.QUICConfig())
	if err != nil {
		return r, err
	}
	s.wg.Go(func() {
		for {
			conn, err := s.listener.Accept(ctx)
			if err != nil {
				return
			}
			s.transport.packets.Watch(conn)
			s.wg.Go(func() {
				if str, err := conn.AcceptStream(ctx); err == nil {
					_ = discard(str) // the source sees it fail
				}
				<-conn.Context().Done()
			})
		}
	})
	r.Self = peer{Address: transport.Address{Addr: s.transport.Conn.LocalAddr().String(), Key: key.Public()}}
	return r, nil
}

// discard reads pieces until the stream ends:
//
//	off size field
//	  0    8  n, little endian; 0: that was the last, which is answered with one byte
//	  8    n  anything
func discard(rw io.ReadWriter) error {
	buf := make([]byte, writeBytes)
	for {
		var head [8]byte
		if _, err := io.ReadFull(rw, head[:]); err != nil {
			return err
		}
		n := binary.LittleEndian.Uint64(head[:])
		if n > writeBytes {
			return errPiece
		}
		if n == 0 {
			if _, err := rw.Write(head[:1]); err != nil {
				return err
			}
			continue
		}
		if _, err := io.ReadFull(rw, buf[:n]); err != nil {
			return err
		}
	}
}

var errPiece = errors.New("a piece larger than it may be")

func (s *rawSink) close() error {
	if s.transport == nil {
		return nil
	}
	err := s.listener.Close()
	s.wg.Wait() // the source has closed its connections
	return errors.Join(err, s.transport.close())
}

type rawSource struct {
	transport *rawTransport
	conns     []*quic.Conn
	streams   []*quic.Stream
}

// do carries out
//
//	dial  Peers[0], over so many Connections
//	send  State.Bytes, of any content
func (s *rawSource) do(ctx context.Context, o order) (r reply, err error) {
	switch o.Do {
	case "dial":
		return r, s.dial(ctx, o.Peers[0], max(o.Connections, 1))
	case "send":
		began := time.Now()
		err := s.send(o.State.Bytes)
		r.Sample = Sample{Bytes: o.State.Bytes, Seconds: time.Since(began).Seconds()}
		return r, err
	}
	return r, errNoOrder
}

func (s *rawSource) dial(ctx context.Context, to peer, connections int) (err error) {
	addr, err := net.ResolveUDPAddr("udp", to.Addr)
	if err != nil {
		return err
	}
	if s.transport, err = newRawTransport(); err != nil {
		return err
	}
	for range connections {
		conn, err := s.transport.Dial(ctx, addr, identity.ClientTLS(keyOf("source"), []string{plainALPN}, to.Key), transport.QUICConfig())
		if err != nil {
			return err
		}
		s.transport.packets.Watch(conn)
		str, err := conn.OpenStreamSync(ctx)
		if err != nil {
			return err
		}
		s.conns, s.streams = append(s.conns, conn), append(s.streams, str)
	}
	return nil
}

// send lets every stream take the next piece, as lanes do.
func (s *rawSource) send(n int64) error {
	var taken atomic.Int64
	var g errgroup.Group
	for _, str := range s.streams {
		g.Go(func() error {
			piece := make([]byte, 8+writeBytes)
			copy(piece[8:], randomBlock())
			for {
				size := min(n-taken.Add(writeBytes)+writeBytes, writeBytes)
				if size <= 0 {
					break
				}
				binary.LittleEndian.PutUint64(piece, uint64(size))
				if _, err := str.Write(piece[:8+size]); err != nil {
					return err
				}
			}
			binary.LittleEndian.PutUint64(piece, 0)
			if _, err := str.Write(piece[:8]); err != nil {
				return err
			}
			_, err := io.ReadFull(str, piece[:1])
			return err
		})
	}
	return g.Wait()
}

func (s *rawSource) close() error {
	if s.transport == nil {
		return nil
	}
	for _, c := range s.conns {
		_ = c.CloseWithError(0, "")
	}
	return s.transport.close()
}
