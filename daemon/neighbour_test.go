package daemon_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"ferry/daemon"
	"ferry/identity"
	"ferry/journal"
	"ferry/migration"
	"ferry/orchestrator"
	"ferry/proto0500"
)

// limited begins a move with a rate limit.
func (th *third) limited(origin proto0500.Origin, from, to string, rate uint64) *orchestrator.Handle {
	th.w.t.Helper()
	h, err := th.Migrate(context.Background(), orchestrator.Move{
		Daemon: origin, Source: th.w.id(from), Target: th.w.id(to), RateLimit: rate,
	})
	if err != nil {
		th.w.t.Fatal(err)
	}
	return h
}

// counted waits until the source has counted as much.
func (w *world) counted(h *orchestrator.Handle, c proto0500.Counter, least uint64) {
	w.t.Helper()
	for {
		p, changed := h.Progress()
		if p.Source[c] >= least {
			return
		}
		select {
		case <-changed:
		case <-h.Done():
			w.t.Fatalf("the move has ended, and %v is %d, not %d", c, p.Source[c], least)
		case <-time.After(patience):
			w.t.Fatalf("%v is %d, not %d", c, p.Source[c], least)
		}
	}
}

// TestRateLimit: a limit holds from the first chunk on, leaves events alone, and
// is changed and lifted on the running move.
func TestRateLimit(t *testing.T) {
	const chunk = 64 << 10
	w := newWorld(t, "a", "b", "o")
	a, b := w.run("a", func(c *daemon.Config) {
		with(&hooks{padding: 16 << 20})(c)
		c.ChunkBytes = chunk
	}), w.run("b", nil)
	o := w.orchestrator(journal.NewMemory(), nil)
	origin := a.create("d", "diary")
	begun := time.Now()
	h := o.limited(origin, "a", "b", daemon.RateLimitMin)
	w.counted(h, proto0500.CounterRateLimit, daemon.RateLimitMin)
	w.counted(h, proto0500.CounterBytesDone, 1) // the limit was there before it
	a.fill("d", lines(0, 10))
	w.counted(h, proto0500.CounterEventsSent, 10)

	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	const faster = 4 << 20
	p, _ := h.Progress()
	// Whatever the machine does, it is no more than this.
	if most := daemon.RateLimitMin*time.Since(begun).Seconds() + 3*chunk; float64(p.Source[proto0500.CounterBytesDone]) > most {
		t.Errorf("%d bytes were sent, the limit allows for %.0f", p.Source[proto0500.CounterBytesDone], most)
	}
	if err := h.SetRate(ctx, faster); err != nil {
		t.Fatal(err)
	}
	w.counted(h, proto0500.CounterRateLimit, faster)
	w.counted(h, proto0500.CounterBytesDone, 1<<20) // 16 s at the first limit
	if err := o.Pace(ctx, identity.NodeID(w.id("a")), origin, p.Epoch, 0); err != nil {
		t.Fatal(err)
	}
	w.want(w.wait(h), migration.OutcomeCommitted)
	if got := b.read("d"); len(got) != 10 {
		t.Errorf("%d events at the target", len(got))
	}
	if err := h.SetRate(ctx, faster); err == nil || !strings.Contains(err.Error(), "WrongState") {
		t.Errorf("a limit for a move that is over: %v", err)
	}
}

