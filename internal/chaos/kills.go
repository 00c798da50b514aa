//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// runKills moves the daemon to and fro, and kills one process in each move,
// which is started again at once with the same command line.
func runKills(ctx context.Context, h *harness, moves int) error {
	var tried table
	missed := 0
	for n := 1; n <= moves; n++ {
		s, r := aim(&h.rep.Kills, &tried, h.rnd)
		if h.opts.only != "" {
			s, r = h.opts.step, h.opts.role
		}
		hit, err := h.killMove(ctx, n, s, r)
		if err != nil {
			return fmt.Errorf("move %d, kill of the %v in %q: %w", n, r, s, err)
		}
		if !hit {
			missed++
		}
		h.progress(n, moves)
	}
	h.rep.Missed = missed
	return nil
}

// In one of so many moves a node is killed too while it, or another process,
// recovers from the first kill.
const (
	second      = 4
	secondAfter = 300 * time.Millisecond
)

// killAgain kills a node, whatever it is doing, and starts it again.
func (h *harness) killAgain(ctx context.Context, name string) (begun time.Time, err error) {
	if err := pause(ctx, rand.N(secondAfter)); err != nil {
		return begun, err
	}
	if err := h.w.nodes[name].kill(); err != nil {
		return begun, err
	}
	h.rep.Second++
	return time.Now(), h.w.startNode(name)
}

// killMove is one move. hit: the process was killed in it.
func (h *harness) killMove(ctx context.Context, n int, s step, r role) (hit bool, err error) {
	from, to, err := h.sides(ctx)
	if err != nil {
		return false, err
	}
	parts := [roleCount]string{from, to, "o"}
	p := points[s][h.rnd.IntN(len(points[s]))]
	if err := h.w.orders.give(parts[p.at], p.name, p.after == 0); err != nil {
		return false, err
	}
	o, err := h.w.migrate(to)
	if err != nil {
		return false, err
	}
	defer func() {
		if err != nil && !o.ended() {
			err = errors.Join(err, o.kill())
		}
	}()
	begun := time.Now()
	if h.w.orders.await(ctx, o.done) {
		if p.after > 0 {
			if err := pause(ctx, rand.N(p.after)); err != nil {
				return false, err
			}
			s = h.w.orders.passed()
		}
		victim := o
		if r != orchestrator {
			victim = h.w.nodes[parts[r]]
		}
		if hit = !victim.ended(); hit {
			if err := victim.kill(); err != nil {
				return false, err
			}
			h.rep.Kills[s][r]++
		}
		if err := h.w.orders.release(); err != nil {
			return hit, err
		}
		begun = time.Now()
		if r != orchestrator {
			if err := h.w.startNode(parts[r]); err != nil {
				return hit, err
			}
		}
		if h.rnd.IntN(second) == 0 {
			if begun, err = h.killAgain(ctx, parts[h.rnd.IntN(2)]); err != nil {
				return hit, err
			}
		}
	}
	out, reruns, err := h.w.finish(ctx, o, to)
	if err != nil {
		return hit, err
	}
	return hit, h.ended(ctx, ending{n: n, step: s, role: r, hit: hit, from: from, to: to, outcome: out, reruns: reruns, begun: begun})
}
