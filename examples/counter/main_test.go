package main

import (
	"context"
	"testing"
	"time"

	"ferry/cluster"
	"ferry/journal"
	"ferry/migration"
	"ferry/orchestrator"
	"ferry/proto0500"
)

// TestMove runs both nodes as main does, and moves the counter.
func TestMove(t *testing.T) {
	made, err := cluster.Init(t.TempDir(), cluster.Options{})
	if err != nil {
		t.Fatal(err)
	}
	file := made.File
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	nodes, stop := context.WithCancel(ctx)
	ended := make(chan error, 2)
	for _, name := range []string{"a", "b"} {
		go func() { ended <- run(nodes, file.Path(), name, name == "a", 5*time.Millisecond) }()
	}
	defer func() {
		stop()
		for range 2 {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
		cancel()
	}()
	key, err := file.Key("o")
	if err != nil {
		t.Fatal(err)
	}
	o, err := orchestrator.New(orchestrator.Config{Key: key, Journal: journal.NewMemory(), Resolver: file})
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Endpoint().Listen(""); err != nil {
		t.Fatal(err)
	}
	asking, end := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- o.Run(asking) }()
	defer func() {
		end()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	a, b := node(t, file, "a"), node(t, file, "b")
	before := await(ctx, t, o, a, 3)
	h, err := o.Migrate(ctx, orchestrator.Move{Daemon: before.DaemonOrigin, Source: proto0500.NodeID(a.ID()), Target: proto0500.NodeID(b.ID())})
	if err != nil {
		t.Fatal(err)
	}
	if res, err := h.Wait(ctx); err != nil || res.Outcome != migration.OutcomeCommitted {
		t.Fatalf("%v %s %v", res.Outcome, res.Text, err)
	}
	await(ctx, t, o, b, before.Seq+3)
}

func node(t *testing.T, file *cluster.File, name string) cluster.Node {
	t.Helper()
	n, err := file.Node(name)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// await asks a node until it serves the counter and has counted to seq.
func await(ctx context.Context, t *testing.T, o *orchestrator.Orchestrator, n cluster.Node, seq proto0500.Seq) proto0500.Report {
	t.Helper()
	for ctx.Err() == nil {
		reports, err := o.Query(ctx, n.ID())
		if err != nil {
			continue // it is starting
		}
		for _, r := range reports {
			if r.Name.String() == name && r.State == proto0500.StateServing && r.Seq >= seq {
				return r
			}
		}
	}
	t.Fatalf("%s does not serve %q at event %d", n.Name, name, seq)
	return proto0500.Report{}
}
