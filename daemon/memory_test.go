package daemon_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"ferry/daemon"
	"ferry/journal"
	"ferry/migration"
	"ferry/proto0500"
)

// TestInMemory: a daemon that keeps nothing on disk moves under writers, and is
// dead after its node's restart until it is created anew, at a higher epoch.
func TestInMemory(t *testing.T) {
	w := newWorld(t, "a", "b", "o")
	mem := with(&hooks{inMemory: true})
	a, b := w.run("a", mem), w.run("b", mem)
	o := w.orchestrator(journal.NewMemory(), nil)
	origin := a.create("d", "diary")
	ws := newWriters()
	ws.pace = 500 * time.Microsecond // without a disk they would be too fast for any target
	ws.start("0", "d", a, b)
	ws.start("1", "d", a, b)
	for range 3 {
		w.want(o.move(origin, "a", "b"), migration.OutcomeCommitted)
		w.want(o.move(origin, "b", "a"), migration.OutcomeCommitted)
	}
	w.want(o.move(origin, "a", "b"), migration.OutcomeCommitted)
	ws.stop()
	ws.work.Wait()
	ws.check(t, b.read("d"))
	b.end()
	b = w.run("b", mem)
	ctx := context.Background()
	if _, err := b.Write(ctx, "d", []byte("x")); !errors.Is(err, daemon.ErrNoState) {
		t.Fatalf("a write to a dead daemon: %v", err)
	}
	if res := o.move(origin, "b", "a"); res.Outcome != migration.OutcomeRefused {
		t.Errorf("a dead daemon was moved: %v", res.Outcome)
	}
	if err := a.Create(ctx, "d", "diary"); !errors.Is(err, daemon.ErrExists) {
		t.Errorf("created where it has moved away from: %v", err)
	}
	epoch := b.status("d").Epoch
	if err := b.Create(ctx, "d", "diary"); err != nil {
		t.Fatal(err)
	}
	if err := b.Create(ctx, "d", "diary"); !errors.Is(err, daemon.ErrExists) {
		t.Errorf("created twice: %v", err)
	}
	// A doubled begin of the refused move may have come since.
	if st := b.status("d"); st.Epoch <= epoch || st.Origin != origin || !st.Authority {
		t.Errorf("created anew as %+v, after epoch %d", st, epoch)
	}
	b.fill("d", lines(0, 3))
	w.want(o.move(origin, "b", "a"), migration.OutcomeCommitted)
	if got := a.read("d"); !slices.Equal(got, lines(0, 3)) {
		t.Errorf("got %q", got)
	}
}

// TestInMemoryLogFull: a target that falls behind further than the log holds
// ends the move, and no write fails for it.
func TestInMemoryLogFull(t *testing.T) {
	w := newWorld(t, "a", "b", "o")
	stuck := newStop()
	src := &hooks{inMemory: true}
	src.on("snapshot", stuck.here)
	a := w.run("a", func(c *daemon.Config) { with(src)(c); c.MemoryLogBytes = 1 << 10 })
	w.run("b", with(&hooks{inMemory: true}))
	o := w.orchestrator(journal.NewMemory(), nil)
	origin := a.create("d", "diary")
	h := o.begin(origin, "a", "b")
	stuck.wait(t)
	done := make(chan error, 1)
	go func() {
		_, err := a.Write(context.Background(), "d", make([]byte, 2<<10))
		done <- err
	}()
	stuck.release()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	res := w.wait(h)
	w.want(res, migration.OutcomeRolledBack)
	if !strings.Contains(res.Text, "log is full") {
		t.Errorf("rolled back for %q", res.Text)
	}
	a.write("d", []byte("on"))
	if n := len(a.read("d")); n != 2 {
		t.Errorf("%d events", n)
	}
	w.want(o.move(origin, "a", "b"), migration.OutcomeCommitted)
}

