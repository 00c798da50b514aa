package main

import (
	"context"
	"io"
	"sync"

	"github.com/quic-go/quic-go"

	"ferry/identity"
	"ferry/transport"
)

// Plain quic-go, as its users run it: one connection, one stream, the defaults.

// plainALPN is the protocol of the contenders on quic-go.
const plainALPN = "bench/1"

type quicSink struct {
	listener *quic.Listener
	wg       sync.WaitGroup
}

// do carries out "start": Dir is where to write to, "" for nowhere.
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
			_ = receive(str, sinkPath(o.Dir)) // the source sees it fail
			str.Close()
		}
		<-conn.Context().Done()
	})
	r.Self = peer{Address: transport.Address{Addr: s.listener.Addr().String(), Key: key.Public()}}
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

// quicStream is a connection's only stream.
type quicStream struct {
	*quic.Stream
	conn *quic.Conn
}

func (s quicStream) Close() error { return s.conn.CloseWithError(0, "") }

func dialQUIC(ctx context.Context, to peer) (io.ReadWriteCloser, error) {
	conn, err := quic.DialAddr(ctx, to.Addr, identity.ClientTLS(keyOf("source"), []string{plainALPN}, to.Key), plainConfig())
	if err != nil {
		return nil, err
	}
	str, err := conn.OpenStreamSync(ctx)
	if err != nil {
		return nil, err
	}
	return quicStream{str, conn}, nil
}

// plainConfig is quic-go as it comes, but for outlasting the turns of the others.
func plainConfig() *quic.Config {
	return &quic.Config{KeepAlivePeriod: transport.QUICConfig().KeepAlivePeriod}
}
