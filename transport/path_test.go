package transport

import (
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// blackHole is an address at which nobody answers.
func blackHole(t *testing.T) string {
	t.Helper()
	socket, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	return socket.LocalAddr().String()
}

// path forwards packets to a node, for any number of dialers, until it is cut: then it swallows them without a sign.
type path struct {
	front *net.UDPConn
	cut   atomic.Bool
	wg    sync.WaitGroup

	mu    sync.Mutex
	to    *net.UDPAddr
	backs map[string]*net.UDPConn
}

func newPath(t *testing.T, to net.Addr) *path {
	t.Helper()
	front, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	p := &path{front: front, to: to.(*net.UDPAddr), backs: make(map[string]*net.UDPConn)}
	p.wg.Go(p.there)
	t.Cleanup(func() {
		front.Close()
		p.mu.Lock()
		for _, back := range p.backs {
			back.Close()
		}
		p.mu.Unlock()
		p.wg.Wait()
	})
	return p
}

func (p *path) addr() string { return p.front.LocalAddr().String() }

// redirect leads the path to another node, as if it had taken the address of the first.
func (p *path) redirect(to net.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.to = to.(*net.UDPAddr)
	for _, back := range p.backs {
		back.Close()
	}
	clear(p.backs)
}

func (p *path) there() {
	buf := make([]byte, 64<<10)
	for {
		n, from, err := p.front.ReadFromUDP(buf)
		if err != nil {
			return
		}
		p.mu.Lock()
		back := p.backs[from.String()]
		if back == nil {
			if back, err = net.DialUDP("udp", nil, p.to); err == nil {
				p.backs[from.String()] = back
				p.wg.Go(func() { p.back(back, from) })
			}
		}
		p.mu.Unlock()
		if err == nil && !p.cut.Load() {
			back.Write(buf[:n])
		}
	}
}

func (p *path) back(from *net.UDPConn, to *net.UDPAddr) {
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		if !p.cut.Load() {
			p.front.WriteToUDP(buf[:n], to)
		}
	}
}
