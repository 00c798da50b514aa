package daemon_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"ferry/daemon"
	"ferry/journal"
	"ferry/migration"
	"ferry/orchestrator"
	"ferry/proto0500"
)

// cutOff breaks every session between two nodes, as a middle box does that
// forgets them: both live on, and can reach each other again at once.
func (w *world) cutOff(n *node, other string) {
	w.t.Helper()
	live := n.Endpoint().LiveAll(w.keys[other].NodeID())
	if len(live) == 0 {
		w.t.Fatalf("%s has no session with %s", n.name, other)
	}
	for _, s := range live {
		s.Close(errors.New("cut off by the test"))
		<-s.Done()
	}
}

// progressed waits until a side of a move has counted something.
func (w *world) progressed(h *orchestrator.Handle, what string, ok func(src, dst orchestrator.Counters) bool) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		p, changed := h.Progress()
		if ok(p.Source, p.Target) {
			return
		}
		select {
		case <-changed:
		case <-h.Done():
			w.t.Fatalf("the move has ended before %s: %+v", what, p)
		case <-ctx.Done():
			w.t.Fatalf("not so: %s: %+v", what, p)
		}
	}
}

// smallChunks makes a transfer of many chunks out of a small state.
func smallChunks(h *hooks) func(*daemon.Config) {
	return func(c *daemon.Config) {
		with(h)(c)
		c.ChunkBytes = 16 << 10
	}
}

// chunksOfMove is how many chunks the state of these tests has, about.
const paddingOfMove = 4 << 20

// nthCall is a hook that stops at its n-th call, and only that one.
func nthCall(n int64, s *stop) func() error {
	var calls atomic.Int64
	return func() error {
		if calls.Add(1) != n {
			return nil
		}
		return s.here()
	}
}

// TestResume: the session of source and target breaks in each part of a move,
// and the move goes on in the same epoch, with what has not arrived.
func TestResume(t *testing.T) {
	inFlight := func(t *testing.T, h *orchestrator.Handle, w *world) {
		// All but the chunk that the source is stuck at.
		w.progressed(h, "all chunks but one", func(src, dst orchestrator.Counters) bool {
			return dst[proto0500.CounterBytesDone]+16<<10 >= src[proto0500.CounterStateBytes] && src[proto0500.CounterStateBytes] > 0
		})
	}
	tests := []struct {
		name   string
		on     string // a hook of
		at     string // this node, where the move stops
		first  bool   // at its first call; else at the third, and others go on
		wait   func(t *testing.T, h *orchestrator.Handle, w *world)
		resent uint64 // chunks at most: the one that the lane may be writing to a dying stream
	}{
		{name: "the first chunk", on: "read", at: "a", resent: 1 << 20},
		{name: "the last chunk", on: "read", at: "a", wait: inFlight, resent: 1},
		{name: "restore", on: "restore", at: "b", first: true},
		{name: "replay", on: "apply", at: "b"},
		{name: "seal", on: "digest", at: "b", first: true},
	}
	for _, tt := range tests {
		for _, closes := range []string{"a", "b"} {
			t.Run(tt.name+", closed by "+closes, func(t *testing.T) {
				w := newWorld(t, "a", "b", "o")
				src, dst := &hooks{padding: paddingOfMove}, new(hooks)
				a, b := w.run("a", smallChunks(src)), w.run("b", smallChunks(dst))
				o := w.orchestrator(journal.NewMemory(), nil)
				origin := a.create("d", "diary")
				ws := startWriters(2, "d", a, b)
				w.eventually("the writers write", func() bool { return ws.acked() > 10 })
				stuck := newStop()
				map[string]*hooks{"a": src, "b": dst}[tt.at].on(tt.on, nthCall(map[bool]int64{true: 1, false: 3}[tt.first], stuck))
				h := o.begin(origin, "a", "b")
				stuck.wait(t)
				if tt.wait != nil {
					tt.wait(t, h, w)
				}
				if closes == "a" {
					w.cutOff(a, "b")
				} else {
					w.cutOff(b, "a")
				}
				stuck.release()
				res := w.wait(h)
				w.want(res, migration.OutcomeCommitted)
				if res.Epoch != 1 {
					t.Errorf("in epoch %d", res.Epoch)
				}
				ws.stop()
				ws.work.Wait()
				ws.check(t, b.read("d"))
				got := res.Last.Source
				// The ack of the seal finds a way of its own.
				if got[proto0500.CounterResumes] == 0 && tt.on != "digest" {
					t.Error("nothing was taken up")
				}
				if n := got[proto0500.CounterChunksResent]; n > tt.resent {
					t.Errorf("%d chunks were sent again", n)
				}
				// Counted once, however often they were sent.
				if n := got[proto0500.CounterBytesDone]; n < paddingOfMove || n > got[proto0500.CounterStateBytes]+4096 {
					t.Errorf("%d bytes are done, of a state of %d", n, got[proto0500.CounterStateBytes])
				}
			})
		}
	}
}