// TestCheckpoint: the host's log stays short, and the daemon comes back from
// the checkpoint and what follows it.
func TestCheckpoint(t *testing.T) {
	w := newWorld(t, "a", "b", "o")
	short := func(h *hooks) func(*daemon.Config) {
		return func(c *daemon.Config) { with(h)(c); c.LogBytes = 4 << 10 }
	}
	a, b := w.run("a", short(&hooks{padding: 100})), w.run("b", short(new(hooks)))
	o := w.orchestrator(journal.NewMemory(), nil)
	origin := a.create("d", "diary")
	a.fill("d", lines(0, 500))
	a.end()
	if n := len(w.checkpoints("a")); n > 2 { // the last one may have been overtaken by the end
		t.Errorf("%d checkpoints", n)
	}
	var restored int
	h := new(hooks)
	h.on("restore", func() error { restored++; return nil })
	a = w.run("a", short(h))
	if got := a.read("d"); !slices.Equal(got, lines(0, 500)) {
		t.Fatalf("%d events came back", len(got))
	}
	if restored != 1 {
		t.Error("no checkpoint was used")
	}
	// Also in a move, which holds the log, and after it.
	ws := newWriters()
	for i, l := range lines(0, 500) {
		ws.acks[proto0500.Seq(i+1)] = l
	}
	ws.start("0", "d", a, b)
	w.want(o.move(origin, "a", "b"), migration.OutcomeCommitted)
	before := ws.acked()
	w.eventually("many are written at the target", func() bool { return ws.acked() > before+300 })
	ws.stop()
	ws.work.Wait()
	b.end()
	b = w.run("b", short(new(hooks)))
	ws.check(t, b.read("d"))
	if d := b.status("d").Daemon.(*diary); d.padding != 100 {
		t.Errorf("padding %d", d.padding)
	}
}

func (w *world) checkpoints(node string) []string { return w.files(node, "*", "e*", "checkpoint-*") }

// TestDigestDiffers: a daemon that is not deterministic is caught before the
// target goes live, and the reason is told.
func TestDigestDiffers(t *testing.T) {
	w := newWorld(t, "a", "b", "o")
	src := new(hooks)
	a := w.run("a", with(src))
	b := w.run("b", func(c *daemon.Config) {
		k := diaryKind(nil)
		open := k.Open
		k.Open = func(env daemon.Env) (daemon.Daemon, error) {
			d, err := open(env)
			return moody{d.(*diary)}, err
		}
		c.Kinds = []daemon.Kind{k}
	})
	o := w.orchestrator(journal.NewMemory(), nil)
	origin := a.create("d", "diary")
	a.fill("d", lines(0, 3))
	res := o.move(origin, "a", "b")
	w.want(res, migration.OutcomeRolledBack)
	if !strings.Contains(res.Text, "Apply is not deterministic") {
		t.Errorf("rolled back for %q", res.Text)
	}
	a.write("d", []byte("on"))
	if st := b.status("d"); st.Authority || st.Daemon != nil {
		t.Errorf("the target is %+v", st)
	}
}

// moody is a diary that disagrees with others.
type moody struct{ *diary }

func (m moody) Digest() (uint64, error) { return 7, nil }

// TestBadEvent: an event that the daemon cannot apply stops it, and is not in
// the log: after a restart it goes on from before.
func TestBadEvent(t *testing.T) {
	for _, bad := range []string{"bad", "panic"} {
		t.Run(bad, func(t *testing.T) {
			w := newWorld(t, "a", "b", "o")
			a := w.run("a", nil)
			w.run("b", nil)
			o := w.orchestrator(journal.NewMemory(), nil)
			origin := a.create("d", "diary")
			a.create("other", "diary")
			a.fill("d", lines(0, 3))
			ctx := context.Background()
			if _, err := a.Write(ctx, "d", []byte(bad)); !errors.Is(err, daemon.ErrStopped) {
				t.Errorf("the bad write: %v", err)
			}
			w.eventually("it has stopped", func() bool { return !a.status("d").Authority })
			if _, err := a.Write(ctx, "d", []byte("good")); !errors.Is(err, daemon.ErrStopped) {
				t.Errorf("a write after it: %v", err)
			}
			a.write("other", []byte("good")) // the others go on
			if res := o.move(origin, "a", "b"); res.Outcome != migration.OutcomeRefused {
				t.Errorf("moved: %v", res.Outcome)
			}
			a.end()
			a = w.run("a", nil)
			a.fill("d", lines(3, 1))
			if got := a.read("d"); !slices.Equal(got, lines(0, 4)) {
				t.Errorf("got %q", got)
			}
		})
	}
}
