package main

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"sync"

	"ferry/identity"
	"ferry/transport"
)

// TLS 1.3 over TCP, one connection.

type tcpSink struct {
	listener net.Listener
	wg       sync.WaitGroup
}

// do carries out "start": Dir is where to write to, "" for nowhere.
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
			_ = receive(conn, sinkPath(o.Dir)) // the source sees it fail
			conn.Close()
		}
	})
	r.Self = peer{Address: transport.Address{Addr: s.listener.Addr().String(), Key: key.Public()}}
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

func dialTCP(ctx context.Context, to peer) (io.ReadWriteCloser, error) {
	d := tls.Dialer{Config: identity.ClientTLS(keyOf("source"), nil, to.Key)}
	return d.DialContext(ctx, "tcp", to.Addr)
}
