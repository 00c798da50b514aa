package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/quic-go/quic-go"

	"ferry/identity"
)

// A session of our own connections has one for control and events, and further ones for lanes, which are dialed when a
// lane first wants one, by whichever side opens it. On a lossy path this is what makes lanes faster than one stream;
// on every path it keeps bulk out of the control connection's windows.
//
// A further connection begins with a stream of kind join, which stays open as long as the connection:
//
//	off size field
//	  0    8  prefix   kind join
//	  8   16  token    of the session
//
// and the acceptor answers with one byte, joinOK, or closes the connection with the reason.

const joinOK = 1

// controlStreamsMax is how many streams of its own a side keeps on the control connection beside control; further ones
// go to the further connections, so that the windows of unread streams cannot fill the connection's (Config.ConnWindow).
const controlStreamsMax = 1

// furtherMax bounds the further connections of a session, when the peer adds one: either side may dial connectionsMax.
const furtherMax = 2 * connectionsMax

// direct carries a session over QUIC connections to the peer itself.
type direct struct {
	e        *Endpoint
	s        *Session
	control  *link
	dialable bool // the peer takes connections where we see it

	mu     sync.Mutex
	shutUp bool
	slots  []*slot // Config.Connections, made when first used
	taken  int     // further connections so far, dead ones too
	links  []*link // further connections, also the peer's
}

// slot is the place of one further connection.
type slot struct {
	lock   chan struct{} // held while dialing
	l      *link
	failed bool // it could not be dialed, and is not tried again in this session
}

func (c *direct) rtt() time.Duration { return c.control.conn.ConnectionStats().SmoothedRTT }

func (c *direct) open(ctx context.Context, pre prefix, slot uint8, bulk bool) (pipe, uint8, func(), error) {
	l := c.control
	var onEnd func()
	if bulk || !l.enterOwn(controlStreamsMax) {
		if further := c.further(ctx, int(slot)); further != nil {
			l = further
		}
	} else {
		onEnd = l.leaveOwn
	}
	p, err := l.open(ctx, pre.append(nil), pre.kind)
	if err != nil {
		if onEnd != nil {
			onEnd()
		}
		return nil, 0, nil, err
	}
	return p, l.index, onEnd, nil
}

// open opens a stream that begins with head.
func (l *link) open(ctx context.Context, head []byte, kind Kind) (quicPipe, error) {
	str, err := l.conn.OpenStream()
	if _, full := errors.AsType[*quic.StreamLimitReachedError](err); full {
		l.e.cfg.Log.Warn("waiting for the peer's limit of streams", slog.String("addr", l.conn.RemoteAddr().String()),
			slog.String("stream", kind.String()))
		str, err = l.conn.OpenStreamSync(ctx)
	}
	if err != nil {
		return quicPipe{}, err
	}
	prioritize(str, kind)
	p := quicPipe{str}
	if _, err := p.Write(head); err != nil {
		cancelBoth(p, CodeCanceled)
		return quicPipe{}, err
	}
	return p, nil
}

// further gives the connection for the n-th lane, or nil: then the control connection has to do.
func (c *direct) further(ctx context.Context, n int) *link {
	c.mu.Lock()
	c.makeSlots()
	if len(c.slots) == 0 {
		c.mu.Unlock()
		return nil
	}
	sl := c.slots[n%len(c.slots)]
	c.mu.Unlock()
	select {
	case sl.lock <- struct{}{}:
		defer func() { <-sl.lock }()
	case <-ctx.Done():
		return nil // and opening on the control connection fails for the same reason
	}
	c.mu.Lock()
	l, failed := sl.l, sl.failed
	c.mu.Unlock()
	if l != nil && l.alive() {
		return l
	}
	if failed || !c.dialable {
		return nil
	}
	l, err := c.dialFurther(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		if ctx.Err() == nil && c.s.Err() == nil {
			sl.failed = true
			c.e.cfg.Log.Warn("no further connection for lanes, they share the control connection",
				slog.String("peer", nodeName(c.s.peer, c.s.name, c.s.addr)), slog.Any("cause", err))
		}
		return nil
	}
	sl.l = l
	return l
}

