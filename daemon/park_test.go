package daemon_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"ferry/daemon"
	"ferry/journal"
	"ferry/migration"
	"ferry/proto0500"
)

type answer struct {
	seq proto0500.Seq
	err error
}

func (n *node) writeLater(ctx context.Context, name, line string) <-chan answer {
	c := make(chan answer, 1)
	go func() {
		seq, err := n.Write(ctx, name, []byte(line))
		c <- answer{seq, err}
	}()
	return c
}

// TestWritesAreParked: while the source is frozen, and at a target that is not
// live yet, writes wait; given up they were not accepted.
func TestWritesAreParked(t *testing.T) {
	w := newWorld(t, "a", "b", "o")
	stuck := newStop()
	dst := new(hooks)
	dst.on("digest", stuck.here) // the target has everything, and has not said so
	a, b := w.run("a", func(c *daemon.Config) { c.BlackoutMax = patience }), w.run("b", with(dst))
	o := w.orchestrator(journal.NewMemory(), nil)
	origin := a.create("d", "diary")
	a.fill("d", lines(0, 3))
	h := o.begin(origin, "a", "b")
	stuck.wait(t)
	ctx, giveUp := context.WithCancelCause(context.Background())
	over := errors.New("over")
	lost := []<-chan answer{a.writeLater(ctx, "d", "given up"), b.writeLater(ctx, "d", "given up")}
	waiting := b.writeLater(context.Background(), "d", "waits")
	moved := a.writeLater(context.Background(), "d", "comes too late here")
	for _, c := range append(lost, waiting, moved) {
		select {
		case got := <-c:
			t.Fatalf("a write was answered: %+v", got)
		case <-time.After(20 * time.Millisecond):
		}
	}
	giveUp(over)
	for _, c := range lost {
		if got := <-c; !errors.Is(got.err, over) {
			t.Errorf("given up: %+v", got)
		}
	}
	stuck.release()
	w.want(w.wait(h), migration.OutcomeCommitted)
	if got := <-waiting; got.err != nil || got.seq != 4 {
		t.Errorf("the write that waited: %+v", got)
	}
	if m, ok := errors.AsType[*daemon.MovedError]((<-moved).err); !ok || m.Target != w.id("b") || m.Epoch != 1 {
		t.Errorf("the write at the old owner: %v", m)
	}
	if got := b.read("d"); len(got) != 4 || got[3] != "waits" {
		t.Errorf("the target has %q", got)
	}
}

// TestBlackoutIsBounded: a target that does not acknowledge in time lets the
// source serve on; the next try succeeds.
func TestBlackoutIsBounded(t *testing.T) {
	w := newWorld(t, "a", "b", "o")
	stuck := newStop()
	dst := new(hooks)
	dst.on("digest", stuck.here)
	a, b := w.run("a", func(c *daemon.Config) { c.BlackoutMax = 50 * time.Millisecond }), w.run("b", with(dst))
	o := w.orchestrator(journal.NewMemory(), nil)
	origin := a.create("d", "diary")
	a.fill("d", lines(0, 3))
	h := o.begin(origin, "a", "b")
	stuck.wait(t)
	if seq := a.write("d", []byte("after the thaw")); seq != 4 {
		t.Errorf("seq %d", seq)
	}
	stuck.release()
	w.want(w.wait(h), migration.OutcomeCommitted)
	if got := b.read("d"); len(got) != 4 {
		t.Errorf("the target has %q", got)
	}
}
