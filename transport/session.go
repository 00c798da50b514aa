package transport

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"ferry/frame"
	"ferry/identity"
)

// Session is a live relation with one node: a control stream, and the streams opened beside it. Two nodes may have
// several at a time, when both have dialed at once, when one has restarted, or when several processes use one key; all
// of them deliver. So answer on the session that asked, and use Endpoint.Session only to begin something.
type Session struct {
	e        *Endpoint
	peer     identity.NodeID
	key      ed25519.PublicKey
	name     string // "" when not known
	addr     string
	token    token
	relay    identity.NodeID
	relayed  bool
	carrier  carrier
	control  pipe
	reader   *frame.Reader
	out      *outbox
	ctx      context.Context
	cancel   context.CancelCauseFunc
	opened   chan struct{} // closed when the handler has opened it; ctx ends first when it has not
	closing  chan struct{} // closed by the first clean Close
	down     chan struct{} // closed when nothing of it is left on its connections
	closeOne sync.Once

	mu      sync.Mutex
	streams map[*Stream]struct{}
	ended   bool // no stream may be added
	value   any
}

// place is where a stream belongs.
type place struct {
	bulk bool  // on another connection than the control stream's, where there is one
	slot uint8 // which one
	own  bool  // that one or none, where there are any
}

// carrier is what the streams of a session run over.
type carrier interface {
	// open opens a stream and has written everything before the bytes of its user.
	open(ctx context.Context, pre prefix, at place) (p pipe, conn uint8, onEnd func(), err error)
	rtt() time.Duration
	// traffic is what its further connections have carried.
	traffic() traffic
	// shut ends every connection that belongs to the session alone; the session has reset its streams.
	shut(code Code, reason string)
}

// Peer is the node at the other end, proven.
func (s *Session) Peer() identity.NodeID { return s.peer }

// PeerKey is its key.
func (s *Session) PeerKey() ed25519.PublicKey { return s.key }

// PeerName is its name by the Resolver, or "".
func (s *Session) PeerName() string { return s.name }

// PeerAddr is where it is seen, or the relay it is behind.
func (s *Session) PeerAddr() string { return s.addr }

// Relayed says whether a third node splices between the two.
func (s *Session) Relayed() bool { return s.relayed }

// Relay is that node, or 0.
func (s *Session) Relay() identity.NodeID { return s.relay }

// RTT is the round trip time of the control connection, smoothed; of a relayed session that to the relay.
func (s *Session) RTT() time.Duration { return s.carrier.rtt() }

// Done is closed when the session has ended or is about to: Err then says why. Closed is called a little later.
func (s *Session) Done() <-chan struct{} { return s.ctx.Done() }

// Err is nil while the session lives, then what ended it: a *SessionError, or what Close was given.
func (s *Session) Err() error {
	if s.ctx.Err() == nil {
		return nil
	}
	return context.Cause(s.ctx)
}

// SetValue keeps something of the user's with the session.
func (s *Session) SetValue(v any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.value = v
}

// Value gives it back.
func (s *Session) Value() any {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.value
}

// Send queues a control frame with a copy of msg, and does not wait. Frames arrive in order, or the session ends: there
// is no other sign of arrival. When the queue is full the peer does not take them; the session is closed with
// ErrSlowPeer.
func (s *Session) Send(epoch frame.Epoch, msg []byte) error {
	if err := s.Err(); err != nil {
		return err
	}
	err := s.out.put(epoch, msg)
	switch {
	case errors.Is(err, ErrSlowPeer):
		err = s.error(err, false)
		s.cancel(err)
	case errors.Is(err, ErrClosed):
		err = s.error(err, false)
	}
	return err
}

// OpenStream opens a stream of kind Events or Lane; lane numbers it and chooses one of Config.Connections. ctx bounds the
// opening only, which waits while the peer's limit of streams is reached. For bulk see Spread.
func (s *Session) OpenStream(ctx context.Context, kind Kind, lane uint8) (*Stream, error) {
	if kind != Events && kind != Lane {
		return nil, fmt.Errorf("transport: OpenStream of kind %v", kind)
	}
	if kind == Events {
		lane = 0
	}
	slot := lane
	if n := s.e.cfg.Connections; n > 0 {
		slot %= uint8(n)
	}
	return s.open(ctx, prefix{kind: kind, lane: lane}, place{bulk: kind == Lane, slot: slot})
}

func (s *Session) open(ctx context.Context, pre prefix, at place) (*Stream, error) {
	if err := s.Err(); err != nil {
		return nil, err
	}
	p, conn, onEnd, err := s.carrier.open(ctx, pre, at)
	if err != nil {
		if cause := s.Err(); cause != nil {
			return nil, cause
		}
		why, remote := explain(err)
		return nil, s.error(fmt.Errorf("open %v stream: %w", pre.kind, why), remote)
	}
	return s.add(&Stream{p: p, kind: pre.kind, lane: pre.lane, conn: conn, onEnd: onEnd})
}

// add makes st a stream of the session, or resets it when the session has ended.
func (s *Session) add(st *Stream) (*Stream, error) {
	st.s = s
	st.halves.Store(2)
	s.mu.Lock()
	ended := s.ended
	if !ended {
		s.streams[st] = struct{}{}
	}
	s.mu.Unlock()
	if ended {
		cancelBoth(st.p, CodeSession)
		if st.onEnd != nil {
			st.onEnd()
		}
		return nil, s.Err()
	}
	return st, nil
}

