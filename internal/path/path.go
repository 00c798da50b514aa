// Package path is a UDP proxy that stands between two nodes and makes the path between them what a test or a benchmark
// asks for: longer, lossy, narrow, or cut. It needs no rights and no kernel module.
//
// Packets travel in trains, as the kernel's segmentation offload hands them over: one read, one place in the line, one
// write. That is what makes several hundred MB/s on one core possible. What a train is made of stays as it was sent:
// packets are lost one by one, and none is split, joined or put before another.
package path

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/net/ipv4"
)

const (
	// trainBytesMax is what one read gives at most: the longest UDP datagram, or a train of as much.
	trainBytesMax = 64 << 10
	// batchTrains is how many trains one system call reads or writes at most.
	batchTrains = 16
	// lineBytesDefault holds 200 ms of 300 MB/s.
	lineBytesDefault = 64 << 20
	// flowsMax bounds the client addresses, each of which has a socket.
	flowsMax = 1024
	// socketBufferBytes is asked of the kernel, which gives less to those without rights: what overflows there is lost
	// without being counted here.
	socketBufferBytes = 16 << 20
)

// Config says what stands between a client and the target. Target is required; the zero value of the rest is a path that
// passes everything on at once.
type Config struct {
	Listen string // where clients send to, ip:port; 127.0.0.1 and a free port
	Target string // where it goes, ip:port, of the same address family
	There  Link   // from clients to the target
	Back   Link   // from the target to clients
	Seed   uint64 // of what is lost; the same seed loses the same packets of the same sequence
}

// Both gives a path to target that is the same in both directions; its round trip is twice the link's delay.
func Both(target string, l Link, seed uint64) Config {
	return Config{Target: target, There: l, Back: l, Seed: seed}
}

// Link is one direction of the path, shared by all clients.
type Link struct {
	Delay      time.Duration // of every packet, at least: timers are late by up to about 1 ms
	Loss       float64       // share of packets that get lost, 0 to 1, each by a draw of its own
	Rate       int64         // bytes of UDP payload a second; 0: no limit
	QueueBytes int           // what waits for the rate, then packets are dropped; 100 ms of Rate, at least 256 KiB
	LineBytes  int           // what is on its way at a time, with what waits; then packets are dropped; 64 MiB
}

// Counts are of one direction, since the start. Every packet that was read is in one of them, or still on its way.
type Counts struct {
	Packets, Bytes uint64 // passed on
	Lost           uint64 // packets, by Link.Loss
	Dropped        uint64 // packets, because a queue was full, or the kernel would not send them
	Swallowed      uint64 // packets, while cut
}

// Proxy is a path in use. Its methods may be called from any goroutine.
type Proxy struct {
	target      *net.UDPAddr
	network     string
	front       *socket
	there, back *line
	began       time.Time
	closed      chan struct{}
	closeOne    sync.Once
	wg          sync.WaitGroup

	mu    sync.Mutex
	flows map[netip.AddrPort]*flow
	shut  bool
}

// flow is one client, with the socket that stands for it at the target.
type flow struct {
	client net.Addr
	up     *socket
}

// Start opens the path. Close ends it.
func Start(cfg Config) (*Proxy, error) {
	if err := errors.Join(cfg.There.validate("There"), cfg.Back.validate("Back")); err != nil {
		return nil, err
	}
	target, err := netip.ParseAddrPort(cfg.Target)
	if err != nil {
		return nil, fmt.Errorf("path: Config.Target: %w", err)
	}
	p := &Proxy{
		target: net.UDPAddrFromAddrPort(target), network: "udp4", began: time.Now(), closed: make(chan struct{}),
		there: newLine(cfg.There, cfg.Seed, 1), back: newLine(cfg.Back, cfg.Seed, 2),
		flows: make(map[netip.AddrPort]*flow),
	}
	// One family per socket: an address of the other would be written in a form that the kernel refuses.
	if !target.Addr().Is4() {
		p.network = "udp6"
	}
	if cfg.Listen == "" {
		cfg.Listen = "127.0.0.1:0"
		if p.network == "udp6" {
			cfg.Listen = "[::1]:0"
		}
	}
	local, err := net.ResolveUDPAddr(p.network, cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("path: Config.Listen: %w", err)
	}
	conn, err := net.ListenUDP(p.network, local)
	if err != nil {
		return nil, fmt.Errorf("path: %w", err)
	}
	p.front = newSocket(conn)
	p.wg.Go(p.readClients)
	p.wg.Go(func() { p.carry(p.there, p.sendUp) })
	p.wg.Go(func() { p.carry(p.back, p.sendBack) })
	return p, nil
}

