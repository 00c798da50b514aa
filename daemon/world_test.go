package daemon_test

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"go.uber.org/goleak"

	"ferry/daemon"
	"ferry/identity"
	"ferry/journal"
	"ferry/journal/boltjournal"
	"ferry/migration"
	"ferry/orchestrator"
	"ferry/proto0500"
	"ferry/transport"
)

// patience bounds what a test waits for. It is reached only when the test fails.
const patience = 60 * time.Second

// world is a few real nodes on loopback, each with its own socket, disk and
// journal, that know each other by key.
type world struct {
	t    testing.TB
	dir  string
	keys map[string]*identity.Key

	idle time.Duration // of the nodes' sockets; 0: the default

	mu   sync.Mutex
	addr map[identity.NodeID]transport.Address
	ends []func() // of every node, called at once
}

func newWorld(t testing.TB, names ...string) *world {
	ignore := goleak.IgnoreCurrent()
	w := &world{t: t, dir: t.TempDir(), addr: make(map[identity.NodeID]transport.Address), keys: make(map[string]*identity.Key)}
	t.Cleanup(func() {
		// Together: each may have to wait for sessions with what is cut off.
		var ending sync.WaitGroup
		for _, end := range w.ends {
			ending.Go(end)
		}
		ending.Wait()
		goleak.VerifyNone(t, ignore)
	})
	for i, name := range names {
		key := identity.KeyFromSeed([32]byte{byte(i + 1)})
		w.keys[name] = key
		w.addr[key.NodeID()] = transport.Address{ID: key.NodeID(), Name: name, Key: ed25519.PublicKey(key.Public())}
	}
	return w
}

func (w *world) Resolve(_ context.Context, id identity.NodeID) (transport.Address, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	a, ok := w.addr[id]
	if !ok {
		return a, fmt.Errorf("%w: %v", transport.ErrUnknownNode, id)
	}
	return a, nil
}

func (w *world) id(name string) proto0500.NodeID { return proto0500.NodeID(w.keys[name].NodeID()) }

func (w *world) log(name string) *slog.Logger {
	return slog.New(slog.NewTextHandler(testWriter{name}, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// quick is for tests that pull plugs: the loss is noticed sooner.
func quick(c *transport.Config) {
	c.KeepAlive, c.IdleTimeout, c.DialTimeout = quickIdle/8, quickIdle, quickIdle
}

const quickIdle = 1500 * time.Millisecond

// packetConn is the part of a UDP socket under which no packet slips through.
type packetConn interface {
	net.PacketConn
	SetReadBuffer(int) error
	SetWriteBuffer(int) error
	SyscallConn() (syscall.RawConn, error)
}

// plug is a socket that can be cut off from others without a sign.
type plug struct {
	packetConn
	mu  sync.Mutex
	all bool
	not map[string]bool
}

func (p *plug) dropped(to net.Addr) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.all || p.not[to.String()]
}

func (p *plug) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, from, err := p.packetConn.ReadFrom(b)
		if err != nil || !p.dropped(from) {
			return n, from, err
		}
	}
}

func (p *plug) WriteTo(b []byte, to net.Addr) (int, error) {
	if p.dropped(to) {
		return len(b), nil
	}
	return p.packetConn.WriteTo(b, to)
}

// pull swallows everything from and to this node.
func (p *plug) pull() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all = true
}

// forget swallows everything from and to one other node.
func (p *plug) forget(other *plug) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.not[other.LocalAddr().String()] = true
}

// remember undoes forget.
func (p *plug) remember(other *plug) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.not, other.LocalAddr().String())
}

// plugIn gives the endpoint of a node a socket that can be cut off.
func (w *world) plugIn(name string, ep *transport.Endpoint) (*plug, func()) {
	w.t.Helper()
	socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		w.t.Fatal(err)
	}
	p := &plug{packetConn: socket, not: make(map[string]bool)}
	tr := &quic.Transport{Conn: p}
	cfg := transport.QUICConfig()
	if w.idle != 0 {
		cfg.MaxIdleTimeout, cfg.KeepAlivePeriod = w.idle, w.idle/8
	}
	l, err := tr.Listen(&tls.Config{
		NextProtos:         []string{transport.ALPN},
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return ep.TLSConfig(), nil },
	}, cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := ep.UseTransport(tr); err != nil {
		w.t.Fatal(err)
	}
	var accepting sync.WaitGroup
	accepting.Go(func() {
		for {
			conn, err := l.Accept(context.Background())
			if err != nil {
				return
			}
			_ = ep.Accept(conn) // the handshake's own affair
		}
	})
	w.mu.Lock()
	a := w.addr[w.keys[name].NodeID()]
	a.Addr = socket.LocalAddr().String()
	w.addr[a.ID] = a
	w.mu.Unlock()
	return p, func() {
		_ = l.Close()
		accepting.Wait()
		_ = tr.Close()
		_ = socket.Close()
	}
}

// node is one running process's worth of ferry.
type node struct {
	*daemon.Host
	*plug
	w       *world
	name    string
	journal journal.Journal
	unplug  func()
	stop    context.CancelFunc
	done    chan error
	ended   atomic.Bool
	// authority has what OnAuthority has told.
	mu        sync.Mutex
	authority []daemon.Authority
}

