package transport

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
)

// link is one QUIC connection: the control connection of a session, a further one of it, or one of the caller's own
// that also carries a session.
type link struct {
	e     *Endpoint
	conn  *quic.Conn
	owned bool  // ours to close and to accept streams on: not in (c)
	index uint8 // 0: control connection
	// passing: a further connection that its dialer closes when its streams there have ended. Set before the link is
	// shared.
	passing bool
	ch      channel

	// ready is closed when it is clear which session the link belongs to, or that there is none.
	ready   chan struct{}
	settled sync.Once
	session *Session
	err     error
	gone    chan struct{} // closed when the link is forgotten

	mu      sync.Mutex
	claimed bool // a control stream or a join is under way, or was
	own     int  // streams of ours that a user has open here

	bulk bool // counted in Endpoint.bulk; under Endpoint.mu
}

// newLink registers a connection; only one link may be on it.
func (e *Endpoint) newLink(conn *quic.Conn, owned bool) (*link, error) {
	ch, err := newChannel(conn.ConnectionState().TLS, owned)
	if err != nil {
		return nil, err
	}
	l := &link{e: e, conn: conn, owned: owned, ch: ch, ready: make(chan struct{}), gone: make(chan struct{})}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ctx.Err() != nil {
		return nil, ErrShutdown
	}
	if owned && len(e.links) >= linksMax {
		return nil, fmt.Errorf("%w: %d connections", ErrOverload, linksMax)
	}
	if e.links[conn] != nil {
		return nil, fmt.Errorf("%w: the connection carries a session already", ErrOverload)
	}
	e.links[conn] = l
	if owned && e.packets != nil {
		e.packets.Watch(conn)
	}
	return l, nil
}

// settle says, once, to which session the link belongs.
func (l *link) settle(s *Session, err error) {
	l.settled.Do(func() {
		l.session, l.err = s, err
		if s != nil {
			comeIn(l.conn.Context())
		}
		close(l.ready)
	})
}

// fail ends a link that is of no use: its connection, where that is ours to close.
func (l *link) fail(err error) {
	l.settle(nil, err)
	reason := ""
	if code := CodeOf(err); code != CodeNone {
		reason = err.Error()
	}
	l.close(CodeOf(err), reason)
}

// close also forgets the link.
func (l *link) close(code Code, reason string) {
	if l.owned {
		const reasonBytesMax = 256 // it must fit one packet
		if len(reason) > reasonBytesMax {
			reason = reason[:reasonBytesMax]
		}
		l.conn.CloseWithError(quic.ApplicationErrorCode(code), reason)
	}
	l.e.mu.Lock()
	if l.e.links[l.conn] == l {
		delete(l.e.links, l.conn)
		close(l.gone)
		if l.bulk {
			l.e.bulk.Add(-1)
		}
	}
	l.e.mu.Unlock()
}

// claim is for the one stream that gives the link its session.
func (l *link) claim() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.claimed {
		return false
	}
	l.claimed = true
	return true
}

// enterOwn counts a stream of ours, when there are fewer than most.
func (l *link) enterOwn(most int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.own >= most {
		return false
	}
	l.own++
	return true
}

func (l *link) leaveOwn() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.own--
}

func (l *link) ownStreams() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.own
}

func (l *link) alive() bool { return l.conn.Context().Err() == nil }

// acceptLoop takes the peer's streams until the connection ends. Not in (c), where the caller does it.
func (l *link) acceptLoop() {
	// A peer that connects and then says nothing is not kept.
	patience := time.AfterFunc(2*l.e.cfg.DialTimeout, func() {
		l.settle(nil, fmt.Errorf("%w: the peer has begun no session", ErrTimeout))
	})
	defer patience.Stop()
	l.e.spawn(func() {
		select {
		case <-l.ready:
		case <-l.conn.Context().Done():
		case <-l.e.ctx.Done():
		}
		l.settle(nil, ErrShutdown) // nothing, where it has been settled
		if l.session == nil {
			l.fail(l.err)
		}
	})
	for {
		str, err := l.conn.AcceptStream(context.Background())
		if err != nil {
			l.e.cfg.Log.Debug("connection ended", slog.String("addr", l.conn.RemoteAddr().String()), slog.Any("cause", err))
			break
		}
		l.e.spawn(func() { l.serve(str, nil) })
	}
	l.close(CodeNone, "")
}

