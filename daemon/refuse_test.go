package daemon_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"ferry/daemon"
	"ferry/frame"
	"ferry/identity"
	"ferry/journal"
	"ferry/migration"
	"ferry/orchestrator"
	"ferry/proto0500"
)

// TestRefused: what the target will not take is refused before a byte of state
// has moved, with the reason, and the source serves on.
func TestRefused(t *testing.T) {
	tests := []struct {
		name   string
		target func(*daemon.Config)
		source *hooks
		before func(a, b *node)
		code   proto0500.Code
		text   string
	}{
		{name: "no factory", code: proto0500.CodeFactoryNotFound,
			target: func(c *daemon.Config) { c.Kinds = []daemon.Kind{Counter} }},
		{name: "newer schema", code: proto0500.CodeStateFailed, text: "schema 1 here and cannot read 2",
			source: &hooks{schema: 2}},
		{name: "too large", code: proto0500.CodeStateFailed, text: "this node takes 1000",
			source: &hooks{padding: 2000},
			target: func(c *daemon.Config) { c.StateBytesMax = 1000 }},
		{name: "another of the name", code: proto0500.CodeStateFailed, text: `another daemon named "d"`,
			before: func(_, b *node) { b.create("d", "diary") }},
		{name: "larger than all that may come", code: proto0500.CodeStateFailed, text: "this node takes 1000 at once",
			source: &hooks{padding: 2000},
			target: func(c *daemon.Config) { c.IncomingBytesMax = 1000 }},
		{name: "larger than the disk", code: proto0500.CodeStateFailed, text: "state of 1.0 PiB, and the disk has room for ",
			source: &hooks{says: 1 << 50},
			target: func(c *daemon.Config) { c.StateBytesMax = 1 << 60 }},
		{name: "no room", code: proto0500.CodeNotReady, text: "NotReady: as many daemons are on their way here as it takes at once, 0",
			target: func(c *daemon.Config) { c.AttemptsMax = -1 }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, "a", "b", "o")
			if tt.source == nil {
				tt.source = new(hooks)
			}
			a, b := w.run("a", with(tt.source)), w.run("b", tt.target)
			o := w.orchestrator(journal.NewMemory(), nil)
			origin := a.create("d", "diary")
			if tt.before != nil {
				tt.before(a, b)
			}
			tt.source.on("snapshot", func() error { t.Error("a snapshot was taken"); return nil })
			a.fill("d", lines(0, 2))
			res := o.move(origin, "a", "b")
			w.want(res, migration.OutcomeRefused)
			if res.Reason.Code != tt.code || !strings.Contains(res.Text, tt.text) {
				t.Errorf("refused with %v: %q", res.Reason, res.Text)
			}
			a.fill("d", lines(2, 1))
			if got := a.read("d"); len(got) != 3 {
				t.Errorf("the source has %q", got)
			}
			if n := len(w.stays("b")); tt.before == nil && n != 0 {
				t.Errorf("%d stays at the target", n)
			}
		})
	}
}

// TestNotTheAuthority: begin at a node that does not have the daemon.
func TestNotTheAuthority(t *testing.T) {
	w := newWorld(t, "a", "b", "c", "o")
	a := w.run("a", nil)
	w.run("b", nil)
	w.run("c", nil)
	o := w.orchestrator(journal.NewMemory(), nil)
	origin := a.create("d", "diary")
	w.want(o.move(origin, "b", "c"), migration.OutcomeRefused) // never heard of it
	w.want(o.move(origin, "a", "b"), migration.OutcomeCommitted)
	w.want(o.move(origin, "a", "c"), migration.OutcomeRefused) // moved away
	w.want(o.move(origin, "b", "c"), migration.OutcomeCommitted)
	if _, err := o.Migrate(context.Background(), orchestrator.Move{Daemon: origin, Source: w.id("c"), Target: w.id("c")}); err == nil {
		t.Error("a move to where it is")
	}
}

// TestOldSchemaIsRead: a target that reads an older schema takes the state, and
// says from then on that it writes its own.
func TestOldSchemaIsRead(t *testing.T) {
	w := newWorld(t, "a", "b", "o")
	a := w.run("a", nil)
	newer := diaryKind(&hooks{schema: 2})
	newer.Reads = func(s uint32) bool { return s <= 2 }
	b := w.run("b", func(c *daemon.Config) { c.Kinds = []daemon.Kind{newer} })
	o := w.orchestrator(journal.NewMemory(), nil)
	origin := a.create("d", "diary")
	w.want(o.move(origin, "a", "b"), migration.OutcomeCommitted)
	b.write("d", []byte("in a new version"))
	if res := o.move(origin, "b", "a"); res.Outcome != migration.OutcomeRefused || !strings.Contains(res.Text, "cannot read 2") {
		t.Errorf("%v: %s", res.Outcome, res.Text)
	}
}

// TestDryRun leaves everything as it was.
func TestDryRun(t *testing.T) {
	w := newWorld(t, "a", "b", "o")
	a := w.run("a", nil)
	w.run("b", func(c *daemon.Config) { c.AttemptsMax = 1 })
	o := w.orchestrator(journal.NewMemory(), nil)
	origin, other := a.create("d", "diary"), a.create("other", "diary")
	for range 3 {
		h, err := o.Migrate(context.Background(), orchestrator.Move{Daemon: origin, Source: w.id("a"), Target: w.id("b"), DryRun: true})
		if err != nil {
			t.Fatal(err)
		}
		w.want(w.wait(h), migration.OutcomePrepared)
	}
	w.eventually("there is room for another", func() bool {
		return o.move(other, "a", "b").Outcome == migration.OutcomeCommitted
	})
	a.write("d", []byte("still here"))
	w.eventually("nothing is left at the target", func() bool { return len(w.stays("b")) == 1 }) // the other
	w.want(o.move(origin, "a", "b"), migration.OutcomeCommitted)
}

