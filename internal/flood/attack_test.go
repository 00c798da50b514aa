package flood

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"

	"ferry/frame"
	"ferry/identity"
	"ferry/proto0500"
	"ferry/transport"
)

var le = binary.LittleEndian

// attack is one way to harm a node. It goes on until its context ends.
type attack struct {
	name  string
	quota int64 // of what is counted in did; the attack is at its height then
	run   func(ctx context.Context, a *attack, node string)
	// who is how the node's log calls the attacker, and as what it counts him.
	who     string
	refused []string

	did      atomic.Int64 // datagrams, handshakes, streams, …
	answered atomic.Int64 // how often the node has refused, closed, or, where it was right to, answered
	height   chan struct{}
	once     sync.Once
}

// done counts n more.
func (a *attack) done(n int64) {
	if a.did.Add(n) >= a.quota {
		a.once.Do(func() { close(a.height) })
	}
}

// tenth is what is left of a number under the race detector, which leaves a tenth of the machine.
func tenth[T int | int64](n T) T {
	if raceEnabled {
		return max(n/10, 1)
	}
	return n
}

// attacks are all there are, each of which is at its height before the move begins.
func attacks() []*attack {
	list := []*attack{
		{name: "half-open handshakes", quota: tenth[int64](1000), run: halfOpen,
			who: "addr=127.0.", refused: []string{"connection refused before its handshake"}},
		{name: "stalled streams", quota: tenth[int64](500), run: stalled, who: nodeOf(keyAttacker), refused: []string{"stream refused"}},
		{name: "frames of a byte at a time", quota: tenth[int64](50), run: trickle,
			who: nodeOf(keyAttacker + 1), refused: []string{"query refused: the node may not ask which daemons are here"}},
		{name: "frames of 4 GiB", quota: tenth[int64](100), run: huge,
			who: nodeOf(keyAttacker + 2), refused: []string{"session ended here"}},
		{name: "chunks for unknown daemons", quota: tenth[int64](20_000), run: chunks, who: nodeOf(keyAttacker + 3), refused: []string{"stream refused"}},
		{name: "queries whose answers nobody reads", quota: tenth[int64](30_000), run: deaf,
			who: nodeOf(keyAttacker + 4), refused: []string{"session ended here"}},
		{name: "queries without end of one who may ask", quota: 40_000, run: curious,
			who: nodeOf(keyAsker), refused: []string{"query refused: too many in a second"}},
	}
	for _, a := range list {
		a.height = make(chan struct{})
	}
	return list
}

func nodeOf(n int) string { return "node=" + key(n).NodeID().String() }

// garbageEvery is 12,500 datagrams a second.
const garbageEvery = 80 * time.Microsecond

// newGarbage is the attack by datagrams, which is not refused but thrown away.
func newGarbage() *attack {
	return &attack{name: "garbage datagrams", quota: tenth[int64](20_000), run: garbage, height: make(chan struct{})}
}

// garbage sends noise, and noise that begins as packets of QUIC do. What a late tick has missed is sent with the next, as
// long as that is no burst that only fills the node's socket.
func garbage(ctx context.Context, a *attack, node string) {
	conn, err := net.Dial("udp", node)
	if err != nil {
		return
	}
	defer conn.Close()
	beginnings := [][]byte{nil, {0xc3, 0, 0, 0, 1, 8}, {0xc0, 0xff, 0, 0, 0x1d, 8}, {0x40}, {0xe3, 0, 0, 0, 1, 255}}
	b := make([]byte, 1200)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	last := time.Now()
	for n := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := time.Now()
		due := min(tenth(int(now.Sub(last)/garbageEvery)), 50)
		last = now
		for range due {
			rand.Read(b)
			copy(b, beginnings[n%len(beginnings)])
			_, _ = conn.Write(b[:40+n%1160])
			n++
		}
		a.done(int64(due))
	}
}

// deafConn hears of the node's answers nothing but the demand to show that it can be answered.
type deafConn struct {
	*net.UDPConn
	heard *atomic.Int64
}

func (c deafConn) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, from, err := c.UDPConn.ReadFrom(b)
		if err != nil {
			return n, from, err
		}
		if retry := n > 0 && b[0]&0xb0 == 0xb0; retry {
			c.heard.Add(1)
			return n, from, nil
		}
	}
}

// halfOpen begins a hundred handshakes from each of ten addresses, and never hears how they go on.
func halfOpen(ctx context.Context, a *attack, node string) {
	to, err := net.ResolveUDPAddr("udp", node)
	if err != nil {
		return
	}
	var work sync.WaitGroup
	defer work.Wait()
	for host := range 10 {
		socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 1, byte(host+1))})
		if err != nil { // a system with but one loopback address
			socket, err = net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		}
		if err != nil {
			return
		}
		// quic-go's batch reads would go past a conn that embeds the socket: it sees a plain one.
		tr := &quic.Transport{Conn: struct{ net.PacketConn }{deafConn{socket, &a.answered}}}
		work.Go(func() {
			defer socket.Close()
			defer tr.Close()
			var dials sync.WaitGroup
			for range tenth(100) {
				dials.Go(func() {
					cfg := transport.QUICConfig()
					cfg.HandshakeIdleTimeout = 3 * time.Second
					for ctx.Err() == nil {
						a.done(1)
						conn, err := tr.Dial(ctx, to, identity.ClientTLS(key(keyAttacker), []string{transport.ALPN}, key(keyNode).Public()), cfg)
						if err == nil {
							_ = conn.CloseWithError(0, "")
						}
					}
				})
			}
			dials.Wait()
		})
	}
}