// run starts a node on its own directory, where an earlier run may have left state.
func (w *world) run(name string, adjust func(*daemon.Config)) *node {
	w.t.Helper()
	n := &node{w: w, name: name, done: make(chan error, 1)}
	cfg := daemon.Config{
		Key: w.keys[name], Dir: filepath.Join(w.dir, name), Resolver: w,
		Kinds: []daemon.Kind{Counter, diaryKind(nil)}, Orchestrators: identity.NewAllowList(w.keys["o"].NodeID()),
		Log: w.log(name),
		OnAuthority: func(a daemon.Authority) {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.authority = append(n.authority, a)
		},
	}
	if adjust != nil {
		adjust(&cfg)
	}
	if cfg.Journal == nil {
		j, err := boltjournal.Open(filepath.Join(w.dir, name+".journal"), boltjournal.Options{})
		if err != nil {
			w.t.Fatal(err)
		}
		cfg.Journal = j
	}
	h, err := daemon.New(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	n.Host, n.journal = h, cfg.Journal
	n.plug, n.unplug = w.plugIn(name, h.Endpoint())
	ctx, cancel := context.WithCancel(context.Background())
	n.stop = cancel
	go func() { n.done <- h.Run(ctx) }()
	w.ends = append(w.ends, n.end)
	select {
	case <-h.Ready():
	case <-time.After(patience):
		w.t.Fatalf("node %s is not ready", name)
	}
	return n
}

// end stops the node and waits; it may be called twice.
func (n *node) end() {
	if n.ended.Swap(true) {
		return
	}
	n.stop()
	select {
	case err := <-n.done:
		if err != nil {
			n.w.t.Errorf("node %s: %v", n.name, err)
		}
	case <-time.After(patience):
		panic("node " + n.name + " does not end")
	}
	n.unplug()
	_ = n.journal.Close()
}

func (n *node) told() []daemon.Authority {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]daemon.Authority(nil), n.authority...)
}

func (n *node) status(name string) daemon.Status {
	n.w.t.Helper()
	st, err := n.Status(context.Background(), name)
	if err != nil && !errors.Is(err, daemon.ErrUnknownDaemon) {
		n.w.t.Fatal(err)
	}
	return st
}

// create makes a daemon and gives its origin.
func (n *node) create(name, kind string) proto0500.Origin {
	n.w.t.Helper()
	if err := n.Create(context.Background(), name, kind); err != nil {
		n.w.t.Fatal(err)
	}
	return n.status(name).Origin
}

// write writes and demands that it is accepted.
func (n *node) write(name string, payload []byte) proto0500.Seq {
	n.w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	seq, err := n.Write(ctx, name, payload)
	if err != nil {
		n.w.t.Fatalf("write at %s: %v", n.name, err)
	}
	return seq
}

// third is a running orchestrator.
type third struct {
	*orchestrator.Orchestrator
	*plug
	w     *world
	end   func() // may be called twice
	moves journal.Journal
}

// orchestrator starts the third node.
func (w *world) orchestrator(j journal.Journal, adjust func(*orchestrator.Config)) *third {
	w.t.Helper()
	return w.third("o", j, adjust)
}

func (w *world) third(name string, j journal.Journal, adjust func(*orchestrator.Config)) *third {
	w.t.Helper()
	cfg := orchestrator.Config{Key: w.keys[name], Journal: j, Resolver: w, Log: w.log(name)}
	if adjust != nil {
		adjust(&cfg)
	}
	o, err := orchestrator.New(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	p, unplug := w.plugIn(name, o.Endpoint())
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- o.Run(ctx) }()
	th := &third{Orchestrator: o, plug: p, w: w, moves: j, end: sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Error(err)
		}
		unplug()
	})}
	w.ends = append(w.ends, th.end)
	return th
}

// begin begins a move.
func (th *third) begin(origin proto0500.Origin, from, to string) *orchestrator.Handle {
	th.w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	h, err := th.Migrate(ctx, orchestrator.Move{Daemon: origin, Source: th.w.id(from), Target: th.w.id(to)})
	if err != nil {
		th.w.t.Fatal(err)
	}
	return h
}

// move moves a daemon and waits for the end.
func (th *third) move(origin proto0500.Origin, from, to string) orchestrator.Result {
	th.w.t.Helper()
	return th.w.wait(th.begin(origin, from, to))
}

func (w *world) wait(h *orchestrator.Handle) orchestrator.Result {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	res, err := h.Wait(ctx)
	if err != nil && !errors.Is(err, orchestrator.ErrClosed) {
		w.t.Fatal(err)
	}
	return res
}

// want checks a move's outcome.
func (w *world) want(res orchestrator.Result, outcome migration.Outcome) {
	w.t.Helper()
	if res.Outcome != outcome {
		w.t.Fatalf("%v at epoch %d (%s), want %v", res.Outcome, res.Epoch, res.Text, outcome)
	}
}

// eventually waits for what no channel tells. It is asked again after each of
// the short waits.
func (w *world) eventually(what string, ok func() bool) {
	w.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	timeout := time.After(patience)
	for !ok() {
		select {
		case <-tick.C:
		case <-timeout:
			w.t.Fatalf("not so: %s", what)
		}
	}
}

type testWriter struct{ name string }

func (w testWriter) Write(b []byte) (int, error) {
	if testing.Verbose() {
		fmt.Printf("%s %s", w.name, b)
	}
	return len(b), nil
}
