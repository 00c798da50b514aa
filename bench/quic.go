package main

import (
	"context"
	"sync"

	"github.com/quic-go/quic-go"

	"ferry/identity"
	"ferry/transport"
)

// plainALPN is the protocol of the plain contender.
const plainALPN = "bench/1"

type quicSink struct {
	listener *quic.Listener
	wg       sync.WaitGroup
}

func (s *quicSink) do(ctx context.Context, o order) (r reply, err error) {
	if o.Do != "start" {
		return r, errNoOrder
	}
	key := keyOf("sink")
	s.listener, err = quic.ListenAddr("127.0.0.1:0", identity.ServerTLS(key, []string{plainALPN}, anyone), plainConfig())
	if err != nil {
		return r, err
	}
	s.wg.Go(func() {
		conn, err := s.listener.Accept(ctx)
		if err != nil {
			return
		}
		if str, err := conn.AcceptStream(ctx); err == nil {
			_ = receive(str) // the source sees it fail
			str.Close()
		}
		<-conn.Context().Done()
	})
	r.Self = transport.Address{Addr: s.listener.Addr().String(), Key: key.Public()}
	return r, nil
}

func (s *quicSink) close() error {
	if s.listener == nil {
		return nil
	}
	err := s.listener.Close()
	s.wg.Wait() // the source has closed its end
	return err
}

type quicSource struct {
	cfg  Config
	conn *quic.Conn
	str  *quic.Stream
}

func (s *quicSource) do(ctx context.Context, o order) (r reply, err error) {
	switch o.Do {
	case "dial":
		s.cfg = o.Config
		s.conn, err = quic.DialAddr(ctx, o.Peer.Addr, identity.ClientTLS(keyOf("source"), []string{plainALPN}, o.Peer.Key), plainConfig())
		if err == nil {
			s.str, err = s.conn.OpenStreamSync(ctx)
		}
	case "send":
		r.Sample, err = send(s.str, s.cfg.Bytes)
	default:
		err = errNoOrder
	}
	return r, err
}

func (s *quicSource) close() error {
	if s.conn == nil {
		return nil
	}
	return s.conn.CloseWithError(0, "")
}

// plainConfig is quic-go as it comes, but for outlasting the turns of the others.
func plainConfig() *quic.Config {
	c := transport.QUICConfig()
	return &quic.Config{KeepAlivePeriod: c.KeepAlivePeriod}
}
