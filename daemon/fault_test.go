package daemon_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"ferry/daemon"
	"ferry/journal"
	"ferry/migration"
	"ferry/orchestrator"
)

// noticedWithin is what the issue gives a source to notice that its target is
// gone.
const noticedWithin = 10 * time.Second

// TestTargetIsCutOff: the target falls silent in each part of the copy. The
// source notices within 10 s, with the defaults, and serves on with every event.
func TestTargetIsCutOff(t *testing.T) {
	for _, point := range []string{"read", "restore"} {
		t.Run(point, func(t *testing.T) {
			w := newWorld(t, "a", "b", "o")
			stuck := newStop()
			src, dst := &hooks{padding: 1 << 20}, new(hooks)
			map[string]*hooks{"read": src, "restore": dst}[point].on(point, stuck.here)
			a, b := w.run("a", with(src)), w.run("b", with(dst))
			o := w.orchestrator(journal.NewMemory(), nil)
			origin := a.create("d", "diary")
			a.fill("d", lines(0, 5))
			h := o.begin(origin, "a", "b")
			stuck.wait(t)
			cut := time.Now()
			b.pull()
			a.fill("d", lines(5, 5)) // it serves meanwhile
			if point == "read" {
				stuck.release()
			}
			res := w.wait(h)
			if took := time.Since(cut); took > noticedWithin {
				t.Errorf("noticed after %v", took)
			}
			if point == "restore" {
				stuck.release()
			}
			w.want(res, migration.OutcomeRolledBack)
			a.fill("d", lines(10, 5))
			if got := a.read("d"); len(got) != 15 || got[14] != "line 14" {
				t.Errorf("the source has %d events", len(got))
			}
			w.eventually("the target has dropped it", func() bool { return len(w.stays("b")) == 0 })
			// The target comes back as another process would, and the next move succeeds.
			b.end()
			b = w.run("b", nil)
			w.want(o.move(origin, "a", "b"), migration.OutcomeCommitted)
			if got := b.read("d"); len(got) != 15 {
				t.Errorf("the target has %d events", len(got))
			}
		})
	}
}

// TestTargetEnds: the same where the target says good-bye.
func TestTargetEnds(t *testing.T) {
	w := newWorld(t, "a", "b", "o")
	stuck := newStop()
	src := &hooks{padding: 1 << 20}
	src.on("read", stuck.here)
	a, b := w.run("a", with(src)), w.run("b", nil)
	o := w.orchestrator(journal.NewMemory(), nil)
	origin := a.create("d", "diary")
	a.fill("d", lines(0, 5))
	h := o.begin(origin, "a", "b")
	stuck.wait(t)
	b.end()
	stuck.release()
	w.want(w.wait(h), migration.OutcomeRolledBack)
	a.write("d", []byte("on"))
	if left := w.stays("b"); len(left) != 0 {
		t.Errorf("the target has left %q", left)
	}
}

// TestSourceEnds: the target drops what it has, and the source serves after its
// restart.
func TestSourceEnds(t *testing.T) {
	w := newWorld(t, "a", "b", "o")
	stuck := newStop()
	dst := new(hooks)
	dst.on("restore", stuck.here)
	a, b := w.run("a", nil), w.run("b", with(dst))
	o := w.orchestrator(journal.NewMemory(), nil)
	origin := a.create("d", "diary")
	a.fill("d", lines(0, 5))
	h := o.begin(origin, "a", "b")
	stuck.wait(t)
	a.end()
	stuck.release()
	w.eventually("the target has dropped it", func() bool { return len(w.stays("b")) == 0 })
	if _, err := b.Write(context.Background(), "d", nil); !errors.Is(err, daemon.ErrNotServing) {
		t.Errorf("a write at the target: %v", err)
	}
	a = w.run("a", nil)
	w.want(w.wait(h), migration.OutcomeRolledBack)
	a.write("d", []byte("on"))
	w.want(o.move(origin, "a", "b"), migration.OutcomeCommitted)
	if got := b.read("d"); len(got) != 6 {
		t.Errorf("the target has %d events", len(got))
	}
}

// A point of a move at which a test does something, and who is stopped there.
type point struct {
	name string
	// forward: the source has retired, so that the move only goes on.
	forward bool
	journal bool // it is the orchestrator's journal that is stuck
	hook    func(w *world, src, dst *hooks, jo, ja, jb *journal.Memory, s *stop)
}

