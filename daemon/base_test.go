package daemon_test

import (
	"os"
	"path/filepath"
	"testing"

	"ferry/daemon"
	"ferry/journal"
	"ferry/migration"
	"ferry/orchestrator"
	"ferry/proto0500"
)

// wantHeld checks how much of the state did not travel.
func wantHeld(t *testing.T, res orchestrator.Result, share float64) {
	t.Helper()
	got := res.Last.Source
	all := float64(got[proto0500.CounterStateBytes])
	if held := float64(got[proto0500.CounterBytesHeld]); held < share*all {
		t.Errorf("of %.0f bytes %.0f were there already, want %.0f %%: %v", all, held, share*100, got)
	}
	if lanes := float64(got[proto0500.CounterBytesLanes]); lanes > (1-share)*all+64<<10 {
		t.Errorf("%.0f bytes of frames went over the lanes", lanes)
	}
}

func wantNoneHeld(t *testing.T, res orchestrator.Result) {
	t.Helper()
	if n := res.Last.Source[proto0500.CounterBytesHeld]; n != 0 {
		t.Errorf("%d bytes were there already", n)
	}
}

func (w *world) bases(node string) []string { return w.files(node, "*", "base*") }

// nearlyThere begins a move that stops when all but a few chunks have arrived.
func nearlyThere(t *testing.T, w *world, o *third, src *hooks, origin proto0500.Origin) (*orchestrator.Handle, *stop) {
	stuck := newStop()
	src.on("read", nthCall(3, stuck))
	h := o.begin(origin, "a", "b")
	stuck.wait(t)
	w.progressed(h, "all chunks but one", func(src, dst orchestrator.Counters) bool {
		return src[proto0500.CounterStateBytes] > 0 && dst[proto0500.CounterBytesDone]+16<<10 >= src[proto0500.CounterStateBytes]
	})
	return h, stuck
}

// TestFailedMoveLeavesChunks: the next one sends what had not arrived.
func TestFailedMoveLeavesChunks(t *testing.T) {
	w := newWorld(t, "a", "b", "o")
	src := &hooks{padding: paddingOfMove}
	a, b := w.run("a", smallChunks(src)), w.run("b", nil)
	o := w.orchestrator(journal.NewMemory(), nil)
	origin := a.create("d", "diary")
	a.fill("d", lines(0, 5))
	h, stuck := nearlyThere(t, w, o, src, origin)
	h.Cancel()
	stuck.release()
	w.want(w.wait(h), migration.OutcomeRolledBack)
	w.eventually("the chunks are kept", func() bool { return len(w.bases("b")) == 1 && len(w.stays("b")) == 0 })
	a.fill("d", lines(5, 5))
	res := o.move(origin, "a", "b")
	w.want(res, migration.OutcomeCommitted)
	wantHeld(t, res, 0.97)
	if got := b.read("d"); len(got) != 10 {
		t.Errorf("%d events", len(got))
	}
	w.eventually("nothing is kept beside the state", func() bool { return len(w.bases("b")) == 0 && len(w.stays("b")) == 1 })
}

// TestCrashedTargetLeavesChunks: as the file of the process that was killed has
// them.
func TestCrashedTargetLeavesChunks(t *testing.T) {
	w := newWorld(t, "a", "b", "o")
	src := &hooks{padding: paddingOfMove}
	a, b := w.run("a", smallChunks(src)), w.run("b", nil)
	o := w.orchestrator(journal.NewMemory(), nil)
	origin := a.create("d", "diary")
	a.fill("d", lines(0, 5))
	h, stuck := nearlyThere(t, w, o, src, origin)
	left := filepath.Join(t.TempDir(), "b")
	if err := os.CopyFS(left, os.DirFS(filepath.Join(w.dir, "b"))); err != nil {
		t.Fatal(err)
	}
	b.end()
	stuck.release()
	w.want(w.wait(h), migration.OutcomeRolledBack)
	if err := os.RemoveAll(filepath.Join(w.dir, "b")); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(w.dir, "b"), os.DirFS(left)); err != nil {
		t.Fatal(err)
	}
	b = w.run("b", nil)
	if got := w.bases("b"); len(got) != 1 || len(w.stays("b")) != 0 {
		t.Fatalf("after the restart there is %q, and %q", got, w.stays("b"))
	}
	res := o.move(origin, "a", "b")
	w.want(res, migration.OutcomeCommitted)
	wantHeld(t, res, 0.97)
	if got := b.read("d"); len(got) != 5 {
		t.Errorf("%d events", len(got))
	}
}

// TestStayLeavesChunks: a daemon that moves back finds its earlier stay.
func TestStayLeavesChunks(t *testing.T) {
	for _, keeps := range []bool{true, false} {
		w := newWorld(t, "a", "b", "o")
		node := func(c *daemon.Config) {
			smallChunks(&hooks{padding: paddingOfMove})(c)
			if !keeps {
				c.BaseBytesMax = -1
			}
		}
		a, b := w.run("a", node), w.run("b", node)
		o := w.orchestrator(journal.NewMemory(), nil)
		origin := a.create("d", "diary")
		a.fill("d", lines(0, 5))
		res := o.move(origin, "a", "b")
		w.want(res, migration.OutcomeCommitted)
		wantNoneHeld(t, res)
		b.fill("d", lines(5, 5))
		w.want(o.move(origin, "b", "a"), migration.OutcomeCommitted) // a had no checkpoint
		w.eventually("b has let go", func() bool { return len(w.stays("b")) == 0 })
		if got := w.bases("b"); keeps != (len(got) == 1) {
			t.Fatalf("keeps: %v, %q", keeps, got)
		}
		a.fill("d", lines(10, 5))
		res = o.move(origin, "a", "b")
		w.want(res, migration.OutcomeCommitted)
		if keeps {
			wantHeld(t, res, 0.97)
		} else {
			wantNoneHeld(t, res)
		}
		if got := b.read("d"); len(got) != 15 {
			t.Errorf("%d events", len(got))
		}
	}
}

// TestBrokenBase: a base that cannot be read does not stop a move.
func TestBrokenBase(t *testing.T) {
	w := newWorld(t, "a", "b", "o")
	src := &hooks{padding: paddingOfMove}
	a := w.run("a", smallChunks(src))
	b := w.run("b", nil)
	o := w.orchestrator(journal.NewMemory(), nil)
	origin := a.create("d", "diary")
	h, stuck := nearlyThere(t, w, o, src, origin)
	h.Cancel()
	stuck.release()
	w.wait(h)
	w.eventually("the chunks are kept", func() bool { return len(w.bases("b")) == 1 })
	chunks := filepath.Join(w.bases("b")[0], "chunks")
	if err := os.Remove(chunks); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(chunks, 0o700); err != nil {
		t.Fatal(err)
	}
	res := o.move(origin, "a", "b")
	w.want(res, migration.OutcomeCommitted)
	wantNoneHeld(t, res)
	w.eventually("it is gone", func() bool { return len(w.bases("b")) == 0 })
	b.write("d", []byte("on"))
}