// TestRateLimitAfterResume: a connection that broke changes nothing about the
// limit, and it can be lifted afterwards.
func TestRateLimitAfterResume(t *testing.T) {
	const limit = 128 << 10
	w := newWorld(t, "a", "b", "o")
	a := w.run("a", smallChunks(&hooks{padding: paddingOfMove}))
	w.run("b", nil)
	o := w.orchestrator(journal.NewMemory(), nil)
	origin := a.create("d", "diary")
	begun := time.Now()
	h := o.limited(origin, "a", "b", limit)
	for range 3 {
		p, _ := h.Progress()
		w.counted(h, proto0500.CounterBytesWire, p.Source[proto0500.CounterBytesWire]+64<<10)
		w.cutOff(a, "b")
	}
	p, _ := h.Progress()
	w.counted(h, proto0500.CounterBytesWire, p.Source[proto0500.CounterBytesWire]+64<<10)
	p, _ = h.Progress()
	if most := limit*time.Since(begun).Seconds() + 128<<10; float64(p.Source[proto0500.CounterBytesWire]) > most {
		t.Errorf("%d bytes were sent, the limit allows for %.0f", p.Source[proto0500.CounterBytesWire], most)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := h.SetRate(ctx, 0); err != nil {
		t.Fatal(err)
	}
	res := w.wait(h)
	w.want(res, migration.OutcomeCommitted)
	if res.Epoch != p.Epoch || res.Epoch != 1 {
		t.Errorf("ended in epoch %d", res.Epoch)
	}
}

// TestPaceRefused: a limit is taken from who may orchestrate, for the attempt
// that is running, and changes nothing otherwise.
func TestPaceRefused(t *testing.T) {
	w := newWorld(t, "a", "b", "o", "p", "q")
	a := w.run("a", func(c *daemon.Config) {
		with(&hooks{padding: 8 << 20})(c)
		c.ChunkBytes = 64 << 10
		c.Orchestrators = identity.NewAllowList(w.keys["o"].NodeID(), w.keys["p"].NodeID())
	})
	w.run("b", nil)
	o, p, q := w.orchestrator(journal.NewMemory(), nil), w.third("p", journal.NewMemory(), nil), w.third("q", journal.NewMemory(), nil)
	origin := a.create("d", "diary")
	idle := a.create("idle", "diary")
	h := o.limited(origin, "a", "b", daemon.RateLimitMin)
	w.counted(h, proto0500.CounterRateLimit, daemon.RateLimitMin)
	now, _ := h.Progress()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	src, e := identity.NodeID(w.id("a")), now.Epoch
	tests := []struct {
		name string
		err  error
		want string
	}{
		{"not allowed to orchestrate", q.Pace(ctx, src, origin, e, 0), "WrongPeer"},
		{"an epoch that is past", p.Pace(ctx, src, origin, e-1, 0), "StaleEpoch"},
		{"an epoch to come", p.Pace(ctx, src, origin, e+1, 0), "WrongState"},
		{"too low", p.Pace(ctx, src, origin, e, daemon.RateLimitMin-1), "Malformed"},
		{"no move", p.Pace(ctx, src, idle, 0, 0), "WrongState"},
		{"at the target", o.Pace(ctx, identity.NodeID(w.id("b")), origin, e, 0), "WrongState"},
		{"a daemon never heard of", p.Pace(ctx, src, 7, e, 0), "UnknownDaemon"},
	}
	for _, tt := range tests {
		if tt.err == nil || !strings.Contains(tt.err.Error(), tt.want) {
			t.Errorf("%s: %v, want %s", tt.name, tt.err, tt.want)
		}
	}
	if now, _ = h.Progress(); now.Source[proto0500.CounterRateLimit] != daemon.RateLimitMin {
		t.Errorf("the limit is %d", now.Source[proto0500.CounterRateLimit])
	}
	if err := p.Pace(ctx, src, origin, e, 0); err != nil { // it need not be its own move
		t.Fatal(err)
	}
	w.want(w.wait(h), migration.OutcomeCommitted)
}

// TestMovesShare: of eight moves under one node's limit none gets less than half
// of what it should, and once the limit is lifted all end.
func TestMovesShare(t *testing.T) {
	const chunk, moves = 16 << 10, 8
	w := newWorld(t, "a", "b", "c", "o")
	a := w.run("a", func(c *daemon.Config) {
		with(&hooks{padding: 4 << 20})(c)
		c.ChunkBytes, c.RateLimit = chunk, 1<<20
	})
	targets := []*node{w.run("b", nil), w.run("c", nil)}
	o := w.orchestrator(journal.NewMemory(), nil)
	var handles []*orchestrator.Handle
	for i := range moves {
		handles = append(handles, o.begin(a.create(fmt.Sprint(i), "diary"), "a", targets[i%2].name))
	}
	sent := func() (list []uint64, sum, least uint64) {
		for i, h := range handles {
			p, _ := h.Progress()
			n := p.Source[proto0500.CounterBytesDone] / chunk
			if list = append(list, n); i == 0 || n < least {
				least = n
			}
			sum += n
		}
		return list, sum, least
	}
	w.eventually("all are sending", func() bool { _, _, least := sent(); return least > 0 })
	before, from, _ := sent()
	var after []uint64
	var to uint64
	w.eventually("they get on", func() bool { after, to, _ = sent(); return to >= from+moves*12 })
	for i := range handles {
		if got, mean := after[i]-before[i], (to-from)/moves; 2*got < mean {
			t.Errorf("move %d has sent %d chunks, the mean is %d: %d, then %d", i, got, mean, before, after)
		}
	}
	if err := a.SetRateLimit(0); err != nil {
		t.Fatal(err)
	}
	for _, h := range handles {
		w.want(w.wait(h), migration.OutcomeCommitted)
	}
	if a.SetRateLimit(1) == nil {
		t.Error("a limit of 1 was taken")
	}
}

// TestEightAtOnce: eight moves to one target, from one source and from several,
// all end, under writers.
func TestEightAtOnce(t *testing.T) {
	names := []string{"t", "o", "a", "b", "c", "d"}
	for _, sources := range []int{1, 4} {
		t.Run(fmt.Sprint(sources), func(t *testing.T) {
			w := newWorld(t, names[:2+sources]...)
			target := w.run("t", nil)
			o := w.orchestrator(journal.NewMemory(), nil)
			var nodes []*node
			for _, name := range names[2 : 2+sources] {
				nodes = append(nodes, w.run(name, with(&hooks{padding: 1 << 20})))
			}
			var handles []*orchestrator.Handle
			var all []*writers
			for i := range 8 {
				from, name := nodes[i%sources], fmt.Sprint("d", i)
				origin := from.create(name, "diary")
				all = append(all, startWriters(1, name, from, target))
				handles = append(handles, o.begin(origin, from.name, "t"))
			}
			for _, h := range handles {
				w.want(w.wait(h), migration.OutcomeCommitted)
			}
			for i, ws := range all {
				ws.stop()
				ws.work.Wait()
				ws.check(t, target.read(fmt.Sprint("d", i)))
			}
		})
	}
}
