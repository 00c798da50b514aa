package transport

import (
	"context"
	"errors"
	"fmt"

	"github.com/quic-go/quic-go"
)

// Attach is way (c): a session on a connection that the caller already uses for a protocol of its own, with TLS of its
// own. Exactly one side is the dialer of the session, preferably that of the connection; the other need not call
// Attach, as the session arrives through HandleStream, but may, to wait for it. Who the peer is, is proven by a
// signature over the exporter of the connection's TLS; it must be admitted on both sides.
//
// Everything runs on this one connection, lanes too. It is neither closed here, nor are its streams accepted.
func (e *Endpoint) Attach(ctx context.Context, conn *quic.Conn, dialer bool) (*Session, error) {
	if err := e.running(ctx); err != nil {
		return nil, err
	}
	addr := conn.RemoteAddr().String()
	fail := func(err error) (*Session, error) {
		if _, ok := errors.AsType[*SessionError](err); ok {
			return nil, err
		}
		why, remote := explain(err)
		return nil, &SessionError{Addr: addr, Remote: remote, Err: why}
	}
	l, err := e.adopt(conn)
	if err != nil {
		return fail(err)
	}
	if dialer {
		if !l.claim() {
			return fail(fmt.Errorf("%w: the connection carries a session already", ErrOverload))
		}
		if err := e.attachDial(ctx, l); err != nil {
			return fail(err)
		}
	}
	select {
	case <-l.ready:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-conn.Context().Done():
		return fail(context.Cause(conn.Context()))
	case <-e.ctx.Done():
		return fail(ErrShutdown)
	}
	if l.session == nil {
		return fail(l.err)
	}
	return l.session, nil
}

// attachDial begins the session; the link is settled with the outcome.
func (e *Endpoint) attachDial(ctx context.Context, l *link) error {
	if !e.enter(func() {
		ctx, cancel := context.WithTimeout(ctx, e.cfg.DialTimeout)
		defer cancel()
		stop := context.AfterFunc(e.ctx, cancel)
		defer stop()
		if _, err := l.dialSession(ctx, Address{}); err != nil {
			l.fail(err)
		}
	}) {
		l.fail(ErrShutdown)
		return ErrShutdown
	}
	return nil
}

// adopt gives the link of a caller's connection.
func (e *Endpoint) adopt(conn *quic.Conn) (*link, error) {
	e.mu.Lock()
	l := e.links[conn]
	e.mu.Unlock()
	if l == nil {
		e.warn(conn, conn.ConnectionState())
		fresh, err := e.newLink(conn, false)
		if err == nil {
			if !e.enter(fresh.mind) {
				fresh.fail(ErrShutdown)
				return nil, ErrShutdown
			}
			return fresh, nil
		}
		e.mu.Lock()
		l = e.links[conn] // another call may have been first
		e.mu.Unlock()
		if l == nil {
			return nil, err
		}
	}
	if l.owned {
		return nil, fmt.Errorf("%w: the connection is the endpoint's own", ErrMalformed)
	}
	return l, nil
}

// mind forgets the link of a caller's connection when that ends without a session.
func (l *link) mind() {
	select {
	case <-l.conn.Context().Done():
		l.fail(context.Cause(l.conn.Context()))
	case <-l.e.ctx.Done():
		l.settle(nil, ErrShutdown)
	case <-l.gone:
	}
}

// HandleStream takes a stream that begins with our prefix (IsPrefix) from the accept loop of the caller of Attach.
// consumed is what the caller has read of it: all of the prefix, a part, or nothing, if it only peeked. It returns
// without waiting for the peer; on an error the stream has been reset.
func (e *Endpoint) HandleStream(conn *quic.Conn, str *quic.Stream, consumed []byte) error {
	refuse := func(err error) error {
		cancelBoth(quicPipe{str}, CodeOf(err))
		return fmt.Errorf("transport: stream from %s: %w", conn.RemoteAddr(), err)
	}
	if len(consumed) > PrefixBytes {
		return refuse(fmt.Errorf("%w: more than a prefix was read from the stream", ErrMalformed))
	}
	if err := e.running(conn.Context()); err != nil {
		return refuse(err)
	}
	l, err := e.adopt(conn)
	if err != nil {
		return refuse(err)
	}
	head := append([]byte(nil), consumed...)
	if !e.enter(func() { l.serve(str, head) }) {
		return refuse(ErrShutdown)
	}
	return nil
}
