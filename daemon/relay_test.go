package daemon_test

import (
	"testing"
	"time"

	"ferry/daemon"
	"ferry/journal"
	"ferry/migration"
)

// TestThroughTheOrchestrator: source and target cannot reach each other, and
// the move goes through the orchestrator, both ways, under writers.
func TestThroughTheOrchestrator(t *testing.T) {
	w := newWorld(t, "a", "b", "o")
	soon := func(c *daemon.Config) {
		c.Kinds, c.Transport = []daemon.Kind{diaryKind(&hooks{padding: 3 << 20})}, quick
	}
	a, b := w.run("a", soon), w.run("b", soon)
	a.forget(b.plug)
	b.forget(a.plug)
	o := w.orchestrator(journal.NewMemory(), nil)
	origin := a.create("d", "diary")
	ws := newWriters()
	ws.pace = time.Millisecond
	ws.start("0", "d", a, b)
	w.want(o.move(origin, "a", "b"), migration.OutcomeCommitted)
	w.want(o.move(origin, "b", "a"), migration.OutcomeCommitted)
	ws.stop()
	ws.work.Wait()
	ws.check(t, a.read("d"))
}

// TestRelayDies: the orchestrator that carries the bytes dies when the source
// has retired. Nobody can reach the other any more, so the move waits: the
// source does not serve, and the target does not refuse. The next orchestrator
// ends it.
func TestRelayDies(t *testing.T) {
	p := point{hook: func(_ *world, _, _ *hooks, _, _, jb *journal.Memory, s *stop) { jb.FailPut(nth(2, s)) }}
	st := stageAt(t, p, func(c *daemon.Config) { c.Transport, c.Retain = quick, 300*time.Millisecond })
	// The target is about to go live; from here on they cannot reach each other.
	st.a.forget(st.b.plug)
	st.b.forget(st.a.plug)
	st.o.pull()
	left := st.jo.CrashClone(0)
	st.s.release()
	st.eventually("the target is live", func() bool { return st.b.status("d").Authority })
	if st.a.status("d").Authority {
		t.Fatal("two nodes have it")
	}
	next := st.orchestrator(left, nil)
	res := next.move(st.a.status("d").Origin, "a", "b") // what is open is settled, and is this
	st.want(res, migration.OutcomeCommitted)
	if at := st.settled(t); at != st.b {
		t.Errorf("%s has it", at.name)
	}
}