// Addr is where clients send to, in place of the target.
func (p *Proxy) Addr() net.Addr { return p.front.conn.LocalAddr() }

// Cut makes the path swallow everything, both ways and without a sign. When it returns nothing leaves any more; what
// was on its way is swallowed too.
func (p *Proxy) Cut() {
	p.there.cut()
	p.back.cut()
}

// Heal ends a Cut.
func (p *Proxy) Heal() {
	p.there.heal()
	p.back.heal()
}

// Counts tells what has become of the packets, from clients to the target and back.
func (p *Proxy) Counts() (there, back Counts) { return p.there.tell(), p.back.tell() }

// Close ends the path and waits for its goroutines. What is on its way is lost. Again it does nothing.
func (p *Proxy) Close() error {
	p.closeOne.Do(func() {
		close(p.closed)
		p.mu.Lock()
		p.shut = true
		p.front.conn.Close()
		for _, f := range p.flows {
			f.up.conn.Close()
		}
		p.mu.Unlock()
	})
	p.wg.Wait()
	return nil
}

func (l *Link) validate(name string) error {
	if l.Rate > 0 && l.QueueBytes == 0 {
		l.QueueBytes = int(min(max(l.Rate/10, 256<<10), math.MaxInt32))
	}
	if l.LineBytes == 0 {
		l.LineBytes = lineBytesDefault
	}
	switch {
	case l.Delay < 0:
		return fmt.Errorf("path: %s.Delay is %v", name, l.Delay)
	case !(l.Loss >= 0 && l.Loss <= 1):
		return fmt.Errorf("path: %s.Loss is %v, not a share from 0 to 1", name, l.Loss)
	case l.Rate < 0 || l.QueueBytes < 0:
		return fmt.Errorf("path: %s.Rate is %d, QueueBytes %d", name, l.Rate, l.QueueBytes)
	case l.LineBytes < 2*trainBytesMax:
		return fmt.Errorf("path: %s.LineBytes is %d, less than %d", name, l.LineBytes, 2*trainBytesMax)
	}
	return nil
}

func (p *Proxy) now() time.Duration { return time.Since(p.began) }

// readClients reads what clients send until the proxy is closed.
func (p *Proxy) readClients() {
	r := newReader()
	for {
		trains, err := r.read(p.front)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		now := p.now()
		for i := range trains {
			from, ok := trains[i].Addr.(*net.UDPAddr)
			if !ok {
				continue
			}
			f := p.flow(from)
			b, segment := r.train(i)
			if f == nil {
				p.there.drop(b, segment)
				continue
			}
			p.there.put(now, f, b, segment)
		}
	}
}

// flow gives the flow of a client, or nil when there can be none.
func (p *Proxy) flow(client *net.UDPAddr) *flow {
	key := client.AddrPort()
	p.mu.Lock()
	defer p.mu.Unlock()
	if f := p.flows[key]; f != nil || p.shut || len(p.flows) >= flowsMax {
		return f
	}
	conn, err := net.DialUDP(p.network, nil, p.target)
	if err != nil {
		return nil
	}
	f := &flow{client: client, up: newSocket(conn)}
	p.flows[key] = f
	p.wg.Go(func() { p.readTarget(f) })
	return f
}

