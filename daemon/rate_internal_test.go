package daemon

import (
	"context"
	"errors"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// lanesOf sends frames of some bytes over lanes of m until ctx ends, and counts
// what has passed.
type lanesOf struct {
	work sync.WaitGroup
	mu   sync.Mutex
	sent int
}

func (l *lanesOf) start(ctx context.Context, m *pacedMove, lanes, bytes int) {
	for range lanes {
		l.work.Go(func() {
			for m.wait(ctx, bytes) == nil {
				l.mu.Lock()
				l.sent += bytes
				l.mu.Unlock()
			}
		})
	}
}

func (l *lanesOf) bytes() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sent
}

func near(t *testing.T, what string, got, want, within float64) {
	t.Helper()
	if math.Abs(got-want) > within*want {
		t.Errorf("%s: %.0f, want %.0f within %.0f %%", what, got, want, within*100)
	}
}

// TestPacerHolds: a rate holds for frames of every size, whatever the number of
// lanes, and is not spoilt by a pause.
func TestPacerHolds(t *testing.T) {
	const rate = 20e6
	for _, bytes := range []int{7000, 256 << 10, 1 << 20} {
		for _, lanes := range []int{1, 4, 16} {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				m := newPacer(0).move(rate)
				time.Sleep(time.Minute) // nothing may be saved up
				var l lanesOf
				l.start(ctx, m, lanes, bytes)
				time.Sleep(2 * time.Second)
				near(t, "in 2 s", float64(l.bytes()), 2*rate, 0.1)
				before := l.bytes()
				time.Sleep(3 * time.Second)
				near(t, "in 3 s more", float64(l.bytes()-before), 3*rate, 0.02)
				cancel()
				l.work.Wait()
			})
		}
	}
}

// TestPacerChanges: who waits is let through by the new rate at once.
func TestPacerChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		p := newPacer(0)
		m := p.move(1000)
		if err := m.wait(ctx, 1e6); err != nil { // 1,000 s are owed now
			t.Fatal(err)
		}
		passed := make(chan time.Duration, 1)
		begun := time.Now()
		go func() {
			if m.wait(ctx, 1) == nil {
				passed <- time.Since(begun)
			}
		}()
		synctest.Wait()
		m.set(100_000) // 10 s
		time.Sleep(5 * time.Second)
		p.set(1) // of all: nothing is owed there
		if len(passed) != 0 {
			t.Fatal("passed too soon")
		}
		m.set(1_000_000) // half is left, for 0.5 s
		if got := <-passed; got != 5500*time.Millisecond {
			t.Errorf("passed after %v", got)
		}
		p.set(0)
		m.set(1)
		go func() {
			begun = time.Now()
			if m.wait(ctx, 1) == nil {
				passed <- time.Since(begun)
			}
		}()
		synctest.Wait()
		m.set(0)
		if got := <-passed; got != 0 {
			t.Errorf("lifted: passed after %v", got)
		}
	})
}

// TestPacerShares: moves under one node's rate get the same, whatever the number
// of their lanes and the size of their frames, those that came late too; a
// smaller rate of its own leaves the rest to the others.
func TestPacerShares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const rate = 40e6
		ctx, cancel := context.WithCancel(t.Context())
		p := newPacer(rate)
		var few, many, small, slow lanesOf
		few.start(ctx, p.move(0), 1, 256<<10)
		many.start(ctx, p.move(0), 16, 256<<10)
		slow.start(ctx, p.move(1e6), 4, 64<<10)
		time.Sleep(10 * time.Second)
		near(t, "one lane", float64(few.bytes()), 19.5e6*10, 0.02)
		near(t, "16 lanes", float64(many.bytes()), 19.5e6*10, 0.02)
		near(t, "a rate of its own", float64(slow.bytes()), 1e6*10, 0.1)
		before := few.bytes()
		small.start(ctx, p.move(0), 4, 7000)
		time.Sleep(10 * time.Second)
		near(t, "one lane beside two", float64(few.bytes()-before), 13e6*10, 0.02)
		near(t, "small frames, late", float64(small.bytes()), 13e6*10, 0.02)
		cancel()
		for _, l := range []*lanesOf{&few, &many, &small, &slow} {
			l.work.Wait()
		}
	})
}

// TestPacerLifted: a move that its own rate has held back for long has no claim
// to what it did not send.
func TestPacerLifted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const rate = 10e6
		ctx, cancel := context.WithCancel(t.Context())
		p := newPacer(rate)
		held := p.move(1e5)
		var a, b lanesOf
		a.start(ctx, p.move(0), 2, 64<<10)
		b.start(ctx, held, 2, 64<<10)
		time.Sleep(time.Minute)
		held.set(0)
		before := a.bytes()
		time.Sleep(2 * time.Second)
		near(t, "the other, once it is lifted", float64(a.bytes()-before), rate, 0.05)
		cancel()
		a.work.Wait()
		b.work.Wait()
	})
}

// TestPacerCancelled: who waits ends with its context, and leaves nothing behind.
func TestPacerCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPacer(1)
		gone := errors.New("gone")
		ctx, cancel := context.WithCancelCause(t.Context())
		m := p.move(0)
		if err := m.wait(ctx, 1e6); err != nil {
			t.Fatal(err)
		}
		errs := make(chan error)
		for range 3 {
			go func() { errs <- m.wait(ctx, 1) }()
		}
		synctest.Wait()
		cancel(gone)
		for range 3 {
			if err := <-errs; !errors.Is(err, gone) {
				t.Errorf("ended with %v", err)
			}
		}
		if len(p.moves) != 0 || len(m.waiting) != 0 {
			t.Errorf("%d moves, %d frames still wait", len(p.moves), len(m.waiting))
		}
	})
}
