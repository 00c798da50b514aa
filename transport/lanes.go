package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
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
// The first Config.Connections of them stay as long as the session, and both sides open lanes on them. Those beyond are
// passing: only who has dialed opens lanes there, and closes the connection when the last of these has ended, which
// frees its place in Config.BulkWindow.
//
// A further connection begins with a stream of kind join, which stays open as long as the connection:
//
//	off size field
//	  0    8  prefix   kind join; its lane is 1 where the connection is passing, else 0
//	  8   16  token    of the session
//
// and the acceptor answers with one byte, joinOK, or closes the connection with the reason.

const joinOK = 1

// controlStreamsMax is how many streams of its own a side keeps on the control connection beside control; further ones
// go to the further connections, so that the windows of unread streams cannot fill the connection's (Config.ConnWindow).
const controlStreamsMax = 1

// furtherMax bounds the further connections of a session, when the peer adds one: either side may dial connectionsMax.
const furtherMax = 2 * connectionsMax

// errBulkFull: Config.BulkWindow has no room for another further connection.
var errBulkFull = fmt.Errorf("%w: no window is left for another connection", ErrOverload)

// direct carries a session over QUIC connections to the peer itself.
type direct struct {
	e        *Endpoint
	s        *Session
	control  *link
	dialable bool // the peer takes connections where we see it

	mu     sync.Mutex
	shutUp bool
	slots  []*slot // Config.ConnectionsMax, made when first used
	links  []*link // further connections, also the peer's
}

// slot is the place of one further connection.
type slot struct {
	lock   chan struct{} // held while dialing
	l      *link
	failed bool // it could not be dialed, and is not tried again in this session
}

func (c *direct) rtt() time.Duration { return c.control.conn.ConnectionStats().SmoothedRTT }

func (c *direct) open(ctx context.Context, pre prefix, at place) (pipe, uint8, func(), error) {
	l := c.control
	var onEnd func()
	if at.bulk || !l.enterOwn(controlStreamsMax) {
		further, err := c.further(ctx, at)
		if err != nil {
			return nil, 0, nil, err
		}
		if further != nil {
			l, onEnd = further, func() { c.leave(further) }
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

// further gives the connection in a slot, to be left again, or another one where that cannot be had. With nil the control
// connection has to do.
func (c *direct) further(ctx context.Context, at place) (*link, error) {
	c.mu.Lock()
	c.makeSlots()
	if len(c.slots) == 0 {
		c.mu.Unlock()
		return nil, nil
	}
	n := int(at.slot) % len(c.slots)
	sl := c.slots[n]
	c.mu.Unlock()
	select {
	case sl.lock <- struct{}{}:
		defer func() { <-sl.lock }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	c.mu.Lock()
	l, failed := sl.l, sl.failed
	used := l.enterUse()
	c.mu.Unlock()
	if used {
		return l, nil
	}
	err := fmt.Errorf("%w: the peer takes no further connections", ErrNoPath)
	if c.dialable && !failed {
		l, err = c.dialFurther(ctx, n >= c.e.cfg.Connections)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err == nil:
		sl.l = l
		return l, nil
	case c.dialable && !failed && ctx.Err() == nil && c.s.Err() == nil:
		// A place in somebody's BulkWindow may be free again the next time.
		why, _ := explain(err)
		sl.failed = !errors.Is(why, ErrOverload)
		c.e.cfg.Log.Info("no further connection for lanes, they share those that there are",
			slog.String("peer", nodeName(c.s.peer, c.s.name, c.s.addr)), slog.Any("cause", why))
	}
	if at.own {
		return nil, err
	}
	for _, other := range c.slots {
		if other.l.enterUse() {
			return other.l, nil
		}
	}
	return nil, nil
}

// enterUse counts a stream of ours on a further connection; false when there is none to be had.
func (l *link) enterUse() bool {
	return l != nil && l.alive() && l.enterOwn(math.MaxInt)
}

// leave ends the use of a further connection, and with the last one a passing connection itself. Whose stream has ended
// in both directions has all its bytes delivered, or has given them up.
func (c *direct) leave(l *link) {
	c.mu.Lock()
	l.leaveOwn()
	idle := l.passing && l.ownStreams() == 0
	if idle {
		for _, sl := range c.slots {
			if sl.l == l {
				sl.l = nil
			}
		}
	}
	c.mu.Unlock()
	if idle {
		l.close(CodeCanceled, "") // where a stream was reset, that may overtake the reset: it says the same
	}
}

func (c *direct) makeSlots() {
	if c.slots == nil && c.control.owned && c.e.cfg.Connections > 0 {
		for range c.e.cfg.ConnectionsMax {
			c.slots = append(c.slots, &slot{lock: make(chan struct{}, 1)})
		}
	}
}

// dialFurther gives a connection that is in use already.
func (c *direct) dialFurther(ctx context.Context, passing bool) (*link, error) {
	if !c.room() {
		return nil, errBulkFull
	}
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
	l.passing = passing
	l.enterUse()
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

// room says whether the session may have another further connection: its first one in any case.
func (c *direct) room() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forgetDead()
	return len(c.links) == 0 || c.e.bulk.Load() < c.e.cfg.bulkMax()
}

func (c *direct) forgetDead() {
	c.links = slices.DeleteFunc(c.links, func(l *link) bool { return !l.alive() })
}

func (l *link) sayJoin(ctx context.Context, t token) error {
	pre := prefix{kind: join}
	if l.passing {
		pre.lane = 1
	}
	p, err := l.open(ctx, append(pre.append(nil), t[:]...), join)
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

// take makes l a connection of the session. One that the peer has dialed to stay serves our lanes too, in an empty slot.
func (c *direct) take(l *link, joined bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.shutUp {
		return c.s.error(ErrClosed, false)
	}
	c.forgetDead()
	if joined && len(c.links) >= furtherMax {
		return fmt.Errorf("%w: more than %d further connections", ErrOverload, furtherMax)
	}
	if !c.e.enterBulk(l, len(c.links) == 0) {
		return errBulkFull
	}
	if joined && !l.passing {
		c.makeSlots()
		for _, sl := range c.slots[:min(len(c.slots), c.e.cfg.Connections)] {
			if sl.l == nil || !sl.l.alive() {
				sl.l = l
				break
			}
		}
	}
	// The lowest number that is free: a relay chooses the next leg's connection by it.
	for l.index = 1; slices.ContainsFunc(c.links, func(o *link) bool { return o.index == l.index }); l.index++ {
	}
	c.links = append(c.links, l)
	return nil
}

// enterBulk counts a further connection against BulkWindow until it is closed. The first of a session always fits.
func (e *Endpoint) enterBulk(l *link, first bool) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.links[l.conn] != l || !first && e.bulk.Load() >= e.cfg.bulkMax() {
		return false
	}
	l.bulk = true
	e.bulk.Add(1)
	return true
}

func (c *direct) traffic() (t traffic) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forgetDead()
	for _, l := range c.links {
		stats := l.conn.ConnectionStats()
		t.connections++
		t.bytes += stats.BytesSent - min(stats.BytesLost, stats.BytesSent)
		t.rtt = max(t.rtt, stats.SmoothedRTT)
		if t.minRTT == 0 || stats.MinRTT > 0 && stats.MinRTT < t.minRTT {
			t.minRTT = stats.MinRTT
		}
	}
	return t
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