// TestResumeBeforeStatus: the path goes silent after the snapshot was announced,
// until the session is lost, and comes back.
func TestResumeBeforeStatus(t *testing.T) {
	w := newWorld(t, "a", "b", "o")
	w.idle = quickIdle
	src := &hooks{padding: paddingOfMove}
	soon := func(c *daemon.Config) { smallChunks(src)(c); c.Transport = quick }
	a, b := w.run("a", soon), w.run("b", soon)
	o := w.orchestrator(journal.NewMemory(), nil)
	origin := a.create("d", "diary")
	a.fill("d", lines(0, 5))
	stuck := newStop()
	src.on("snapshot", stuck.here)
	h := o.begin(origin, "a", "b")
	stuck.wait(t)
	sess, err := a.Endpoint().Session(context.Background(), w.keys["b"].NodeID())
	if err != nil {
		t.Fatal(err)
	}
	a.forget(b.plug)
	stuck.release()
	a.fill("d", lines(5, 5))
	<-sess.Done()
	a.remember(b.plug)
	res := w.wait(h)
	w.want(res, migration.OutcomeCommitted)
	if got := res.Last.Source; res.Epoch != 1 || got[proto0500.CounterResumes] == 0 || got[proto0500.CounterChunksResent] != 0 {
		t.Errorf("epoch %d, %v", res.Epoch, got)
	}
	if got := b.read("d"); len(got) != 10 {
		t.Errorf("the target has %d events", len(got))
	}
}

// TestResumeAgainAndAgain: as often as anything arrives between two losses.
func TestResumeAgainAndAgain(t *testing.T) {
	w := newWorld(t, "a", "b", "o")
	src := &hooks{padding: paddingOfMove}
	a, b := w.run("a", smallChunks(src)), w.run("b", nil)
	o := w.orchestrator(journal.NewMemory(), nil)
	origin := a.create("d", "diary")
	ws := startWriters(2, "d", a, b)
	w.eventually("the writers write", func() bool { return ws.acked() > 10 })
	var reads atomic.Int64
	cut := make(chan struct{})
	src.on("read", func() error {
		if reads.Add(1)%40 == 0 {
			cut <- struct{}{}
		}
		return nil
	})
	h := o.begin(origin, "a", "b")
	cuts := 0
	for done := false; !done; {
		select {
		case <-cut:
			cuts++
			for _, s := range a.Endpoint().LiveAll(w.keys["b"].NodeID()) {
				s.Close(errors.New("cut off by the test"))
			}
		case <-h.Done():
			done = true
		}
	}
	res := w.wait(h)
	w.want(res, migration.OutcomeCommitted)
	got := res.Last.Source
	if res.Epoch != 1 || cuts < 5 || got[proto0500.CounterResumes] < 3 {
		t.Errorf("epoch %d, %d cuts, %v", res.Epoch, cuts, got)
	}
	t.Logf("%d cuts, %d resumes, %d of %d chunks sent again", cuts, got[proto0500.CounterResumes],
		got[proto0500.CounterChunksResent], got[proto0500.CounterStateBytes]>>14)
	ws.stop()
	ws.work.Wait()
	ws.check(t, b.read("d"))
}

// TestTargetRestarts in the transfer: what it had is gone, which the source
// learns from the new process and not by waiting.
func TestTargetRestarts(t *testing.T) {
	w := newWorld(t, "a", "b", "o")
	w.idle = quickIdle
	src := &hooks{padding: paddingOfMove}
	soon := func(h *hooks) func(*daemon.Config) {
		return func(c *daemon.Config) {
			smallChunks(h)(c)
			c.Transport, c.ResumeFor = quick, patience
		}
	}
	a, b := w.run("a", soon(src)), w.run("b", soon(nil))
	o := w.orchestrator(journal.NewMemory(), nil)
	origin := a.create("d", "diary")
	a.fill("d", lines(0, 5))
	stuck := newStop()
	src.on("read", nthCall(3, stuck))
	h := o.begin(origin, "a", "b")
	stuck.wait(t)
	b.pull() // it dies without a word
	b.end()
	w.run("b", soon(nil))
	stuck.release()
	res := w.wait(h)
	w.want(res, migration.OutcomeRolledBack)
	if !strings.Contains(res.Text, "restarted") {
		t.Errorf("rolled back for %q", res.Text)
	}
	a.write("d", []byte("on"))
	w.want(o.move(origin, "a", "b"), migration.OutcomeCommitted)
}