// session is one of an attacker who is a node of the cluster: a connection of his own with its control stream.
type session struct {
	conn *quic.Conn
	ctl  *quic.Stream
}

// open opens a session; cfg may be nil.
func open(ctx context.Context, node string, n int, cfg *quic.Config) (*session, error) {
	if cfg == nil {
		cfg = transport.QUICConfig()
	}
	conn, err := quic.DialAddr(ctx, node, identity.ClientTLS(key(n), []string{transport.ALPN}, key(keyNode).Public()), cfg)
	if err != nil {
		return nil, err
	}
	s := &session{conn: conn}
	if err := s.hail(ctx, key(n)); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *session) hail(ctx context.Context, k *identity.Key) error {
	state := s.conn.ConnectionState().TLS
	exporter, err := identity.ChannelExporter(&state)
	if err != nil {
		return err
	}
	sig, err := identity.SignChannel(k, exporter, identity.Dialer)
	if err != nil {
		return err
	}
	if s.ctl, err = s.conn.OpenStreamSync(ctx); err != nil {
		return err
	}
	token := make([]byte, 16)
	rand.Read(token)
	// With a hello: without one it would be answered nothing.
	hail := slices.Concat(prefix(transport.Control), []byte(k.Public()), sig, token, []byte{2, 0, 0, 0, 0, 0, 0, 0}, hello())
	if _, err := s.ctl.Write(hail); err != nil {
		return err
	}
	_, err = io.ReadFull(s.ctl, make([]byte, 120))
	return err
}

func (s *session) close() { _ = s.conn.CloseWithError(0, "") }

func prefix(k transport.Kind) []byte { return append([]byte("FRY\x05\x00\x01"), byte(k), 0) }

// refusal says whether err is the node's own doing.
func refusal(err error) bool {
	if app, ok := errors.AsType[*quic.ApplicationError](err); ok {
		return app.Remote
	}
	st, ok := errors.AsType[*quic.StreamError](err)
	return ok && st.Remote
}

// stalled keeps 500 streams open that begin and do not go on: with half a prefix, or with the header of a frame. The node
// gives up on each in time, and there is another one.
func stalled(ctx context.Context, a *attack, node string) {
	lim := frame.Default()
	whole, _ := frame.Append(nil, 1, make([]byte, 1<<20), &lim)
	beginnings := [][]byte{[]byte("FRY\x05"), prefix(transport.Lane), append(prefix(transport.Lane), whole[:frame.HeaderBytes]...), append(prefix(transport.Events), whole[:9]...)}
	var work sync.WaitGroup
	defer work.Wait()
	for i := range tenth(9) {
		work.Go(func() {
			for ctx.Err() == nil {
				s, err := open(ctx, node, keyAttacker, nil)
				if err != nil {
					continue
				}
				var streams sync.WaitGroup
				for j := range 56 {
					streams.Go(func() {
						for n := i + j; ; n++ {
							st, err := s.conn.OpenStreamSync(ctx)
							if err != nil {
								return
							}
							if _, err = st.Write(beginnings[n%len(beginnings)]); err == nil {
								a.done(1)
								_, err = io.Copy(io.Discard, st) // until the node gives up
							}
							if err == nil || refusal(err) {
								a.answered.Add(1)
							}
							st.CancelWrite(0)
						}
					})
				}
				<-either(ctx, s.conn.Context())
				s.close()
				streams.Wait()
			}
		})
	}
}

// either ends with whichever ends first.
func either(a, b context.Context) <-chan struct{} {
	c := make(chan struct{})
	go func() {
		defer close(c)
		select {
		case <-a.Done():
		case <-b.Done():
		}
	}()
	return c
}

// hello offers the extensions.
func hello() []byte {
	lim := frame.Default()
	m, _ := proto0500.Hello{Version: proto0500.HelloVersion, MessageBytesMax: lim.MessageBytesMax}.Append(nil, &lim)
	b, _ := frame.Append(nil, 0, m, &lim)
	return b
}

// query is one that is in order, whoever asks.
func query() []byte {
	lim := frame.Default()
	m, _ := proto0500.Query{}.Append(nil, &lim)
	b, _ := frame.Append(nil, 7, m, &lim)
	return b
}

