package daemon_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"ferry/daemon"
	"ferry/identity"
	"ferry/journal"
	"ferry/journal/boltjournal"
	"ferry/orchestrator"
	"ferry/proto0500"
	"ferry/transport"
)

// world is a few real nodes on loopback, each with its own socket, disk and
// journal, that know each other by key.
type world struct {
	t    testing.TB
	dir  string
	mu   sync.Mutex
	addr map[identity.NodeID]transport.Address
	keys map[string]*identity.Key
}

// node is one running process's worth of ferry.
type node struct {
	*daemon.Host
	name    string
	journal journal.Journal
	stop    context.CancelFunc
	done    chan error
}

func newWorld(t testing.TB, names ...string) *world {
	w := &world{t: t, dir: t.TempDir(), addr: make(map[identity.NodeID]transport.Address), keys: make(map[string]*identity.Key)}
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

// run starts a node on its own directory, where an earlier run may have left state.
func (w *world) run(name string, adjust func(*daemon.Config)) *node {
	w.t.Helper()
	j, err := boltjournal.Open(filepath.Join(w.dir, name+".journal"), boltjournal.Options{})
	if err != nil {
		w.t.Fatal(err)
	}
	cfg := daemon.Config{
		Key: w.keys[name], Dir: filepath.Join(w.dir, name), Journal: j, Resolver: w,
		Kinds: []daemon.Kind{Counter}, Orchestrators: identity.NewAllowList(w.keys["o"].NodeID()),
		Log: slog.New(slog.NewTextHandler(testWriter{w.t, name}, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	if adjust != nil {
		adjust(&cfg)
	}
	h, err := daemon.New(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := h.Endpoint().Listen("127.0.0.1:0"); err != nil {
		w.t.Fatal(err)
	}
	w.mu.Lock()
	a := w.addr[w.keys[name].NodeID()]
	a.Addr = h.Endpoint().Addr().String()
	w.addr[a.ID] = a
	w.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	n := &node{Host: h, name: name, journal: j, stop: cancel, done: make(chan error, 1)}
	go func() { n.done <- h.Run(ctx) }()
	<-h.Ready()
	w.t.Cleanup(n.end)
	return n
}

// end stops the node and waits; it may be called twice.
func (n *node) end() {
	n.stop()
	if err, ok := <-n.done; ok {
		close(n.done)
		if err != nil {
			panic(err)
		}
	}
	_ = n.journal.Close()
}

// orchestrator starts the third node.
func (w *world) orchestrator(j journal.Journal) *orchestrator.Orchestrator {
	w.t.Helper()
	o, err := orchestrator.New(orchestrator.Config{
		Key: w.keys["o"], Journal: j, Resolver: w,
		Log: slog.New(slog.NewTextHandler(testWriter{w.t, "o"}, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	if err := o.Endpoint().Listen("127.0.0.1:0"); err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- o.Run(ctx) }()
	w.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Error(err)
		}
	})
	return o
}

// move moves a daemon and waits for the end.
func (w *world) move(o *orchestrator.Orchestrator, origin proto0500.Origin, from, to string) orchestrator.Result {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	h, err := o.Migrate(ctx, orchestrator.Move{Daemon: origin, Source: w.id(from), Target: w.id(to)})
	if err != nil {
		w.t.Fatal(err)
	}
	res, err := h.Wait(ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	return res
}

func (n *node) status(t testing.TB, name string) daemon.Status {
	t.Helper()
	st, err := n.Status(context.Background(), name)
	if err != nil && !errors.Is(err, daemon.ErrUnknownDaemon) {
		t.Fatal(err)
	}
	return st
}

type testWriter struct {
	t    testing.TB
	name string
}

func (w testWriter) Write(b []byte) (int, error) {
	if testing.Verbose() {
		fmt.Printf("%s %s", w.name, b)
	}
	return len(b), nil
}