// TestAlreadyMigrating: of two moves of one daemon the second is refused, and
// the first goes on.
func TestAlreadyMigrating(t *testing.T) {
	w := newWorld(t, "a", "b", "c", "o", "p")
	stuck := newStop()
	src := &hooks{padding: 1 << 20}
	src.on("read", stuck.here)
	allow := func(c *daemon.Config) {
		c.Orchestrators = identity.NewAllowList(w.keys["o"].NodeID(), w.keys["p"].NodeID())
	}
	a := w.run("a", func(c *daemon.Config) { with(src)(c); allow(c) })
	w.run("b", allow)
	w.run("c", allow)
	o := w.orchestrator(journal.NewMemory(), nil)
	p := w.third("p", journal.NewMemory(), nil)
	origin := a.create("d", "diary")
	h := o.begin(origin, "a", "b")
	stuck.wait(t)
	if _, err := o.Migrate(context.Background(), orchestrator.Move{Daemon: origin, Source: w.id("a"), Target: w.id("c")}); !errors.Is(err, orchestrator.ErrBusy) {
		t.Errorf("a second move of the same orchestrator: %v", err)
	}
	res := p.move(origin, "a", "c")
	w.want(res, migration.OutcomeRefused)
	if res.Reason.Code != proto0500.CodeAlreadyMigrating {
		t.Errorf("refused with %v", res.Reason)
	}
	stuck.release()
	w.want(w.wait(h), migration.OutcomeCommitted)
}

// TestBusyTarget: a target with no room for a second daemon on its way.
func TestBusyTarget(t *testing.T) {
	w := newWorld(t, "a", "b", "o")
	stuck := newStop()
	src := new(hooks)
	src.on("read", stuck.here)
	a := w.run("a", with(src))
	w.run("b", func(c *daemon.Config) { c.AttemptsMax = 1 })
	o := w.orchestrator(journal.NewMemory(), nil)
	one, two := a.create("one", "diary"), a.create("two", "diary")
	h := o.begin(one, "a", "b")
	stuck.wait(t)
	res := o.move(two, "a", "b")
	w.want(res, migration.OutcomeRefused)
	if !res.Reason.Retriable() || !strings.Contains(res.Text, "takes at once, 1") {
		t.Errorf("refused with %v: %s", res.Reason, res.Text)
	}
	stuck.release()
	w.want(w.wait(h), migration.OutcomeCommitted)
	w.want(o.move(two, "a", "b"), migration.OutcomeCommitted) // as NotReady has said
}

// TestTwoMovesAtOnce moves two daemons over the same nodes, one each way.
func TestTwoMovesAtOnce(t *testing.T) {
	w := newWorld(t, "a", "b", "o")
	a, b := w.run("a", nil), w.run("b", nil)
	o := w.orchestrator(journal.NewMemory(), nil)
	one, two := a.create("one", "diary"), b.create("two", "diary")
	ws1, ws2 := startWriters(2, "one", a, b), startWriters(2, "two", a, b)
	h1, h2 := o.begin(one, "a", "b"), o.begin(two, "b", "a")
	w.want(w.wait(h1), migration.OutcomeCommitted)
	w.want(w.wait(h2), migration.OutcomeCommitted)
	ws1.stop()
	ws2.stop()
	ws1.work.Wait()
	ws2.work.Wait()
	ws1.check(t, b.read("one"))
	ws2.check(t, a.read("two"))
}

// TestEventTooLarge: an event that the peer does not take ends the move and
// names the limit; the event stays where it was accepted.
func TestEventTooLarge(t *testing.T) {
	w := newWorld(t, "a", "b", "o")
	stuck := newStop()
	src := new(hooks)
	src.on("snapshot", stuck.here)
	a := w.run("a", with(src))
	w.run("b", func(c *daemon.Config) {
		c.Limits = frame.Default()
		c.Limits.EventPayloadBytesMax = 1000
	})
	o := w.orchestrator(journal.NewMemory(), nil)
	origin := a.create("d", "diary")
	h := o.begin(origin, "a", "b")
	stuck.wait(t)
	written := make(chan error, 1)
	go func() {
		_, err := a.Write(context.Background(), "d", make([]byte, 1001))
		written <- err
	}()
	stuck.release()
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	res := w.wait(h)
	w.want(res, migration.OutcomeRolledBack)
	if !strings.Contains(res.Text, "1001 bytes: the target takes 1000 at most") {
		t.Errorf("rolled back for %q", res.Text)
	}
	a.write("d", []byte("on"))
	if got := a.read("d"); len(got) != 2 || len(got[0]) != 1001 {
		t.Errorf("%d events at the source", len(got))
	}
}

// TestWriteTooLarge: the host's own limit is said before the event is accepted.
func TestWriteTooLarge(t *testing.T) {
	w := newWorld(t, "a", "o")
	a := w.run("a", func(c *daemon.Config) {
		c.Limits = frame.Default()
		c.Limits.EventPayloadBytesMax = 10
	})
	a.create("d", "diary")
	_, err := a.Write(context.Background(), "d", make([]byte, 11))
	if large, ok := errors.AsType[*daemon.TooLargeError](err); !ok || large.BytesMax != 10 || large.Bytes != 11 {
		t.Errorf("got %v", err)
	}
	if seq := a.write("d", make([]byte, 10)); seq != 1 {
		t.Errorf("seq %d", seq)
	}
}
