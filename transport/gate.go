package transport

import (
	"context"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Between quic-go's reader of a socket and each connection stands a queue of 256 datagrams. What comes to a full queue is
// dropped, and counts as lost on the path. A gate holds the reader back before that, so that datagrams wait in the
// socket's buffer instead.
const (
	// gateMost is how many datagrams may be unprocessed before the reader waits: those of all connections together, as it
	// cannot tell whose the next one is. More loses some after all, and fewer keep the connections waiting.
	gateMost = 128
	// gatePatience is how long a datagram counts, and how long the reader waits at most. Some are never processed: what
	// is for connections that nobody watches, that have ended, or that never were. Strangers' do not count at all.
	gatePatience = 5 * time.Millisecond
	// gateRest is how long the gate stays open after the reader has waited in vain, so that datagrams that nobody
	// processes cost the others a twentieth at most.
	gateRest = 100 * time.Millisecond
	// gatePoll is when a waiting reader looks again that nothing has woken.
	gatePoll = 500 * time.Microsecond
	// gateRing is more than gateMost and a batch of quic-go's.
	gateRing = 256
)

// gate knows how much the connections of a socket have yet to process. It counts in bytes what they have processed, as
// quic-go counts those of every datagram that a connection takes from its queue, be it a duplicate or garbage.
type gate struct {
	mu    sync.Mutex
	conns map[*progress]struct{}
	peers map[netip.AddrPort]int // where they come from; unmapped

	waiting atomic.Bool
	wake    chan struct{} // has room for one; the waiting reader looks again

	// Of the reader alone.
	out    [gateRing]handed // to connections, unprocessed as far as we know; a ring, oldest first
	first  int
	n      int
	credit uint64    // bytes processed, for which no datagram has been taken out yet
	open   time.Time // until when nobody waits
	timer  *time.Timer
}

// handed is a datagram that quic-go has been given.
type handed struct {
	bytes uint64
	at    time.Time
}

// progress is a connection.
type progress struct {
	bytes func() uint64 // processed so far
	seen  uint64
}

func newGate() *gate {
	return &gate{conns: make(map[*progress]struct{}), peers: make(map[netip.AddrPort]int), wake: make(chan struct{}, 1)}
}

// watch counts what a connection with peer has processed, until ctx ends.
func (g *gate) watch(ctx context.Context, peer netip.AddrPort, bytes func() uint64) {
	p := &progress{bytes: bytes, seen: bytes()}
	peer = unmap(peer)
	g.mu.Lock()
	g.conns[p] = struct{}{}
	g.peers[peer]++
	g.mu.Unlock()
	context.AfterFunc(ctx, func() {
		g.mu.Lock()
		delete(g.conns, p)
		if g.peers[peer]--; g.peers[peer] == 0 {
			delete(g.peers, peer)
		}
		g.mu.Unlock()
		g.look()
	})
}

// counts says whether datagrams from there may be for a connection that is watched.
func (g *gate) counts(from netip.AddrPort) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.peers[unmap(from)] > 0
}

// unmap gives an IPv4 address one form, whatever the socket.
func unmap(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }

// look tells a waiting reader that connections may have processed something.
func (g *gate) look() {
	if g.waiting.Load() {
		select {
		case g.wake <- struct{}{}:
		default:
		}
	}
}

// hand notes a datagram for quic-go.
func (g *gate) hand(bytes int, now time.Time) {
	if g.n == gateRing {
		g.drop()
	}
	g.out[(g.first+g.n)%gateRing] = handed{uint64(bytes), now}
	g.n++
}

func (g *gate) drop() {
	g.first = (g.first + 1) % gateRing
	g.n--
}

// wait returns when few enough datagrams are unprocessed, or after gatePatience.
func (g *gate) wait() {
	if g.n < gateMost {
		return
	}
	began := time.Now()
	if g.settle(began); g.n < gateMost || began.Before(g.open) {
		return
	}
	g.waiting.Store(true)
	defer g.waiting.Store(false)
	processed := false
	for now := began; ; now = time.Now() {
		// Also at once, as look may have come before it could see that somebody waits.
		if g.settle(now) {
			processed = true
		}
		if g.n < gateMost || now.Sub(began) >= gatePatience {
			if !processed && now != began {
				g.open = now.Add(gateRest)
			}
			return
		}
		if g.timer == nil {
			g.timer = time.NewTimer(gatePoll)
		} else {
			g.timer.Reset(gatePoll)
		}
		select {
		case <-g.wake:
		case <-g.timer.C:
		}
	}
}

// settle takes out what has been processed, in the order in which it was handed out, and what is too old to count. It
// says whether connections have processed anything.
func (g *gate) settle(now time.Time) (processed bool) {
	g.mu.Lock()
	before := g.credit
	for p := range g.conns {
		bytes := p.bytes()
		g.credit += bytes - p.seen
		p.seen = bytes
	}
	if len(g.conns) == 0 {
		g.n = 0
	}
	g.mu.Unlock()
	processed = g.credit > before
	for ; g.n > 0; g.drop() {
		oldest := &g.out[g.first]
		if g.credit >= oldest.bytes {
			g.credit -= oldest.bytes
		} else if now.Sub(oldest.at) < gatePatience {
			return processed
		}
	}
	g.credit = 0 // it was for datagrams that had been given up
	return processed
}
