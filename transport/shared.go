package transport

import (
	"fmt"
	"log/slog"

	"github.com/quic-go/quic-go"
)

// UseTransport is way (b): the endpoint dials on the caller's transport, and the caller, who keeps its one Listener,
// offers TLSConfig to those who ask for ALPN and hands their connections to Accept. Call it before Run. The transport
// is never closed here.
//
// What the caller accepts has the windows and timeouts of its Listener: see QUICConfig for those that we recommend. With a
// PacketConn as the transport's Conn, bulk is read faster; it is told of the endpoint's connections here, and of the
// caller's own by the caller.
func (e *Endpoint) UseTransport(t *quic.Transport) error {
	if e.transport != nil {
		return fmt.Errorf("transport: the endpoint has a socket already")
	}
	e.transport = t
	e.accepts = true
	var ours bool
	if e.packets, ours = t.Conn.(*PacketConn); !ours {
		e.cfg.Log.Info("the caller's socket is read in quic-go's way, which is slower than a PacketConn")
	}
	return nil
}

// Accept takes a connection that has negotiated ALPN, with the TLSConfig of this endpoint; from then on it is the
// endpoint's to use and to close. On an error it is closed already. It does not wait for the peer, but for Run.
func (e *Endpoint) Accept(conn *quic.Conn) error {
	l, err := e.takeAccepted(conn)
	if err == nil && !e.enter(l.acceptLoop) {
		err = ErrShutdown
		l.fail(err)
	}
	if err != nil {
		conn.CloseWithError(quic.ApplicationErrorCode(CodeOf(err)), "")
		return fmt.Errorf("transport: accept from %s: %w", conn.RemoteAddr(), err)
	}
	return nil
}

func (e *Endpoint) takeAccepted(conn *quic.Conn) (*link, error) {
	if err := e.running(conn.Context()); err != nil {
		return nil, err
	}
	state := conn.ConnectionState()
	if p := state.TLS.NegotiatedProtocol; p != ALPN {
		return nil, fmt.Errorf("%w: the connection has negotiated %q, not %q", ErrMalformed, p, ALPN)
	}
	if state.Used0RTT {
		return nil, fmt.Errorf("%w: the connection has begun with 0-RTT, which can be replayed", ErrRefused)
	}
	e.warn(conn, state)
	return e.newLink(conn, true)
}

// warn looks at what of the caller's quic.Config can be seen from outside.
func (e *Endpoint) warn(conn *quic.Conn, state quic.ConnectionState) {
	addr := slog.String("addr", conn.RemoteAddr().String())
	if state.RequireStreamCreditRelease {
		e.cfg.Log.Warn("RequireStreamCreditRelease is set: the credit of our streams is released only when they end", addr)
	}
	if state.SupportsDatagrams.Local && e.listener == nil && state.TLS.NegotiatedProtocol == ALPN {
		e.cfg.Log.Warn("datagrams are enabled on a connection of ours, which uses none", addr)
	}
	if !state.GSO {
		e.cfg.Log.Debug("no segmentation offload: bulk will be slow", addr)
	}
}
