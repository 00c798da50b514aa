package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/quic-go/quic-go"

	"ferry/identity"
)

// dialing is a dial under way, which all callers who want the same node share.
type dialing struct {
	done chan struct{}
	s    *Session
	err  error
}

// Session gives a session with the node: a live one, else it dials the node, else it goes through the first node of via
// with which there is a session or can be one, and which can reach it. It waits until Run has been called. The error is
// an *UnreachableError, or that of ctx, whose end stops only this caller's waiting.
func (e *Endpoint) Session(ctx context.Context, id identity.NodeID, via ...identity.NodeID) (*Session, error) {
	if id == e.id {
		return nil, &UnreachableError{Node: id, Causes: []error{ErrSelf}}
	}
	if err := e.running(ctx); err != nil {
		return nil, &UnreachableError{Node: id, Name: e.NameOf(id), Causes: []error{err}}
	}
	if s, ok := e.Live(id); ok {
		return s, nil
	}
	key := fmt.Sprint(id, via)
	e.mu.Lock()
	d := e.dials[key]
	if d == nil {
		if e.ending {
			e.mu.Unlock()
			return nil, &UnreachableError{Node: id, Causes: []error{ErrShutdown}}
		}
		d = &dialing{done: make(chan struct{})}
		e.dials[key] = d
		e.wg.Go(func() {
			d.s, d.err = e.reach(e.ctx, id, via)
			e.mu.Lock()
			delete(e.dials, key)
			e.mu.Unlock()
			close(d.done)
		})
	}
	e.mu.Unlock()
	select {
	case <-d.done:
		return d.s, d.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (e *Endpoint) reach(ctx context.Context, id identity.NodeID, via []identity.NodeID) (*Session, error) {
	a, err := e.cfg.Resolver.Resolve(ctx, id)
	if err != nil {
		return nil, &UnreachableError{Node: id, Causes: []error{err}}
	}
	unreachable := &UnreachableError{Node: id, Name: a.Name, Addr: a.Addr}
	if got := identity.NodeIDOf(a.Key); got != id {
		unreachable.Causes = append(unreachable.Causes, fmt.Errorf("%w: the resolver gives the key of node %v", ErrWrongKey, got))
		return nil, unreachable
	}
	s, err := e.dial(ctx, a)
	if err == nil {
		return s, nil
	}
	unreachable.Causes = append(unreachable.Causes, err)
	for _, relay := range via {
		if relay == id || relay == e.id {
			continue
		}
		if s, ok := e.Live(id); ok {
			return s, nil // it has dialed us meanwhile
		}
		s, err := e.dialThrough(ctx, relay, a)
		if err == nil {
			return s, nil
		}
		unreachable.Causes = append(unreachable.Causes, fmt.Errorf("through node %v: %w", relay, err))
	}
	return nil, unreachable
}

// dial makes a direct session.
func (e *Endpoint) dial(ctx context.Context, a Address) (*Session, error) {
	if e.transport == nil {
		return nil, ErrNoSocket
	}
	if a.Addr == "" {
		return nil, fmt.Errorf("%w: it has no address to dial", ErrNoPath)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, e.cfg.DialTimeout,
		fmt.Errorf("%w: nothing from %s for %v", ErrTimeout, a.Addr, e.cfg.DialTimeout))
	defer cancel()
	addrs, err := lookup(ctx, a.Addr)
	if err != nil {
		return nil, err
	}
	var causes []error
	for i, addr := range addrs {
		// Each address gets its share of the time that is left.
		deadline, _ := ctx.Deadline()
		share := time.Until(deadline) / time.Duration(len(addrs)-i)
		s, err := e.dialAddr(ctx, addr, a, share)
		if err == nil {
			return s, nil
		}
		why, remote := explain(err)
		if remote {
			why = fmt.Errorf("the peer says: %w", why)
		}
		causes = append(causes, why)
	}
	if len(causes) == 1 {
		return nil, causes[0]
	}
	return nil, errors.Join(causes...)
}

func (e *Endpoint) dialAddr(ctx context.Context, addr *net.UDPAddr, a Address, share time.Duration) (*Session, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, share, fmt.Errorf("%w: nothing from %v for %v", ErrTimeout, addr, share.Round(time.Millisecond)))
	defer cancel()
	conn, err := e.transport.Dial(ctx, addr, identity.ClientTLS(e.cfg.Key, []string{ALPN}, a.Key), e.cfg.quic())
	if err != nil {
		return nil, err
	}
	l, err := e.newLink(conn, true)
	if err != nil {
		conn.CloseWithError(quic.ApplicationErrorCode(CodeOf(err)), "")
		return nil, err
	}
	l.claim()
	e.spawn(l.acceptLoop)
	s, err := l.dialSession(ctx, a)
	if err != nil {
		l.fail(err)
		return nil, err
	}
	return s, nil
}

// dialSession opens the control stream on the link.
func (l *link) dialSession(ctx context.Context, a Address) (*Session, error) {
	p, err := l.open(ctx, prefix{kind: Control}.append(nil), Control)
	if err != nil {
		return nil, err
	}
	c := &direct{e: l.e, control: l}
	s, err := l.e.dialSession(ctx, l.hail(c, p, a.Name), a.Key)
	if err != nil {
		cancelBoth(p, refusalCode(err))
		if timeoutOf(err) && ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, err
	}
	return s, nil
}

// lookup resolves host:port. Addresses of the first family found come first.
func lookup(ctx context.Context, hostport string) ([]*net.UDPAddr, error) {
	if ap, err := netip.ParseAddrPort(hostport); err == nil {
		return []*net.UDPAddr{net.UDPAddrFromAddrPort(ap)}, nil
	}
	host, service, err := net.SplitHostPort(hostport)
	if err != nil {
		return nil, fmt.Errorf("address %q: %w", hostport, err)
	}
	port, err := net.DefaultResolver.LookupPort(ctx, "udp", service)
	if err != nil {
		return nil, fmt.Errorf("address %q: %w", hostport, err)
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, fmt.Errorf("address %q: %w", hostport, err)
	}
	var addrs []*net.UDPAddr
	for _, ip := range ips {
		addrs = append(addrs, net.UDPAddrFromAddrPort(netip.AddrPortFrom(ip.Unmap(), uint16(port))))
	}
	return addrs, nil
}
