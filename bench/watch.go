package main

import (
	"context"
	"errors"
	"maps"
	"time"

	"ferry/frame"
	"ferry/migration"
	"ferry/orchestrator"
	"ferry/proto0500"
)

// watched follows a move under way by what source and target tell of it, also when it begins anew in another epoch.
type watched struct {
	h *orchestrator.Handle
	// sent has what the source has put on the wire in each epoch, in bytes.
	sent map[frame.Epoch]uint64
}

func watchMove(h *orchestrator.Handle) *watched {
	return &watched{h: h, sent: make(map[frame.Epoch]uint64)}
}

var errEnded = errors.New("the move has ended")

// until follows the move until done says so; errEnded if the move ends first.
func (w *watched) until(ctx context.Context, done func(p orchestrator.Progress, at time.Time) bool) error {
	for {
		p, changed := w.h.Progress()
		w.sent[p.Epoch] = max(w.sent[p.Epoch], p.Source[proto0500.CounterBytesWire])
		if done(p, time.Now()) {
			return nil
		}
		select {
		case <-changed:
		case <-w.h.Done():
			return errEnded
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// wire is what the source has put on the wire, over all epochs.
func (w *watched) wire() (sum uint64) {
	for n := range maps.Values(w.sent) {
		sum += n
	}
	return sum
}

// speed is how fast the state comes in over a while, in bytes a second.
func (w *watched) speed(ctx context.Context, window time.Duration) (float64, error) {
	var from, to uint64
	var begun, last time.Time
	err := w.until(ctx, func(p orchestrator.Progress, now time.Time) bool {
		// A move that has begun anew counts from the start again.
		if n := p.Target[proto0500.CounterBytesDone]; begun.IsZero() || n < to {
			from, to, begun, last = n, n, now, now
		} else if n > to {
			to, last = n, now
		}
		return now.Sub(begun) >= window
	})
	if errors.Is(err, errEnded) { // it was faster than the window is long
		res, werr := w.h.Wait(ctx)
		m := moved{Result: res}
		to, last = m.Last.Target[proto0500.CounterBytesDone], m.at(migration.PhaseReplay)
		err = errors.Join(werr, m.committed())
	}
	if err != nil {
		return 0, err
	}
	if !last.After(begun) || to < from {
		return 0, nil
	}
	return float64(to-from) / last.Sub(begun).Seconds(), nil
}

// moving waits until the target has more than n bytes.
func (w *watched) moving(ctx context.Context, n uint64) error {
	return w.until(ctx, func(p orchestrator.Progress, _ time.Time) bool {
		return p.Target[proto0500.CounterBytesDone] > n
	})
}

// movingAfter waits until more comes in than was there at p, in the same epoch or in a later one.
func (w *watched) movingAfter(ctx context.Context, p orchestrator.Progress) error {
	return w.until(ctx, func(now orchestrator.Progress, _ time.Time) bool {
		n := now.Target[proto0500.CounterBytesDone]
		return n > p.Target[proto0500.CounterBytesDone] || now.Epoch != p.Epoch && n > 0
	})
}

// during follows the move for a while.
func (w *watched) during(ctx context.Context, d time.Duration) error {
	while, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	err := w.until(while, never)
	if ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	return err
}

func never(orchestrator.Progress, time.Time) bool { return false }

// end waits for the move's end.
func (w *watched) end(ctx context.Context) (m moved, err error) {
	err = w.until(ctx, never)
	if !errors.Is(err, errEnded) {
		return m, err
	}
	m.Result, err = w.h.Wait(ctx)
	w.sent[m.Last.Epoch] = max(w.sent[m.Last.Epoch], m.Last.Source[proto0500.CounterBytesWire])
	return m, errors.Join(err, m.committed())
}
