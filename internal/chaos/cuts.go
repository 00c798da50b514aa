//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// cut is a fault of the links in one move.
type cut struct {
	name string
	make func(l *links, s, t string)
	// whole: it is there before the move begins, and goes on until it has ended.
	// Otherwise it comes at an aimed step, and lasts for a while.
	whole bool
}

var cuts = []cut{
	{"source | target", func(l *links, s, t string) { l.both(s, t) }, false},
	{"source → target silent", func(l *links, s, t string) { l.set(s, t, weather{silent: true}) }, false},
	{"target → source silent", func(l *links, s, t string) { l.set(t, s, weather{silent: true}) }, false},
	{"orchestrator | source", func(l *links, s, t string) { l.both("o", s) }, false},
	{"orchestrator | target", func(l *links, s, t string) { l.both("o", t) }, false},
	{"orchestrator → both silent", func(l *links, s, t string) {
		l.set("o", s, weather{silent: true})
		l.set("o", t, weather{silent: true})
	}, false},
	{"source alone", func(l *links, s, t string) { l.both(s, t); l.both(s, "o") }, false},
	{"target alone", func(l *links, s, t string) { l.both(t, s); l.both(t, "o") }, false},
	{"all alone", func(l *links, s, t string) { l.all(weather{silent: true}) }, false},
	{"10% lost", func(l *links, s, t string) { l.all(weather{loss: 0.1}) }, true},
	{"30 ms each way", func(l *links, s, t string) { l.all(weather{delay: 30 * time.Millisecond}) }, true},
	{"reordered and doubled", func(l *links, s, t string) { l.all(weather{jitter: 20 * time.Millisecond, twice: 0.1}) }, true},
}

func (l *links) both(x, y string) {
	l.set(x, y, weather{silent: true})
	l.set(y, x, weather{silent: true})
}

// silences are how long a path says nothing. The last is longer than a
// connection lives without a word.
var silences = []time.Duration{300 * time.Millisecond, time.Second, 3 * time.Second, 12 * time.Second}

// runCuts moves the daemon to and fro over links that fail.
func runCuts(ctx context.Context, h *harness, moves int) error {
	var tried table
	for n := 1; n <= moves; n++ {
		s, _ := aim(&tried, &tried, h.rnd)
		c := cuts[(n-1)%len(cuts)]
		if err := h.cutMove(ctx, n, s, c); err != nil {
			return fmt.Errorf("move %d, %s in %q: %w", n, c.name, s, err)
		}
		h.progress(n, moves)
	}
	return nil
}

func (h *harness) cutMove(ctx context.Context, n int, s step, c cut) (err error) {
	defer h.links.heal()
	from, to, err := h.sides(ctx)
	if err != nil {
		return err
	}
	parts := [roleCount]string{from, to, "o"}
	p := points[s][h.rnd.IntN(len(points[s]))]
	if c.whole {
		err = h.w.orders.clear()
		c.make(h.links, from, to)
	} else {
		err = h.w.orders.give(parts[p.at], p.name, true)
	}
	if err != nil {
		return err
	}
	begun := time.Now()
	o, err := h.w.migrate(to)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil && !o.ended() {
			err = errors.Join(err, o.kill())
		}
	}()
	if !c.whole && h.w.orders.await(ctx, o.done) {
		c.make(h.links, from, to)
		if err := h.w.orders.release(); err != nil {
			return err
		}
		lasts := silences[h.rnd.IntN(len(silences))]
		if err := pause(ctx, lasts); err != nil {
			return err
		}
		h.links.heal()
		begun = time.Now()
		if h.opts.verbose {
			fmt.Fprintf(h.stderr, "%4d %q was silent for %v\n", n, s, lasts)
		}
	}
	out, reruns, err := h.w.finish(ctx, o, to)
	if err != nil {
		return err
	}
	h.links.heal()
	return h.ended(ctx, ending{n: n, step: s, what: c.name, from: from, to: to, outcome: out, reruns: reruns, begun: begun})
}