var points = []point{
	{"begun", false, true, func(_ *world, _, _ *hooks, jo, _, _ *journal.Memory, s *stop) {
		jo.FailPut(func([]byte) error { return s.here() })
	}},
	{"prepared", false, false, func(_ *world, _, _ *hooks, _, _, jb *journal.Memory, s *stop) {
		jb.FailPut(func(k []byte) error { return onRecord(k, s) })
	}},
	{"snapshot", false, false, func(_ *world, src, _ *hooks, _, _, _ *journal.Memory, s *stop) { src.on("snapshot", s.here) }},
	{"transfer", false, false, func(_ *world, src, _ *hooks, _, _, _ *journal.Memory, s *stop) { src.on("read", s.here) }},
	{"restore", false, false, func(_ *world, _, dst *hooks, _, _, _ *journal.Memory, s *stop) { dst.on("restore", s.here) }},
	{"frozen", false, false, func(_ *world, src, _ *hooks, _, _, _ *journal.Memory, s *stop) { src.on("digest", s.here) }},
	{"sealed", false, false, func(_ *world, _, dst *hooks, _, _, _ *journal.Memory, s *stop) { dst.on("digest", s.here) }},
	{"retiring", true, false, func(_ *world, _, _ *hooks, _, ja, _ *journal.Memory, s *stop) {
		ja.FailPut(nth(2, s)) // after begin's
	}},
	{"live", true, false, func(_ *world, _, _ *hooks, _, _, jb *journal.Memory, s *stop) {
		jb.FailPut(nth(2, s)) // after prepare's
	}},
	{"committed", true, true, func(_ *world, _, _ *hooks, jo, _, _ *journal.Memory, s *stop) {
		n := 0
		jo.FailPut(func([]byte) error {
			if n++; n == 2 {
				return s.here()
			}
			return nil
		})
	}},
}

func onRecord(key []byte, s *stop) error {
	if key[0] == 'r' {
		return s.here()
	}
	return nil
}

// nth stops at the n-th write of a record.
func nth(n int, s *stop) func([]byte) error {
	seen := 0
	return func(key []byte) error {
		if key[0] != 'r' {
			return nil
		}
		if seen++; seen == n {
			return s.here()
		}
		return nil
	}
}

// stage is two nodes and an orchestrator, a daemon at a under writers, and a
// move that has come to a point.
type stage struct {
	*world
	a, b       *node
	o          *third
	jo, ja, jb *journal.Memory
	ws         *writers
	s          *stop
	h          *orchestrator.Handle
}

func stageAt(t *testing.T, p point, adjust func(*daemon.Config)) *stage {
	w := newWorld(t, "a", "b", "o")
	w.idle = quickIdle
	st := &stage{world: w, s: newStop(), jo: journal.NewMemory(), ja: journal.NewMemory(), jb: journal.NewMemory()}
	src, dst := &hooks{padding: 256 << 10}, new(hooks)
	node := func(h *hooks, j journal.Journal) func(*daemon.Config) {
		return func(c *daemon.Config) {
			with(h)(c)
			c.Journal, c.AskEvery = j, 50*time.Millisecond
			if adjust != nil {
				adjust(c)
			}
		}
	}
	st.a, st.b = w.run("a", node(src, st.ja)), w.run("b", node(dst, st.jb))
	st.o = w.orchestrator(st.jo, nil)
	origin := st.a.create("d", "diary")
	st.a.fill("d", []string{"0: 0"})
	st.ws = startWriters(2, "d", st.a, st.b)
	st.ws.mu.Lock()
	st.ws.acks[1] = "0: 0"
	st.ws.mu.Unlock()
	p.hook(w, src, dst, st.jo, st.ja, st.jb, st.s)
	st.h = st.o.begin(origin, "a", "b")
	st.s.wait(t)
	return st
}

// settled waits until one node has the daemon and nobody is in an attempt, and
// holds what it has against the writers.
func (st *stage) settled(t *testing.T) (at *node) {
	t.Helper()
	st.eventually("one node has it", func() bool {
		a, b := st.a.status("d"), st.b.status("d")
		if a.Authority && b.Authority {
			t.Fatal("two nodes have it")
		}
		at = st.a
		if b.Authority {
			at = st.b
		}
		calm := func(s daemon.Status) bool { return s.State <= 1 || s.State == 3 } // none, serving, moved
		return (a.Authority || b.Authority) && calm(a) && calm(b)
	})
	before := st.ws.acked()
	st.eventually("the writers go on", func() bool { return st.ws.acked() > before })
	st.ws.stop()
	st.ws.work.Wait()
	st.ws.check(t, at.read("d"))
	other := map[*node]string{st.a: "b", st.b: "a"}[at]
	st.eventually("nothing is left at the other", func() bool { return len(st.stays(other)) == 0 })
	if got := st.stays(at.name); len(got) != 1 {
		t.Errorf("the authority's state lies in %q", got)
	}
	return at
}

