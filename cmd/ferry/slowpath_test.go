package main

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"testing"

	"golang.org/x/time/rate"
)

// slowPath carries datagrams to a node at a limited rate, so that a transfer
// takes as long as a test needs; or swallows them.
type slowPath struct {
	to    *net.UDPAddr
	front *net.UDPConn
	limit *rate.Limiter
	ctx   context.Context
	work  sync.WaitGroup

	mu      sync.Mutex
	clients map[netip.AddrPort]*net.UDPConn
	cut     bool
}

// newSlowPath leads to addr with bytes a second; 0: it swallows everything.
func newSlowPath(t *testing.T, addr string, bytes int) *slowPath {
	t.Helper()
	to, err := net.ResolveUDPAddr("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	front, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	p := &slowPath{
		to: to, front: front, limit: rate.NewLimiter(rate.Limit(bytes), 64<<10), ctx: ctx,
		clients: make(map[netip.AddrPort]*net.UDPConn), cut: bytes == 0,
	}
	p.work.Go(p.forth)
	t.Cleanup(func() {
		cancel()
		front.Close()
		p.mu.Lock()
		for _, c := range p.clients {
			c.Close()
		}
		p.mu.Unlock()
		p.work.Wait()
	})
	return p
}

func (p *slowPath) addr() string { return p.front.LocalAddr().String() }

// hurry lets it be as fast as it can.
func (p *slowPath) hurry() { p.limit.SetLimit(rate.Inf) }

// swallow makes the path a black hole.
func (p *slowPath) swallow() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = true
}

func (p *slowPath) isCut() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cut
}

// forth carries what clients send. A path that is too slow fills the socket's
// buffer, which then drops, as a real one does.
func (p *slowPath) forth() {
	b := make([]byte, 64<<10)
	for {
		n, from, err := p.front.ReadFromUDPAddrPort(b)
		if err != nil {
			return
		}
		if p.isCut() {
			continue
		}
		if p.limit.WaitN(p.ctx, n) != nil {
			return
		}
		if c := p.client(from); c != nil {
			_, _ = c.Write(b[:n]) // lost, as datagrams may be
		}
	}
}

// client is the socket that stands for a client at the node.
func (p *slowPath) client(from netip.AddrPort) *net.UDPConn {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.clients[from]; c != nil {
		return c
	}
	c, err := net.DialUDP("udp", nil, p.to)
	if err != nil || p.ctx.Err() != nil {
		return nil
	}
	p.clients[from] = c
	p.work.Go(func() { p.back(c, from) })
	return c
}

func (p *slowPath) back(c *net.UDPConn, to netip.AddrPort) {
	b := make([]byte, 64<<10)
	for {
		n, err := c.Read(b)
		if p.ctx.Err() != nil {
			return
		}
		if err != nil {
			continue // nobody listens there now
		}
		if !p.isCut() {
			_, _ = p.front.WriteToUDPAddrPort(b[:n], to)
		}
	}
}

// slowTransfer makes a transfer from one node to another take about 4 s for
// 8 MiB, whichever of the two has dialled.
func (w *world) slowTransfer(from, to string) (there, back *slowPath) {
	w.t.Helper()
	const rate = 2 << 20
	there, back = newSlowPath(w.t, w.find(to).Addr, rate), newSlowPath(w.t, w.find(from).Addr, rate)
	w.reroute(from, to, there.addr())
	w.reroute(to, from, back.addr())
	return there, back
}
