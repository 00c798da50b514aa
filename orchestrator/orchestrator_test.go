package orchestrator_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"ferry/identity"
	"ferry/journal"
	"ferry/migration"
	"ferry/orchestrator"
	"ferry/proto0500"
	"ferry/transport"
)

// The moves themselves are tested where there are daemons to move, in package
// daemon. Here nobody answers.

const patience = 20 * time.Second

type book struct{ m sync.Map }

func (b *book) Resolve(_ context.Context, id identity.NodeID) (transport.Address, error) {
	if a, ok := b.m.Load(id); ok {
		return a.(transport.Address), nil
	}
	return transport.Address{}, transport.ErrUnknownNode
}

var keys = map[string]*identity.Key{
	"a": identity.KeyFromSeed([32]byte{1}), "b": identity.KeyFromSeed([32]byte{2}), "o": identity.KeyFromSeed([32]byte{3}),
}

func id(name string) proto0500.NodeID { return proto0500.NodeID(keys[name].NodeID()) }

// start runs an orchestrator whose other nodes are a socket that nobody reads.
func start(t *testing.T, adjust func(*orchestrator.Config)) (o *orchestrator.Orchestrator, stop func()) {
	t.Helper()
	ignore := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, ignore) })
	hole, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = hole.Close() })
	var b book
	for _, name := range []string{"a", "b"} {
		k := keys[name]
		b.m.Store(k.NodeID(), transport.Address{
			ID: k.NodeID(), Name: name, Addr: hole.LocalAddr().String(), Key: ed25519.PublicKey(k.Public()),
		})
	}
	cfg := orchestrator.Config{
		Key: keys["o"], Journal: journal.NewMemory(), Resolver: &b,
		PhaseTimeout: 300 * time.Millisecond, StepEvery: 50 * time.Millisecond,
		Transport: func(c *transport.Config) { c.DialTimeout = 100 * time.Millisecond },
	}
	if adjust != nil {
		adjust(&cfg)
	}
	if o, err = orchestrator.New(cfg); err != nil {
		t.Fatal(err)
	}
	if err := o.Endpoint().Listen(":0"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- o.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return o, stop
}

func wait(t *testing.T, h *orchestrator.Handle) (orchestrator.Result, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	res, err := h.Wait(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		t.Fatal("the move does not end")
	}
	return res, err
}

// TestNobodyAnswers: nothing has begun, which is said as such.
func TestNobodyAnswers(t *testing.T) {
	o, _ := start(t, nil)
	h, err := o.Migrate(context.Background(), orchestrator.Move{Daemon: 7, Source: id("a"), Target: id("b")})
	if err != nil {
		t.Fatal(err)
	}
	res, err := wait(t, h)
	if err != nil || res.Outcome != migration.OutcomeRefused || res.Epoch != 0 || !res.Reason.Retriable() {
		t.Errorf("%+v, %v", res, err)
	}
	if p, _ := h.Progress(); p.Phase != migration.PhaseBegin || len(res.Phases) != 1 || res.Phases[0].Phase != migration.PhaseBegin {
		t.Errorf("phases %+v, last %+v", res.Phases, p)
	}
	h.Cancel() // of what has ended does nothing
	if _, err := o.Query(context.Background(), keys["a"].NodeID()); err == nil {
		t.Error("a node that does not answer was asked")
	}
}

// TestMigrateRefuses what cannot be a move.
func TestMigrateRefuses(t *testing.T) {
	o, stop := start(t, func(c *orchestrator.Config) { c.PhaseTimeout = patience })
	ctx := context.Background()
	if _, err := o.Migrate(ctx, orchestrator.Move{Daemon: 7, Source: id("a"), Target: id("a")}); err == nil {
		t.Error("to where it is")
	}
	if _, err := o.Migrate(ctx, orchestrator.Move{Daemon: 7, Source: id("o"), Target: id("a")}); err == nil {
		t.Error("from the orchestrator")
	}
	h, err := o.Migrate(ctx, orchestrator.Move{Daemon: 7, Source: id("a"), Target: id("b")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.Migrate(ctx, orchestrator.Move{Daemon: 7, Source: id("a"), Target: id("b")}); !errors.Is(err, orchestrator.ErrBusy) {
		t.Errorf("twice: %v", err)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := h.Wait(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("a wait that was given up: %v", err)
	}
	stop()
	if res, err := wait(t, h); !errors.Is(err, orchestrator.ErrClosed) || res.Outcome != migration.OutcomeInDoubt {
		t.Errorf("after the end: %v, %v", res.Outcome, err)
	}
	if _, err := o.Migrate(ctx, orchestrator.Move{Daemon: 8, Source: id("a"), Target: id("b")}); !errors.Is(err, orchestrator.ErrClosed) {
		t.Errorf("begun after the end: %v", err)
	}
}

// TestOpenMoveIsSettledFirst: what the journal holds of an earlier process comes
// before a new move, and in doubt it stays what it is.
func TestOpenMoveIsSettledFirst(t *testing.T) {
	j := journal.NewMemory()
	rec, err := migration.MoveRecord{Origin: 7, Source: id("b"), Target: id("a"), Epoch: 4}.AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	key := append([]byte{'m', 0, 0, 0, 0, 0, 0, 0, 7}, 0, 0, 0, 0, 0, 0, 0, 4)
	if err := j.Put(key, rec); err != nil {
		t.Fatal(err)
	}
	o, _ := start(t, func(c *orchestrator.Config) { c.Journal = j })
	h, err := o.Migrate(context.Background(), orchestrator.Move{Daemon: 7, Source: id("a"), Target: id("b")})
	if err != nil {
		t.Fatal(err)
	}
	res, err := wait(t, h)
	if err != nil || res.Outcome != migration.OutcomeInDoubt || res.Epoch != 4 {
		t.Errorf("%+v, %v", res, err)
	}
}

func TestConfigIsChecked(t *testing.T) {
	full := orchestrator.Config{Key: keys["o"], Journal: journal.NewMemory(), Resolver: new(book)}
	for _, drop := range []func(*orchestrator.Config){
		func(c *orchestrator.Config) { c.Key = nil },
		func(c *orchestrator.Config) { c.Journal = nil },
		func(c *orchestrator.Config) { c.Resolver = nil },
	} {
		c := full
		drop(&c)
		if _, err := orchestrator.New(c); err == nil {
			t.Errorf("made of %+v", c)
		}
	}
}
