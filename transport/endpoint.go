package transport

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/quic-go/quic-go"

	"ferry/identity"
	"ferry/internal/quiet"
)

// Endpoint is this node's end of all its sessions. Set it up with Listen or UseTransport, or neither when all its
// connections come through Attach; then Run it.
type Endpoint struct {
	cfg Config
	id  identity.NodeID

	// Set before Run, by Listen or UseTransport.
	transport *quic.Transport
	socket    *net.UDPConn   // ours, with its transport; nil in (b) and (c)
	packets   *PacketConn    // under transport, and told of its connections; nil where the caller or Config has another
	listener  *quic.Listener // nil: dials only
	accepts   bool           // somebody listens on transport

	// ctx ends when Run begins to take everything down.
	ctx    context.Context
	cancel context.CancelFunc
	ran    chan struct{} // closed when Run has started

	mu       sync.Mutex
	started  bool
	ending   bool // no new goroutine
	wg       sync.WaitGroup
	sessions map[identity.NodeID][]*Session // oldest first; live ones that the handler has opened
	tokens   map[token]*Session             // what a further connection or a relayed stream can join
	links    map[*quic.Conn]*link           // every connection in use
	dials    map[string]*dialing
	splices  int
	door     *door
	refused  *quiet.Log
	bulk     atomic.Int64 // further connections; changed under mu

	splice func(a, b *Stream) // what a relay does; tests put a forging one here
}

// New checks cfg and starts nothing.
func New(cfg Config) (*Endpoint, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	e := &Endpoint{
		cfg:      cfg,
		id:       cfg.Key.NodeID(),
		ran:      make(chan struct{}),
		sessions: make(map[identity.NodeID][]*Session),
		tokens:   make(map[token]*Session),
		links:    make(map[*quic.Conn]*link),
		dials:    make(map[string]*dialing),
		splice:   splice,
		refused:  quiet.New(cfg.Log),
	}
	e.door = newDoor(e.refused)
	e.ctx, e.cancel = context.WithCancel(context.Background())
	return e, nil
}

// Refused is how often this endpoint has refused or ended what peers wanted, by what it was. Of each kind the log has one
// line per peer in ten seconds.
func (e *Endpoint) Refused() map[string]uint64 { return e.refused.Counts() }

// ID is this node's.
func (e *Endpoint) ID() identity.NodeID { return e.id }

// Lanes is how many lanes a transfer should open, by Config.
func (e *Endpoint) Lanes() int { return e.cfg.Lanes }

// Run owns every goroutine of the endpoint. When ctx ends it closes all sessions in good order, and returns when
// handlers and goroutines have ended. A socket of our own is closed then; a caller's transport or connection is not.
// It returns nil after ctx has ended, else what made it stop. An endpoint runs once; with a ctx that has ended it only
// closes its socket.
func (e *Endpoint) Run(ctx context.Context) error {
	e.mu.Lock()
	if e.started {
		e.mu.Unlock()
		return errors.New("transport: Run was called before")
	}
	e.started = true
	e.mu.Unlock()
	close(e.ran)

	failed := make(chan error, 1)
	if e.listener != nil {
		e.spawn(func() {
			if err := e.acceptLoop(); err != nil {
				failed <- err
			}
		})
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	e.shutdown()
	return err
}

func (e *Endpoint) shutdown() {
	e.cancel() // no accepting, no dialing, no waiting
	e.mu.Lock()
	e.ending = true
	var all []*Session
	for _, of := range e.sessions {
		all = append(all, of...)
	}
	e.mu.Unlock()
	for _, s := range all {
		s.Close(nil)
	}
	for _, s := range all {
		<-s.Done()
	}
	// What has no session by now will not get one.
	e.mu.Lock()
	links := make([]*link, 0, len(e.links))
	for _, l := range e.links {
		links = append(links, l)
	}
	rest := make([]*Session, 0, len(e.tokens))
	for _, s := range e.tokens {
		rest = append(rest, s)
	}
	e.mu.Unlock()
	for _, s := range rest {
		s.cancel(s.error(ErrShutdown, false))
	}
	for _, l := range links {
		l.fail(ErrShutdown)
	}
	e.wg.Wait()
	if e.socket != nil {
		if e.listener != nil {
			e.listener.Close()
		}
		e.transport.Close()
		e.socket.Close()
	}
}

// spawn runs f on a goroutine that Run waits for. While the endpoint ends, only goroutines that were started before, or
// that these start, run on: f is told by e.ctx and its session.
func (e *Endpoint) spawn(f func()) { e.wg.Go(f) }

// enter is spawn for calls from outside, which may come at any time: false after Run has begun to end.
func (e *Endpoint) enter(f func()) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ending {
		return false
	}
	e.wg.Go(f)
	return true
}

