package daemon_test

import (
	"testing"

	"ferry/daemon"
	"ferry/journal"
	"ferry/migration"
	"ferry/orchestrator"
	"ferry/proto0500"
)

// TestResumeThroughRelay: source and target reach each other through the
// orchestrator only, which dies without a word in the transfer. The next one has
// its key and journal, takes the move up, and what has arrived is not sent again.
func TestResumeThroughRelay(t *testing.T) {
	w := newWorld(t, "a", "b", "o")
	w.idle = quickIdle
	src := &hooks{padding: paddingOfMove}
	soon := func(h *hooks) func(*daemon.Config) {
		return func(c *daemon.Config) {
			smallChunks(h)(c)
			c.Transport, c.ResumeFor = quick, patience/2
		}
	}
	a, b := w.run("a", soon(src)), w.run("b", soon(nil))
	a.forget(b.plug)
	b.forget(a.plug)
	j := journal.NewMemory()
	o := w.orchestrator(j, nil)
	origin := a.create("d", "diary")
	ws := startWriters(2, "d", a, b)
	w.eventually("the writers write", func() bool { return ws.acked() > 10 })
	h, stuck := nearlyThere(t, w, o, src, origin)
	o.pull()
	left := j.CrashClone(0)
	stuck.release()
	next := w.orchestrator(left, func(c *orchestrator.Config) { c.Transport = quick })
	open, err := next.Open()
	if err != nil || len(open) != 1 {
		t.Fatalf("%d moves are open: %v", len(open), err)
	}
	taken, err := next.TakeOver(open[0])
	if err != nil {
		t.Fatal(err)
	}
	res := w.wait(taken)
	w.want(res, migration.OutcomeCommitted)
	got := res.Last.Source
	if res.Epoch != 1 || got[proto0500.CounterResumes] == 0 || got[proto0500.CounterChunksResent] > 1 {
		t.Errorf("epoch %d, %v", res.Epoch, got)
	}
	ws.stop()
	ws.work.Wait()
	ws.check(t, b.read("d"))
	_ = h
}
