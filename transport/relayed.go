package transport

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"

	"ferry/identity"
)

// A relayed session is made of spliced streams, each with TLS 1.3 inside, pinned to the node keys of its two ends. The
// one who opens a stream is the TLS client. Inside TLS stands what would stand on a QUIC stream: the prefix; then, for
// a stream other than control, the 16 byte token of its session, which the connection says elsewhere.

// relayALPN keeps the TLS inside apart from that of connections.
const relayALPN = "ferry-relay/1"

// relayed carries a session over streams that the peer of via splices.
type relayed struct {
	e    *Endpoint
	via  *Session
	key  ed25519.PublicKey // of the other end
	sess *Session
}

func (r *relayed) rtt() time.Duration { return r.via.RTT() }

func (r *relayed) traffic() traffic { return r.via.carrier.traffic() }

func (r *relayed) shut(Code, string) {} // it has streams only

func (r *relayed) open(ctx context.Context, pre prefix, at place) (pipe, uint8, func(), error) {
	p, err := r.dial(ctx, at)
	if err != nil {
		return nil, 0, nil, err
	}
	head := append(pre.append(nil), r.sess.token[:]...)
	if _, err := p.Write(head); err != nil {
		cancelBoth(p, CodeCanceled)
		return nil, 0, nil, err
	}
	return p, 0, nil, nil
}

// dial opens a stream to the other end and proves both ends to each other.
func (r *relayed) dial(ctx context.Context, at place) (*tlsPipe, error) {
	ctx, cancel := context.WithTimeout(ctx, r.e.cfg.DialTimeout)
	defer cancel()
	st, err := r.via.openRelay(ctx, relayHeader{node: identity.NodeIDOf(r.key), role: roleSplice, bulk: at.bulk}, at)
	if err != nil {
		return nil, err
	}
	p := newTLSPipe(st, tls.Client(streamConn{st}, identity.ClientTLS(r.e.cfg.Key, []string{relayALPN}, r.key)))
	if err := p.handshake(ctx); err != nil {
		return nil, err
	}
	return p, nil
}

// dialThrough makes a session with the node of a through a relay.
func (e *Endpoint) dialThrough(ctx context.Context, relay identity.NodeID, a Address) (*Session, error) {
	via, err := e.directSession(ctx, relay)
	if err != nil {
		return nil, err
	}
	r := &relayed{e: e, via: via, key: a.Key}
	p, err := r.dial(ctx, place{})
	if err != nil {
		return nil, err
	}
	s, err := e.dialRelayed(ctx, r, p, a)
	if err != nil {
		why, _ := explain(err)
		cancelBoth(p, CodeOf(why))
		return nil, why
	}
	return s, nil
}

func (e *Endpoint) dialRelayed(ctx context.Context, r *relayed, p *tlsPipe, a Address) (*Session, error) {
	if _, err := p.Write(prefix{kind: Control}.append(nil)); err != nil {
		return nil, err
	}
	h, err := r.hail(p, a.Name)
	if err != nil {
		return nil, err
	}
	return e.dialSession(ctx, h, a.Key)
}

func (r *relayed) hail(p *tlsPipe, name string) (hail, error) {
	ch, err := newChannel(p.tls.ConnectionState(), true)
	if err != nil {
		return hail{}, err
	}
	return hail{
		ch: ch, control: p, carrier: r, name: name, relay: r.via.peer,
		addr: "relay " + nodeName(r.via.peer, r.via.name, r.via.addr),
		bind: func(s *Session, _ bool) {
			r.sess = s
			r.e.expect(s)
		},
	}, nil
}

// takeSpliced is the far end of a splice: the relay, from's peer, says it comes from h.node.
func (e *Endpoint) takeSpliced(from *Stream, h relayHeader) error {
	relay := from.Peer()
	if !e.hasRelayed(h.node, relay) {
		if e.cfg.RelayFrom == nil {
			return fmt.Errorf("%w: this node takes no relayed streams", ErrNoRelay)
		}
		if err := e.cfg.RelayFrom(relay, h.node); err != nil {
			return fmt.Errorf("%w: %w", ErrNoRelay, err)
		}
	}
	p := newTLSPipe(from, tls.Server(streamConn{from}, identity.ServerTLS(e.cfg.Key, []string{relayALPN}, func(key ed25519.PublicKey) error {
		if got := identity.NodeIDOf(key); got != h.node {
			return fmt.Errorf("%w: announced as node %v, but it is node %v", ErrWrongKey, h.node, got)
		}
		return e.allow(key, "through "+relay.String())
	})))
	ctx, cancel := context.WithTimeout(e.ctx, e.cfg.DialTimeout)
	defer cancel()
	if err := p.handshake(ctx); err != nil {
		return err
	}
	p.SetReadDeadline(time.Now().Add(e.cfg.DialTimeout))
	pre, err := readPrefix(nil, p)
	if err != nil {
		return err
	}
	if pre.kind == Control {
		r := &relayed{e: e, via: from.s, key: p.peerKey()}
		hail, err := r.hail(p, "")
		if err != nil {
			return err
		}
		_, err = e.acceptSession(e.ctx, hail)
		return err
	}
	if pre.kind != Events && pre.kind != Lane {
		return fmt.Errorf("%w: a relayed stream of kind %v", ErrMalformed, pre.kind)
	}
	var t token
	if _, err := io.ReadFull(p, t[:]); err != nil {
		return err
	}
	p.SetReadDeadline(time.Time{})
	e.mu.Lock()
	s := e.tokens[t]
	e.mu.Unlock()
	if s == nil || !s.relayed || !s.key.Equal(p.peerKey()) {
		return fmt.Errorf("%w: there is no such session", ErrRefused)
	}
	if err := s.waitOpened(e.cfg.DialTimeout); err != nil {
		return err
	}
	return s.serve(&Stream{p: p, kind: pre.kind, lane: pre.lane})
}

