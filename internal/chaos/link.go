//go:build unix

package main

import (
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// weather is what happens to the datagrams from one node to another. The zero
// value lets them pass.
type weather struct {
	silent bool          // nothing arrives
	loss   float64       // this part of them is lost
	twice  float64       // this part of them arrives twice
	delay  time.Duration // each takes so long
	jitter time.Duration // and up to so much longer, so that they overtake each other
}

// links is a UDP proxy between all nodes: every node finds every other one at an
// address of ours, and only there.
type links struct {
	weather map[[2]string]*atomic.Pointer[weather] // from, to
	list    []*link
}

// newLinks makes the links between the nodes of w, and tells the nodes.
func newLinks(w *world) (*links, error) {
	l := &links{weather: make(map[[2]string]*atomic.Pointer[weather])}
	for _, from := range names {
		for _, to := range names {
			l.weather[[2]string{from, to}] = new(atomic.Pointer[weather])
		}
	}
	l.heal()
	for _, from := range names {
		via := make(map[string]string)
		for _, to := range names {
			if from == to || to == "o" { // nobody dials o
				continue
			}
			n, err := w.file.Node(to)
			if err != nil {
				l.close()
				return nil, err
			}
			k, err := newLink(n.Addr, l.weather[[2]string{from, to}], l.weather[[2]string{to, from}])
			if err != nil {
				l.close()
				return nil, err
			}
			l.list = append(l.list, k)
			via[to] = k.front.LocalAddr().String()
		}
		if err := w.route(from, via); err != nil {
			l.close()
			return nil, err
		}
	}
	return l, nil
}

// set is the weather from one node to another, from now on.
func (l *links) set(from, to string, w weather) { l.weather[[2]string{from, to}].Store(&w) }

// all sets it everywhere.
func (l *links) all(w weather) {
	for _, p := range l.weather {
		p.Store(&w)
	}
}

// heal lets everything pass again.
func (l *links) heal() { l.all(weather{}) }

func (l *links) close() {
	for _, k := range l.list {
		k.close()
	}
}

// link carries what one node sends to another, and the answers.
type link struct {
	to          *net.UDPAddr
	front       *net.UDPConn
	forth, back *atomic.Pointer[weather]
	work        sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	clients map[netip.AddrPort]*net.UDPConn
}

const (
	datagramMax = 64 << 10
	socketBytes = 4 << 20
	// clientIdle is when an address that nobody answers to any more is forgotten.
	clientIdle = time.Minute
)

func newLink(addr string, forth, back *atomic.Pointer[weather]) (*link, error) {
	to, err := net.ResolveUDPAddr("udp", addr)
	if err != nil {
		return nil, err
	}
	front, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	_ = front.SetReadBuffer(socketBytes) // as much as there is
	k := &link{to: to, front: front, forth: forth, back: back, clients: make(map[netip.AddrPort]*net.UDPConn)}
	k.work.Go(k.carryForth)
	return k, nil
}

func (k *link) carryForth() {
	b := make([]byte, datagramMax)
	for {
		n, from, err := k.front.ReadFromUDPAddrPort(b)
		if err != nil {
			return
		}
		if c := k.client(from); c != nil {
			k.carry(b[:n], k.forth, func(p []byte) { _, _ = c.Write(p) }) // lost, as datagrams may be
		}
	}
}

func (k *link) carryBack(c *net.UDPConn, to netip.AddrPort) {
	defer func() {
		k.mu.Lock()
		delete(k.clients, to)
		k.mu.Unlock()
		c.Close()
	}()
	b := make([]byte, datagramMax)
	for {
		_ = c.SetReadDeadline(time.Now().Add(clientIdle))
		n, err := c.Read(b)
		if ne, ok := err.(net.Error); ok && ne.Timeout() || err != nil && k.isClosed() {
			return
		}
		if err == nil { // else nobody is there now: it is being restarted
			k.carry(b[:n], k.back, func(p []byte) { _, _ = k.front.WriteToUDPAddrPort(p, to) })
		}
	}
}

// carry lets the weather have its way with a datagram.
func (k *link) carry(b []byte, now *atomic.Pointer[weather], send func([]byte)) {
	w := now.Load()
	if w.silent || rand.Float64() < w.loss {
		return
	}
	times := 1
	if rand.Float64() < w.twice {
		times = 2
	}
	for range times {
		wait := w.delay
		if w.jitter > 0 {
			wait += rand.N(w.jitter)
		}
		if wait == 0 {
			send(b)
			continue
		}
		late := append([]byte(nil), b...)
		time.AfterFunc(wait, func() { send(late) }) // to a closed socket it is lost
	}
}

// client is the socket by which a sender of ours is known on the far side.
func (k *link) client(from netip.AddrPort) *net.UDPConn {
	k.mu.Lock()
	defer k.mu.Unlock()
	if c := k.clients[from]; c != nil || k.closed {
		return c
	}
	c, err := net.DialUDP("udp", nil, k.to)
	if err != nil {
		return nil
	}
	_ = c.SetReadBuffer(socketBytes)
	k.clients[from] = c
	k.work.Go(func() { k.carryBack(c, from) })
	return c
}

func (k *link) isClosed() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.closed
}

func (k *link) close() {
	k.mu.Lock()
	k.closed = true
	for _, c := range k.clients {
		c.Close()
	}
	k.mu.Unlock()
	k.front.Close()
	k.work.Wait()
}