// readTarget reads what the target answers to one client.
func (p *Proxy) readTarget(f *flow) {
	r := newReader()
	for {
		trains, err := r.read(f.up)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		// Another error is about a packet of before: nobody listens at the target just now.
		now := p.now()
		for i := range trains {
			b, segment := r.train(i)
			p.back.put(now, f, b, segment)
		}
	}
}

// carry is the one goroutine that takes trains from a line when they are due.
func (p *Proxy) carry(l *line, send func(*writer, []train) sent) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var w writer
	for {
		wait, waiting := l.pass(p.now, func(due []train) sent { return send(&w, due) })
		switch {
		case !waiting:
			select {
			case <-l.wake:
			case <-p.closed:
				return
			}
		case wait > 0:
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-p.closed:
				return
			}
		}
	}
}

// sendUp writes trains to the target, those of one client that follow each other at once.
func (p *Proxy) sendUp(w *writer, due []train) (all sent) {
	for len(due) > 0 {
		n := 1
		for n < len(due) && due[n].flow == due[0].flow {
			n++
		}
		all.add(w.write(due[0].flow.up, due[:n], false))
		due = due[n:]
	}
	return all
}

func (p *Proxy) sendBack(w *writer, due []train) sent { return w.write(p.front, due, true) }

// socket reads and writes in batches.
type socket struct {
	conn  *net.UDPConn
	batch *ipv4.PacketConn // of either family, whatever its name
}

func newSocket(conn *net.UDPConn) *socket {
	setBuffers(conn)
	enableTrains(conn)
	return &socket{conn: conn, batch: ipv4.NewPacketConn(conn)}
}

// reader holds the buffers of one reading goroutine.
type reader struct{ msgs [batchTrains]ipv4.Message }

func newReader() *reader {
	r := &reader{}
	for i := range r.msgs {
		r.msgs[i].Buffers = [][]byte{make([]byte, trainBytesMax)}
		r.msgs[i].OOB = make([]byte, oobBytes)
	}
	return r
}

func (r *reader) read(s *socket) ([]ipv4.Message, error) {
	n, err := s.batch.ReadBatch(r.msgs[:], 0)
	return r.msgs[:max(n, 0)], err
}

// train gives the bytes of the i-th train of the last read, until the next one, and how long its packets are.
func (r *reader) train(i int) (b []byte, segment int) {
	m := &r.msgs[i]
	b = m.Buffers[0][:m.N]
	return b, segmentBytes(m.OOB[:m.NN], m.N)
}

// writer holds the messages of one writing goroutine.
type writer struct {
	msgs [batchTrains]ipv4.Message
	oob  [batchTrains][oobBytes]byte
	bufs [batchTrains][1][]byte
}

// write sends trains, and says how much of them the kernel has taken.
func (w *writer) write(s *socket, trains []train, addressed bool) (all sent) {
	for i, t := range trains {
		w.bufs[i][0] = t.bytes
		w.msgs[i] = ipv4.Message{Buffers: w.bufs[i][:]}
		if len(t.bytes) > t.segment {
			w.msgs[i].OOB = segmentControl(w.oob[i][:], t.segment)
		}
		if addressed {
			w.msgs[i].Addr = t.flow.client
		}
	}
	for i := 0; i < len(trains); {
		n, err := s.batch.WriteBatch(w.msgs[i:len(trains)], 0)
		for range max(n, 0) {
			all.add(sent{trains[i].packets(), uint64(len(trains[i].bytes))})
			i++
		}
		if err != nil && i < len(trains) {
			// It may be about an earlier packet that nobody took, or the kernel does not cut trains.
			all.add(writeSingly(s, trains[i], w.msgs[i].Addr))
			i++
		}
	}
	return all
}

func writeSingly(s *socket, t train, to net.Addr) (all sent) {
	for b := t.bytes; ; {
		packet := b[:min(len(b), t.segment)]
		var err error
		if to == nil {
			_, err = s.conn.Write(packet)
		} else {
			_, err = s.conn.WriteTo(packet, to)
		}
		if err == nil {
			all.add(sent{1, uint64(len(packet))})
		}
		if b = b[len(packet):]; len(b) == 0 {
			return all
		}
	}
}