// serve handles one stream of the peer's to its end. head is what the caller has read of its prefix.
func (l *link) serve(str *quic.Stream, head []byte) {
	defer str.ReleaseStreamCredit() // of use only where the caller has set RequireStreamCreditRelease
	p := quicPipe{str}
	p.SetReadDeadline(time.Now().Add(l.e.cfg.DialTimeout))
	pre, err := readPrefix(head, p)
	if err == nil {
		p.SetReadDeadline(time.Time{})
		err = l.dispatch(pre, p)
	}
	if err != nil {
		cancelBoth(p, refusalCode(err))
		why, _ := explain(err)
		l.e.refused.Warn("stream refused", l.conn.RemoteAddr().String(),
			slog.String("addr", l.conn.RemoteAddr().String()), slog.Any("cause", why))
	}
}

// refusalCode is what the peer is told of a stream, or a connection, that did not become anything.
func refusalCode(err error) Code {
	why, _ := explain(err)
	return CodeOf(why)
}

func (l *link) dispatch(pre prefix, p quicPipe) error {
	switch pre.kind {
	case Control, join:
		if !l.claim() {
			return fmt.Errorf("%w: a second %v stream on a connection", ErrMalformed, pre.kind)
		}
		var err error
		if pre.kind == Control {
			prioritize(p.Stream, Control)
			err = l.accept(p)
		} else {
			l.passing = pre.lane == 1
			err = l.acceptJoin(p)
		}
		if err != nil {
			why, _ := explain(err)
			if e, ok := errors.AsType[*SessionError](err); (!ok || !e.Remote) && !errors.Is(err, errBulkFull) {
				l.e.refused.Warn("connection refused", hostOf(l.conn.RemoteAddr()).String(), slog.String("addr", l.conn.RemoteAddr().String()),
					slog.String("stream", pre.kind.String()), slog.Any("cause", why))
			}
			l.fail(why)
		}
		return err
	}
	s, err := l.wait()
	if err != nil {
		return err
	}
	if err := s.waitOpened(l.e.cfg.DialTimeout); err != nil {
		return err
	}
	if pre.kind == Relay {
		return l.e.serveRelay(s, p, l.index)
	}
	return s.serve(&Stream{p: p, kind: pre.kind, lane: pre.lane, conn: l.index})
}

// wait is for streams that overtake the one that gives the link its session.
func (l *link) wait() (*Session, error) {
	patience := time.NewTimer(l.e.cfg.DialTimeout)
	defer patience.Stop()
	select {
	case <-l.ready:
	case <-patience.C:
		return nil, fmt.Errorf("%w: a stream without a session", ErrTimeout)
	case <-l.e.ctx.Done():
		return nil, ErrShutdown
	}
	if l.session == nil {
		return nil, l.err
	}
	return l.session, nil
}

// accept makes the session whose dialer has opened the control stream p.
func (l *link) accept(p quicPipe) error {
	c := &direct{e: l.e, control: l}
	_, err := l.e.acceptSession(l.e.ctx, l.hail(c, p, ""))
	return err
}

func (l *link) hail(c *direct, p pipe, name string) hail {
	return hail{
		ch: l.ch, control: p, carrier: c, name: name, addr: l.conn.RemoteAddr().String(),
		accepts: l.owned && l.e.accepts,
		bind: func(s *Session, peerAccepts bool) {
			c.s, c.dialable = s, peerAccepts && l.owned
			l.e.expect(s)
		},
		opened: func(s *Session, err error) {
			if err != nil {
				l.settle(nil, err)
			} else {
				l.settle(s, nil)
			}
		},
	}
}

// serve lets the handler have a stream of the peer's, and tidies up after it.
func (s *Session) serve(st *Stream) error {
	st, err := s.add(st)
	if err != nil {
		return err
	}
	s.e.cfg.Handler.Stream(s, st)
	st.Close() // a reset stream gives an error here, which the handler has seen
	return nil
}