// running waits until Run has been called.
func (e *Endpoint) running(ctx context.Context) error {
	select {
	case <-e.ran:
	case <-ctx.Done():
		return ctx.Err()
	}
	if e.ctx.Err() != nil {
		return ErrShutdown
	}
	return nil
}

// Live gives a live session with the node, if there is one: a direct one before a relayed one, the newest first.
func (e *Endpoint) Live(id identity.NodeID) (*Session, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	var best *Session
	for _, s := range slices.Backward(e.sessions[id]) {
		if s.ctx.Err() != nil || isClosed(s.closing) {
			continue
		}
		if !s.relayed {
			return s, true
		}
		if best == nil {
			best = s
		}
	}
	return best, best != nil
}

func isClosed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

// expect lets streams and connections find a session that its handler has not opened yet.
func (e *Endpoint) expect(s *Session) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if s.ctx.Err() == nil {
		e.tokens[s.token] = s
	}
}

// publish makes an opened session one that Live and Session give out.
func (e *Endpoint) publish(s *Session) {
	e.mu.Lock()
	var oldest *Session
	if s.ctx.Err() == nil {
		of := append(e.sessions[s.peer], s)
		e.sessions[s.peer] = of
		if len(of) > sessionsPerNodeMax {
			oldest = of[0]
		}
		if e.ending {
			oldest = s // shutdown has not seen it
		}
	}
	e.mu.Unlock()
	if oldest != nil {
		e.refused.Warn("session ended for a newer one", oldest.addr, slog.String("node", oldest.peer.String()), slog.String("addr", oldest.addr))
		oldest.cancel(oldest.error(fmt.Errorf("%w: more than %d sessions with this node", ErrOverload, sessionsPerNodeMax), false))
	}
}

// withdraw may be called more than once.
func (e *Endpoint) withdraw(s *Session) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.tokens[s.token] == s {
		delete(e.tokens, s.token)
	}
	of := slices.DeleteFunc(e.sessions[s.peer], func(o *Session) bool { return o == s })
	if len(of) == 0 {
		delete(e.sessions, s.peer)
	} else {
		e.sessions[s.peer] = of
	}
}

// admit judges the key of a dialer.
func (e *Endpoint) admit(ctx context.Context, key ed25519.PublicKey) error {
	if err := e.judge(ctx, key); err != nil {
		return fmt.Errorf("%w: node %v: %w", ErrRefused, identity.NodeIDOf(key), err)
	}
	return nil
}

func (e *Endpoint) judge(ctx context.Context, key ed25519.PublicKey) error {
	if e.cfg.Admit != nil {
		return e.cfg.Admit(ctx, key)
	}
	a, err := e.cfg.Resolver.Resolve(ctx, identity.NodeIDOf(key))
	if err == nil && !a.Key.Equal(key) {
		err = &identity.PinError{Want: a.Key, Got: key}
	}
	return err
}

// NameOf is the name that the Resolver has for a node; "" is none.
func (e *Endpoint) NameOf(id identity.NodeID) string {
	a, err := e.cfg.Resolver.Resolve(e.ctx, id)
	if err != nil {
		return ""
	}
	return a.Name
}
