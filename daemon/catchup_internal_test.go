package daemon

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ferry/proto0500"
)

// race plays writers that offer so many events a second against a target that
// replays so many, in tenths of a second, from a lag on.
type race struct {
	offered, replays float64
	late             float64 // seconds after which the target has what was accepted
	lag              float64
}

// run gives how many seconds it took until the target was near, -1: it never
// was, and the lowest and the last limit.
func (r race) run(behind Behind, seconds int) (near, lowest, last float64, err error) {
	c := catchUp{behind: behind, window: time.Second}
	accepted, replayed := 1e6+r.lag, 1e6
	near = -1
	var sent []float64 // accepted, as the target knows it
	for i := range 10 * seconds {
		at := float64(i) / 10
		if err := c.observe(time.Unix(0, 0).Add(time.Duration(i)*100*time.Millisecond), proto0500.Seq(accepted), proto0500.Seq(replayed)); err != nil {
			return near, lowest, c.limit(), err
		}
		limit := c.limit()
		if limit > 0 && (lowest == 0 || limit < lowest) {
			lowest = limit
		}
		if near < 0 && accepted-replayed <= lagNear {
			near = at
		}
		rate := r.offered
		if limit > 0 {
			rate = min(rate, limit)
		}
		accepted += rate / 10
		sent = append(sent, accepted-rate*r.late)
		replayed = max(min(replayed+r.replays/10, sent[i]), replayed)
	}
	return near, lowest, c.limit(), nil
}

func TestCatchUp(t *testing.T) {
	for _, tt := range []struct {
		name   string
		race   race
		near   float64 // seconds at most; 0: never
		slowed bool
	}{
		{"a target that is faster", race{offered: 2000, replays: 20000, lag: 50000}, 4, false},
		{"a little faster, far behind", race{offered: 2000, replays: 2400, lag: 10000}, 26, false},
		{"slower", race{offered: 2000, replays: 500, lag: 5000}, 40, true},
		{"as fast as the writers", race{offered: 2000, replays: 2000, lag: 5000}, 20, true},
		{"very slow", race{offered: 2000, replays: 40, lag: 500}, 150, true},
		{"far behind, and slower", race{offered: 2000, replays: 1000, lag: 100_000}, 300, true},
		{"never behind, but far away", race{offered: 5000, replays: 1e6, late: 0.02}, 30, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			near, lowest, last, err := tt.race.run(SlowWriters, 400)
			if err != nil {
				t.Fatalf("given up: %v", err)
			}
			if near < 0 || near > tt.near {
				t.Errorf("near after %.1f s, want %.0f at most", near, tt.near)
			}
			if (lowest > 0) != tt.slowed {
				t.Errorf("the lowest limit was %.0f events a second", lowest)
			}
			if last > 0 && last < writeRateMin {
				t.Errorf("the last limit is %.1f", last)
			}
		})
	}
}

// TestCatchUpGivesBack: a target that is near, and is not cut over to, does not
// hold writers back for ever.
func TestCatchUpGivesBack(t *testing.T) {
	c := catchUp{window: time.Second, step: 3, replay: 100}
	at := time.Unix(0, 0)
	for i := range 5 {
		if err := c.observe(at.Add(time.Duration(i)*time.Second), 1000, 990); err != nil {
			t.Fatal(err)
		}
	}
	if c.limit() != 0 {
		t.Errorf("a limit of %.0f is left", c.limit())
	}
}

func TestCatchUpGivesUp(t *testing.T) {
	for _, tt := range []struct {
		name   string
		behind Behind
		race   race
		want   bool
		slowed bool
	}{
		{"slower", GiveUp, race{offered: 2000, replays: 500, lag: 5000}, true, false},
		{"as fast as the writers", GiveUp, race{offered: 2000, replays: 2000, lag: 5000}, true, false},
		{"faster", GiveUp, race{offered: 2000, replays: 2100, lag: 5000}, false, false},
		{"stands still, writers slowed", SlowWriters, race{offered: 2000, replays: 0, lag: 100}, true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, lowest, _, err := tt.race.run(tt.behind, 60)
			if tt.behind == GiveUp && lowest > 0 {
				t.Errorf("writers were held back to %.0f", lowest)
			}
			e, ok := errors.AsType[*ConvergeError](err)
			if ok != tt.want {
				t.Fatalf("got %v", err)
			}
			if !ok {
				return
			}
			if e.Slowed != tt.slowed || e.Replayed != tt.race.replays || !tt.slowed && e.Written != tt.race.offered || e.Lag == 0 {
				t.Errorf("got %+v", e)
			}
			if text := e.Error(); !strings.HasPrefix(text, "does not converge: ") || strings.Contains(text, "slowed") != tt.slowed {
				t.Errorf("says %q", text)
			}
		})
	}
}

// TestWriterSlows: a rate holds over many batches, no batch waits longer than a
// rest, and a freeze waits for none.
func TestWriterSlows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var most int
		w := newWriter(memReplica(&tally{apply: func(e []Event) error { most = max(most, len(e)); return nil }}), 100, time.Now)
		go w.run()
		defer w.stop()
		write := func(n int) time.Duration {
			begun := time.Now()
			var work sync.WaitGroup
			for range n {
				work.Go(func() {
					if _, err := w.write(context.Background(), []byte("x")); err != nil {
						t.Error(err)
					}
				})
			}
			work.Wait()
			return time.Since(begun)
		}
		w.slow(200)
		if took := write(401); took < 1900*time.Millisecond || took > 2100*time.Millisecond {
			t.Errorf("400 events at 200 a second took %v", took)
		}
		if most > 10 {
			t.Errorf("a batch of %d events", most)
		}
		begun := time.Now()
		w.do(func() {}) // the writer rests
		if took := time.Since(begun); took != 0 {
			t.Errorf("it took %v until something could be done between two batches", took)
		}
		w.slow(1) // less than one batch a rest
		if took := write(10); took > 11*restMax {
			t.Errorf("10 events took %v", took)
		}
		w.slow(0)
		write(1)
		if took := write(1000); took != 0 {
			t.Errorf("1000 events without a limit took %v", took)
		}
	})
}