func (c *direct) makeSlots() {
	if c.slots == nil && c.control.owned {
		for range c.e.cfg.Connections {
			c.slots = append(c.slots, &slot{lock: make(chan struct{}, 1)})
		}
	}
}

func (c *direct) dialFurther(ctx context.Context) (*link, error) {
	ctx, cancel := context.WithTimeout(ctx, c.e.cfg.DialTimeout)
	defer cancel()
	stop := context.AfterFunc(c.s.ctx, cancel)
	defer stop()
	// Where the session's own packets go: of several processes with one key, this one knows the token.
	conn, err := c.e.transport.Dial(ctx, c.control.conn.RemoteAddr(),
		identity.ClientTLS(c.e.cfg.Key, []string{ALPN}, c.s.key), c.e.cfg.quic())
	if err != nil {
		return nil, err
	}
	l, err := c.e.newLink(conn, true)
	if err != nil {
		conn.CloseWithError(quic.ApplicationErrorCode(CodeOf(err)), "")
		return nil, err
	}
	l.claim()
	if err := l.sayJoin(ctx, c.s.token); err != nil {
		l.fail(err)
		return nil, err
	}
	if err := c.take(l, false); err != nil {
		l.fail(err)
		return nil, err
	}
	l.settle(c.s, nil)
	if !c.e.enter(l.acceptLoop) {
		l.fail(ErrShutdown)
		return nil, ErrShutdown
	}
	return l, nil
}

func (l *link) sayJoin(ctx context.Context, t token) error {
	p, err := l.open(ctx, append(prefix{kind: join}.append(nil), t[:]...), join)
	if err != nil {
		return err
	}
	if deadline, ok := ctx.Deadline(); ok {
		p.SetReadDeadline(deadline)
	}
	var ok [1]byte
	if _, err := io.ReadFull(p, ok[:]); err != nil {
		return err
	}
	if ok[0] != joinOK {
		return fmt.Errorf("%w: join answered with %d", ErrMalformed, ok[0])
	}
	return nil
}

// acceptJoin adds the peer's further connection to its session.
func (l *link) acceptJoin(p quicPipe) error {
	if !l.owned {
		return fmt.Errorf("%w: a join on the caller's connection", ErrMalformed)
	}
	p.SetDeadline(time.Now().Add(l.e.cfg.DialTimeout))
	var t token
	if _, err := io.ReadFull(p, t[:]); err != nil {
		return err
	}
	l.e.mu.Lock()
	s := l.e.tokens[t]
	l.e.mu.Unlock()
	// The token is secret; the key is proven. Both must fit.
	if s == nil || s.relayed || !s.key.Equal(l.ch.tlsKey) {
		return fmt.Errorf("%w: there is no such session to join", ErrRefused)
	}
	c := s.carrier.(*direct) // what is not relayed is direct
	if err := c.take(l, true); err != nil {
		return err
	}
	l.settle(s, nil)
	if _, err := p.Write([]byte{joinOK}); err != nil {
		return err
	}
	return p.SetDeadline(time.Time{})
}

// take makes l a connection of the session. One that the peer has dialed serves our lanes too, in an empty place.
func (c *direct) take(l *link, joined bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.shutUp {
		return c.s.error(ErrClosed, false)
	}
	c.links = slices.DeleteFunc(c.links, func(l *link) bool { return !l.alive() })
	if joined {
		if len(c.links) >= furtherMax {
			return fmt.Errorf("%w: more than %d further connections", ErrOverload, furtherMax)
		}
		c.makeSlots()
		for _, sl := range c.slots {
			if sl.l == nil || !sl.l.alive() {
				sl.l = l
				break
			}
		}
	}
	c.taken++
	l.index = uint8(min(c.taken, 255))
	c.links = append(c.links, l)
	return nil
}

func (c *direct) shut(code Code, reason string) {
	c.mu.Lock()
	c.shutUp = true
	links := c.links
	c.links = nil
	c.mu.Unlock()
	c.control.close(code, reason)
	for _, l := range links {
		l.close(code, "")
	}
}
