package daemon_test

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"ferry/daemon"
	"ferry/identity"
	"ferry/journal"
	"ferry/journal/boltjournal"
	"ferry/orchestrator"
	"ferry/proto0500"
	"ferry/transport"
)

// phoneBook is a Resolver: where the nodes are, and their keys.
type phoneBook struct{ m sync.Map }

func (b *phoneBook) Resolve(_ context.Context, id identity.NodeID) (transport.Address, error) {
	if a, ok := b.m.Load(id); ok {
		return a.(transport.Address), nil
	}
	return transport.Address{}, transport.ErrUnknownNode
}

func (b *phoneBook) add(key *identity.Key, addr string) {
	b.m.Store(key.NodeID(), transport.Address{ID: key.NodeID(), Addr: addr, Key: ed25519.PublicKey(key.Public())})
}

// Two nodes, a counter that adds up what it is sent (counter_test.go has all of
// it), and a third node that moves it from the one to the other.
func Example() {
	ctx, stop := context.WithCancel(context.Background())
	dir, _ := os.MkdirTemp("", "ferry")
	defer os.RemoveAll(dir)
	var book phoneBook
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()

	boss := identity.KeyFromSeed([32]byte{3})
	book.add(boss, "") // known, and never dialed
	host := func(name string, seed byte) *daemon.Host {
		j, err := boltjournal.Open(filepath.Join(dir, name+".journal"), boltjournal.Options{})
		if err != nil {
			panic(err)
		}
		key := identity.KeyFromSeed([32]byte{seed})
		h, err := daemon.New(daemon.Config{
			Key: key, Dir: filepath.Join(dir, name), Journal: j, Resolver: &book,
			Kinds:         []daemon.Kind{Counter},
			Orchestrators: identity.NewAllowList(boss.NodeID()),
		})
		if err != nil {
			panic(err)
		}
		if err := h.Endpoint().Listen("127.0.0.1:0"); err != nil {
			panic(err)
		}
		book.add(key, h.Endpoint().Addr().String())
		running.Go(func() {
			_ = h.Run(ctx)
			_ = j.Close()
		})
		return h
	}
	a, b := host("a", 1), host("b", 2)

	o, err := orchestrator.New(orchestrator.Config{Key: boss, Journal: journal.NewMemory(), Resolver: &book})
	if err != nil {
		panic(err)
	}
	if err := o.Endpoint().Listen(":0"); err != nil { // it only dials
		panic(err)
	}
	running.Go(func() { _ = o.Run(ctx) })

	if err := a.Create(ctx, "sum", "counter"); err != nil {
		panic(err)
	}
	for n := range int64(4) {
		seq, err := a.Write(ctx, "sum", Add(n))
		fmt.Println("at a: event", seq, err)
	}
	st, _ := a.Status(ctx, "sum")

	move, err := o.Migrate(ctx, orchestrator.Move{
		Daemon: st.Origin, Source: proto0500.NodeID(a.Node()), Target: proto0500.NodeID(b.Node()),
	})
	if err != nil {
		panic(err)
	}
	res, _ := move.Wait(ctx)
	fmt.Println(res.Outcome, "after event", res.FinalSeq)

	seq, err := b.Write(ctx, "sum", Add(36))
	fmt.Println("at b: event", seq, err)
	st, _ = b.Status(ctx, "sum")
	fmt.Println("the sum is", st.Daemon.(*counter).sum)
	_, err = a.Write(ctx, "sum", Add(1))
	fmt.Println("at a:", err)
	// Output:
	// at a: event 1 <nil>
	// at a: event 2 <nil>
	// at a: event 3 <nil>
	// at a: event 4 <nil>
	// committed after event 4
	// at b: event 5 <nil>
	// the sum is 42
	// at a: daemon "sum": moved to node 749a2c8dd58f7a58 in epoch 1
}
