package main

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"net"
	"sync"

	"ferry/identity"
	"ferry/transport"
)

// anyone admits every key: the bench is alone on its loopback ports.
func anyone(ed25519.PublicKey) error { return nil }

type tcpSink struct {
	listener net.Listener
	wg       sync.WaitGroup
}

func (s *tcpSink) do(_ context.Context, o order) (r reply, err error) {
	if o.Do != "start" {
		return r, errNoOrder
	}
	key := keyOf("sink")
	s.listener, err = tls.Listen("tcp", "127.0.0.1:0", identity.ServerTLS(key, nil, anyone))
	if err != nil {
		return r, err
	}
	s.wg.Go(func() {
		conn, err := s.listener.Accept()
		if err == nil {
			_ = receive(conn) // the source sees it fail
			conn.Close()
		}
	})
	r.Self = transport.Address{Addr: s.listener.Addr().String(), Key: key.Public()}
	return r, nil
}

func (s *tcpSink) close() error {
	if s.listener == nil {
		return nil
	}
	err := s.listener.Close()
	s.wg.Wait() // the source has closed its end
	return err
}

type tcpSource struct {
	cfg  Config
	conn net.Conn
}

func (s *tcpSource) do(ctx context.Context, o order) (r reply, err error) {
	switch o.Do {
	case "dial":
		s.cfg = o.Config
		d := tls.Dialer{Config: identity.ClientTLS(keyOf("source"), nil, o.Peer.Key)}
		s.conn, err = d.DialContext(ctx, "tcp", o.Peer.Addr)
	case "send":
		r.Sample, err = send(s.conn, s.cfg.Bytes)
	default:
		err = errNoOrder
	}
	return r, err
}

func (s *tcpSource) close() error {
	if s.conn == nil {
		return nil
	}
	return s.conn.Close()
}