// hasRelayed says whether there is a session with origin through relay, whose other streams may then come too.
func (e *Endpoint) hasRelayed(origin, relay identity.NodeID) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, s := range e.tokens {
		if s.peer == origin && s.relay == relay {
			return true
		}
	}
	return false
}

// errCut: the stream has ended, and TLS inside has not.
var errCut = fmt.Errorf("%w: cut short", ErrTampered)

// tlsPipe is TLS inside a spliced stream.
type tlsPipe struct {
	st    *Stream
	tls   *tls.Conn
	heard atomic.Bool // something of the peer's has come out of TLS
}

func newTLSPipe(st *Stream, conn *tls.Conn) *tlsPipe { return &tlsPipe{st: st, tls: conn} }

func (p *tlsPipe) handshake(ctx context.Context) error {
	err := p.tls.HandshakeContext(ctx)
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		err = fmt.Errorf("%w: TLS through the relay", ErrTimeout)
	}
	why, _ := explain(p.explain(err))
	p.st.Cancel(CodeOf(why))
	return why
}

func (p *tlsPipe) peerKey() ed25519.PublicKey {
	key, err := identity.PeerKey(p.tls.ConnectionState())
	if err != nil {
		panic("transport: TLS inside a relay has ended its handshake without a node key") // the config demands one
	}
	return key
}

func (p *tlsPipe) Read(b []byte) (int, error) {
	n, err := p.tls.Read(b)
	if n > 0 {
		p.heard.Store(true)
	}
	if err != io.EOF {
		return n, p.explain(err)
	}
	// TLS says that this was all; then the stream ends too. Not to read its end would look like a reset to the relay.
	var rest [1]byte
	if n, err := p.st.p.Read(rest[:]); n > 0 {
		return 0, fmt.Errorf("%w: bytes after the end", ErrTampered)
	} else if err != io.EOF {
		return 0, p.explain(err)
	}
	p.st.endRead()
	return n, io.EOF
}

func (p *tlsPipe) Write(b []byte) (int, error) {
	n, err := p.tls.Write(b)
	return n, p.explain(err)
}

func (p *tlsPipe) CloseWrite() error {
	err := p.tls.CloseWrite()
	return p.explain(errors.Join(err, p.st.CloseWrite()))
}

func (p *tlsPipe) cancelRead(code Code) {
	p.st.p.cancelRead(code)
	p.st.endRead()
}

func (p *tlsPipe) cancelWrite(code Code) {
	p.st.p.cancelWrite(code)
	p.st.endWrite()
}

func (p *tlsPipe) SetDeadline(t time.Time) error      { return p.tls.SetDeadline(t) }
func (p *tlsPipe) SetReadDeadline(t time.Time) error  { return p.tls.SetReadDeadline(t) }
func (p *tlsPipe) SetWriteDeadline(t time.Time) error { return p.tls.SetWriteDeadline(t) }

// explain tells what TLS has found wrong from what the stream under it says. Bytes that TLS refuses were put there by
// the relay: the ends make none such.
func (p *tlsPipe) explain(err error) error {
	if err == nil || err == io.EOF || known(err) {
		return err
	}
	if errors.Is(err, identity.ErrNotAllowed) {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if _, ok := errors.AsType[*identity.PinError](err); ok {
		return fmt.Errorf("%w: %w", ErrWrongKey, err)
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return fmt.Errorf("%w: %w", ErrTampered, err)
	}
	op, ok := errors.AsType[*net.OpError](err)
	switch {
	case !ok:
	case op.Op == "remote error" && !p.heard.Load():
		// The server judges the client's key when the client is done. An alert before all else is its verdict.
		return fmt.Errorf("%w by the peer's TLS: %w", ErrRefused, err)
	case op.Op == "remote error" || op.Op == "local error":
		return fmt.Errorf("%w: %w", ErrTampered, err)
	}
	return err
}

// streamConn is a spliced stream as TLS wants it.
type streamConn struct{ st *Stream }

func (c streamConn) Write(b []byte) (int, error)        { return c.st.p.Write(b) }
func (c streamConn) Close() error                       { c.st.Cancel(CodeCanceled); return nil }
func (c streamConn) LocalAddr() net.Addr                { return relayAddr{} }
func (c streamConn) RemoteAddr() net.Addr               { return relayAddr{} }
func (c streamConn) SetDeadline(t time.Time) error      { return c.st.SetDeadline(t) }
func (c streamConn) SetReadDeadline(t time.Time) error  { return c.st.SetReadDeadline(t) }
func (c streamConn) SetWriteDeadline(t time.Time) error { return c.st.SetWriteDeadline(t) }

// Read never gives io.EOF. crypto/tls would take that, between two records, for the end that TLS has not announced: the
// relay could cut a stream short and make it look complete.
func (c streamConn) Read(b []byte) (int, error) {
	n, err := c.st.p.Read(b)
	if err == io.EOF {
		if n > 0 {
			return n, nil // and the end at the next call
		}
		return 0, errCut
	}
	return n, err
}

type relayAddr struct{}

func (relayAddr) Network() string { return "relay" }
func (relayAddr) String() string  { return "relay" }