func (s *Session) forget(st *Stream) {
	s.mu.Lock()
	delete(s.streams, st)
	s.mu.Unlock()
	if st.onEnd != nil {
		st.onEnd()
	}
}

// Close ends the session. A nil err is the clean way: what was sent is delivered first, as far as the peer takes it
// within a second. With an err it ends at once, err is its cause, and the peer is told CodeOf(err). Close does not
// wait; see Done.
func (s *Session) Close(err error) {
	if err != nil {
		s.cancel(s.error(err, false))
		return
	}
	s.closeOne.Do(func() {
		s.out.close()
		close(s.closing)
	})
}

func (s *Session) error(err error, remote bool) error {
	if _, ok := errors.AsType[*SessionError](err); ok {
		return err
	}
	return &SessionError{Node: s.peer, Name: s.name, Addr: s.addr, Remote: remote, Err: err}
}

// read runs the handler, from the hello to the end, in one goroutine. opened is told whether the session may be used.
func (s *Session) read(hello []byte, opened func(error)) {
	h := s.e.cfg.Handler
	if err := h.Opened(s, hello); err != nil {
		err = s.error(fmt.Errorf("%w: %w", ErrRefused, err), false)
		s.cancel(err)
		opened(err)
		return
	}
	s.e.publish(s)
	close(s.opened)
	opened(nil)
	for {
		f, err := s.reader.Next()
		if err == io.EOF {
			err = ErrClosed // the peer has finished; whatever it sent has been handled
			s.cancel(s.error(err, true))
			break
		}
		if err != nil {
			why, remote := explain(err)
			s.cancel(s.error(why, remote))
			break
		}
		h.Control(s, f)
	}
	s.e.withdraw(s)
	s.tellEviction()
	// Who hears that it has ended may begin another on the same connection at once.
	<-s.down
	h.Closed(s, s.Err())
}

// tellEviction logs that the peer was put out: for bytes that do not decode, or because it takes none.
func (s *Session) tellEviction() {
	err, ok := errors.AsType[*SessionError](s.Err())
	if !ok || err.Remote || !errors.Is(err, ErrSlowPeer) && CodeOf(err) != CodeMalformed {
		return
	}
	s.e.refused.Warn("session ended here", s.peer.String(),
		slog.String("node", s.peer.String()), slog.String("addr", s.addr), slog.Any("cause", err.Err))
}

// waitOpened is for streams that overtake the end of the handshake.
func (s *Session) waitOpened(timeout time.Duration) error {
	patience := time.NewTimer(timeout)
	defer patience.Stop()
	select {
	case <-s.opened:
		return nil
	case <-s.ctx.Done():
		return s.Err()
	case <-patience.C:
		return s.error(fmt.Errorf("%w: a stream before the session is open", ErrTimeout), false)
	}
}

// write is the only writer of the control stream.
func (s *Session) write() {
	var buf []byte
	for {
		var closed bool
		buf, closed = s.out.take(buf)
		if len(buf) > 0 {
			if _, err := s.control.Write(buf); err != nil {
				why, remote := explain(err)
				s.cancel(s.error(why, remote))
				return
			}
			continue
		}
		if closed {
			// What ended for a cause is closed with its code: the end of the stream, if it came first, would hide it.
			if s.ctx.Err() == nil {
				s.control.CloseWrite() // its failure shows at the reader
			}
			return
		}
		select {
		case <-s.out.wake:
		case <-s.ctx.Done():
			return
		}
	}
}

// watch takes the session down when it has ended, whoever ended it, and bounds a clean close.
func (s *Session) watch() {
	defer close(s.down)
	select {
	case <-s.ctx.Done():
	case <-s.closing:
		drain := time.NewTimer(drainTimeout)
		defer drain.Stop()
		select {
		case <-s.ctx.Done():
		case <-drain.C:
			s.cancel(s.error(ErrClosed, false))
		}
	}
	s.out.close()
	s.mu.Lock()
	s.ended = true
	streams := make([]*Stream, 0, len(s.streams))
	for st := range s.streams {
		streams = append(streams, st)
	}
	s.mu.Unlock()
	cause := s.Err()
	code := CodeOf(cause)
	reason := ""
	if e, ok := errors.AsType[*SessionError](cause); ok && !e.Remote {
		reason = e.Err.Error()
	}
	s.carrier.shut(code, reason)
	// Where the connection is not ours to close, the streams are all that can be ended.
	cancelBoth(s.control, code)
	for _, st := range streams {
		st.Cancel(CodeSession)
	}
	s.e.withdraw(s)
}

func (s *Session) start(hello []byte, opened func(error)) {
	s.e.spawn(s.watch)
	s.e.spawn(s.write)
	s.e.spawn(func() { s.read(hello, opened) })
}

// newSession is not started yet.
func (e *Endpoint) newSession(p *preamble, c carrier, control pipe, in *bufio.Reader, name, addr string) *Session {
	s := &Session{
		e:       e,
		peer:    identity.NodeIDOf(p.key),
		key:     p.key,
		name:    name,
		addr:    addr,
		token:   p.token,
		carrier: c,
		control: control,
		reader:  frame.NewReader(in, e.cfg.Limits),
		out:     newOutbox(e.cfg.ControlQueue, e.cfg.Limits),
		opened:  make(chan struct{}),
		closing: make(chan struct{}),
		down:    make(chan struct{}),
		streams: make(map[*Stream]struct{}),
	}
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	return s
}