// TestCancel at each point of a move: it ends rolled back until the source has
// retired, and committed from then on.
func TestCancel(t *testing.T) {
	for _, p := range points {
		t.Run(p.name, func(t *testing.T) {
			st := stageAt(t, p, nil)
			st.h.Cancel()
			st.s.release()
			res := st.wait(st.h)
			at := st.settled(t)
			want := migration.OutcomeRolledBack
			if at == st.b {
				want = migration.OutcomeCommitted
			}
			st.want(res, want)
			if p.forward && at != st.b {
				t.Error("the source had retired, and has it again")
			}
			if early := p.name == "snapshot" || p.name == "transfer" || p.name == "restore"; early && at != st.a {
				t.Error("the move was not cancelled")
			}
		})
	}
}

// TestOrchestratorDies at each point, without a word. Source and target end the
// move by themselves, and another orchestrator can move the daemon.
func TestOrchestratorDies(t *testing.T) {
	for _, p := range points {
		t.Run(p.name, func(t *testing.T) {
			st := stageAt(t, p, func(c *daemon.Config) { c.Transport, c.Retain = quick, 300*time.Millisecond })
			st.o.pull()
			if p.journal { // its own, which cannot be cloned while it is stuck
				st.s.release()
			}
			left := st.jo.CrashClone(0)
			if !p.journal {
				st.s.release()
			}
			at := st.settled(t)
			if p.forward && at != st.b {
				t.Error("the source had retired, and has it again")
			}
			// Its record knows of the move: the next start settles it first.
			next := st.orchestrator(left, nil)
			to := map[*node]string{st.a: "b", st.b: "a"}[at]
			st.want(next.move(at.status("d").Origin, at.name, to), migration.OutcomeCommitted)
		})
	}
}

// TestDaemonFails: whatever of the author's code fails, the source serves on,
// and the reason is told.
func TestDaemonFails(t *testing.T) {
	broken := func() error { return errors.New("out of ink") }
	panics := func() error { panic("out of paper") }
	tests := []struct {
		at   string // "a" or "b"
		hook string
		f    func() error
		text string
	}{
		{"a", "snapshot", broken, "Snapshot: out of ink"},
		{"a", "read", broken, "out of ink"},
		{"a", "read", panics, "Snapshot.ReadAt panicked: out of paper"},
		{"a", "digest", broken, "Digest: out of ink"},
		{"b", "open", broken, "Open: out of ink"},
		{"b", "restore", broken, "Restore: out of ink"},
		{"b", "restore", panics, "Restore panicked: out of paper"},
		{"b", "digest", broken, "Digest: out of ink"},
		{"b", "apply", broken, "Apply: out of ink"},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.at, " ", tt.hook, " ", tt.text), func(t *testing.T) {
			w := newWorld(t, "a", "b", "o")
			src, dst := new(hooks), new(hooks)
			a := w.run("a", with(src))
			w.run("b", with(dst))
			o := w.orchestrator(journal.NewMemory(), nil)
			origin := a.create("d", "diary")
			a.fill("d", lines(0, 3))
			if tt.hook == "apply" { // an event that comes after the snapshot
				src.on("read", func() error { a.write("d", []byte("late")); src.on("read", nil); return nil })
			}
			map[string]*hooks{"a": src, "b": dst}[tt.at].on(tt.hook, tt.f)
			res := o.move(origin, "a", "b")
			w.want(res, migration.OutcomeRolledBack)
			if !strings.Contains(res.Text, tt.text) {
				t.Errorf("rolled back for %q", res.Text)
			}
			a.write("d", []byte("on"))
			w.eventually("the target has dropped it", func() bool { return len(w.stays("b")) == 0 })
			// And the failure ends with the attempt.
			src.on(tt.hook, nil)
			dst.on(tt.hook, nil)
			w.want(o.move(origin, "a", "b"), migration.OutcomeCommitted)
		})
	}
}
