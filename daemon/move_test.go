package daemon_test

import (
	"context"
	"testing"

	"ferry/journal"
	"ferry/migration"
)

// TestMove moves a counter from a to b over real sockets, goes on there, moves
// it back, and restarts everything: nothing is lost, and one node has it.
func TestMove(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t, "a", "b", "o")
	a, b := w.run("a", nil), w.run("b", nil)
	o := w.orchestrator(journal.NewMemory())
	if err := a.Create(ctx, "sum", "counter"); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if _, err := a.Write(ctx, "sum", Add(1)); err != nil {
			t.Fatal(err)
		}
	}
	origin := a.status(t, "sum").Origin
	res := w.move(o, origin, "a", "b")
	if res.Outcome != migration.OutcomeCommitted || res.FinalSeq != 10 {
		t.Fatalf("%v at %d: %s", res.Outcome, res.FinalSeq, res.Text)
	}
	if a.status(t, "sum").Authority || !b.status(t, "sum").Authority {
		t.Fatal("the authority is not at b alone")
	}
	if seq, err := b.Write(ctx, "sum", Add(5)); err != nil || seq != 11 {
		t.Fatalf("seq %d, %v", seq, err)
	}
}
