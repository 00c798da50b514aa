package daemon_test

import (
	"slices"
	"testing"

	"ferry/journal"
	"ferry/migration"
)

// TestMove moves a counter from a to b over real sockets, goes on there, moves
// it back, and restarts everything: nothing is lost, and one node has it.
func TestMove(t *testing.T) {
	w := newWorld(t, "a", "b", "o")
	a, b := w.run("a", nil), w.run("b", nil)
	o := w.orchestrator(journal.NewMemory(), nil)
	origin := a.create("sum", "counter")
	for range 10 {
		a.write("sum", Add(1))
	}
	res := o.move(origin, "a", "b")
	w.want(res, migration.OutcomeCommitted)
	if res.FinalSeq != 10 {
		t.Fatalf("moved at %d", res.FinalSeq)
	}
	if a.status("sum").Authority || !b.status("sum").Authority {
		t.Fatal("the authority is not at b alone")
	}
	if seq := b.write("sum", Add(5)); seq != 11 {
		t.Fatalf("seq %d", seq)
	}
	w.want(o.move(origin, "b", "a"), migration.OutcomeCommitted)
	if seq := a.write("sum", Add(1)); seq != 12 {
		t.Fatalf("seq %d", seq)
	}
	a.end()
	b.end()
	a, b = w.run("a", nil), w.run("b", nil)
	if !a.status("sum").Authority || b.status("sum").Authority {
		t.Fatal("after the restart the authority is not at a alone")
	}
	if sum := a.status("sum").Daemon.(*counter).sum; sum != 16 {
		t.Fatalf("the sum is %d", sum)
	}
	if seq := a.write("sum", Add(1)); seq != 13 {
		t.Fatalf("seq %d", seq)
	}
}

// TestAuthorityIsTold: each node tells its owner once who the authority is.
func TestAuthorityIsTold(t *testing.T) {
	w := newWorld(t, "a", "b", "o")
	a, b := w.run("a", nil), w.run("b", nil)
	o := w.orchestrator(journal.NewMemory(), nil)
	origin := a.create("d", "diary")
	res := o.move(origin, "a", "b")
	w.want(res, migration.OutcomeCommitted)
	for _, n := range []*node{a, b} {
		got := n.told()
		if len(got) != 1 || got[0].Node != w.id("b") || got[0].Epoch != res.Epoch || got[0].Origin != origin || got[0].Name != "d" {
			t.Errorf("%s was told %+v", n.name, got)
		}
	}
	// A restart is no news.
	a.end()
	if a = w.run("a", nil); len(a.told()) != 0 {
		t.Errorf("after a restart: %+v", a.told())
	}
}

// TestMoveEmptyAndPadded moves a daemon without events, and one that is all
// snapshot.
func TestMoveEmptyAndPadded(t *testing.T) {
	w := newWorld(t, "a", "b", "o")
	big := with(&hooks{padding: 9 << 20})
	a, b := w.run("a", big), w.run("b", big)
	o := w.orchestrator(journal.NewMemory(), nil)
	origin := a.create("d", "diary")
	w.want(o.move(origin, "a", "b"), migration.OutcomeCommitted)
	b.fill("d", lines(0, 3))
	w.want(o.move(origin, "b", "a"), migration.OutcomeCommitted)
	if got := a.read("d"); !slices.Equal(got, lines(0, 3)) {
		t.Fatalf("got %q", got)
	}
	if d := a.status("d").Daemon.(*diary); d.padding != 9<<20 {
		t.Fatalf("%d bytes of padding came", d.padding)
	}
}