// trickle asks what is in order, a byte at a time, a millisecond apart. It is answered.
func trickle(ctx context.Context, a *attack, node string) {
	for ctx.Err() == nil {
		s, err := open(ctx, node, keyAttacker+1, nil)
		if err != nil {
			continue
		}
		in := frame.NewReader(s.ctl, frame.Default())
		stop := context.AfterFunc(ctx, s.close)
		for err == nil {
			tick := time.NewTicker(time.Millisecond)
			for _, b := range query() {
				if _, err = s.ctl.Write([]byte{b}); err != nil {
					break
				}
				<-tick.C
			}
			tick.Stop()
			var f frame.Frame
			if err == nil {
				f, err = in.Next()
			}
			for err == nil && f.Epoch() != 7 {
				f, err = in.Next()
			}
			if err == nil {
				a.answered.Add(1)
				a.done(1)
			}
		}
		stop()
		s.close()
	}
}

// huge claims a frame of 4 GiB, on the control stream, which ends the session, and on lanes, which ends them.
func huge(ctx context.Context, a *attack, node string) {
	claim := append([]byte{0, 5, 1, 0, 0xff, 0xff, 0xff, 0xff}, make([]byte, 16)...)
	for ctx.Err() == nil {
		s, err := open(ctx, node, keyAttacker+2, nil)
		if err != nil {
			continue
		}
		stop := context.AfterFunc(ctx, s.close)
		if st, err := s.conn.OpenStreamSync(ctx); err == nil {
			_, _ = st.Write(append(prefix(transport.Lane), claim...))
			if _, err := io.Copy(io.Discard, st); err == nil || refusal(err) {
				a.answered.Add(1)
			}
			a.done(1)
		}
		if _, err := s.ctl.Write(claim); err == nil {
			if _, err := io.Copy(io.Discard, s.ctl); refusal(err) {
				a.answered.Add(1)
			}
			a.done(1)
		}
		stop()
		s.close()
	}
}

// chunks sends chunks for daemons that nobody has prepared, each on a lane of its own, which is refused.
func chunks(ctx context.Context, a *attack, node string) {
	lim := frame.Default()
	var work sync.WaitGroup
	defer work.Wait()
	for i := range 2 {
		work.Go(func() {
			for ctx.Err() == nil {
				s, err := open(ctx, node, keyAttacker+3, nil)
				if err != nil {
					continue
				}
				var lanes sync.WaitGroup
				for j := range tenth(16) {
					lanes.Go(func() {
						for n := uint32(0); ; n++ {
							m, _ := proto0500.SnapshotReady{
								DaemonOrigin: proto0500.Origin(i<<20 | j<<8 | 1), SeqThrough: 1, ChunkIndex: n % 9, TotalChunks: 9, SnapshotBytes: make([]byte, 900),
							}.Append(nil, &lim)
							b, _ := frame.Append(prefix(transport.Lane), 1, m, &lim)
							st, err := s.conn.OpenStreamSync(ctx)
							if err != nil {
								return
							}
							_, _ = st.Write(b)
							_ = st.Close()
							if _, err := io.Copy(io.Discard, st); refusal(err) {
								a.answered.Add(1)
							}
							a.done(1)
						}
					})
				}
				<-either(ctx, s.conn.Context())
				s.close()
				lanes.Wait()
			}
		})
	}
}

// deaf asks and asks, and reads no answer: the node closes the session when too many wait.
func deaf(ctx context.Context, a *attack, node string) {
	cfg := transport.QUICConfig()
	cfg.InitialStreamReceiveWindow, cfg.MaxStreamReceiveWindow = 1024, 1024
	batch := slices.Repeat(query(), 20)
	for ctx.Err() == nil {
		s, err := open(ctx, node, keyAttacker+4, cfg)
		if err != nil {
			continue
		}
		stop := context.AfterFunc(ctx, s.close)
		for err == nil {
			if _, err = s.ctl.Write(batch); err == nil {
				a.done(20)
			}
		}
		if refusal(err) {
			a.answered.Add(1)
		}
		stop()
		s.close()
	}
}

// curious may ask, and asks for far more than a node is given: it has at most so many questions unanswered that nobody puts it
// out, and reads what it is told.
func curious(ctx context.Context, a *attack, node string) {
	const atOnce = 400
	batch := slices.Repeat(query(), atOnce)
	for ctx.Err() == nil {
		s, err := open(ctx, node, keyAsker, nil)
		if err != nil {
			continue
		}
		in := frame.NewReader(s.ctl, frame.Default())
		stop := context.AfterFunc(ctx, s.close)
		tick := time.NewTicker(20 * time.Millisecond)
		for err == nil {
			_, err = s.ctl.Write(batch)
			for n := 0; err == nil && n < atOnce; {
				var f frame.Frame
				if f, err = in.Next(); err == nil && f.Epoch() == 7 {
					n++
				}
				if err == nil && len(f.Message()) > 0 && proto0500.Kind(f.Message()[0]) == proto0500.KindRejected {
					a.answered.Add(1)
				}
			}
			a.done(atOnce)
			<-tick.C
		}
		tick.Stop()
		stop()
		s.close()
	}
}
