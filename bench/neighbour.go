package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"ferry/internal/path"
	"ferry/migration"
)

// neighbourConfig: what a transfer does to those beside it, and whether a rate limit holds. The daemon is a file with the
// host's log, on the disk of TMPDIR; source, target, writers and their disk share one machine here.
type neighbourConfig struct {
	Bytes        int64         `json:"bytes"`
	Rounds       int           `json:"rounds"`
	Limit        uint64        `json:"limit"`         // bytes a second, in the limited rounds
	LimitedBytes int64         `json:"limited_bytes"` // of state in these
	Writes       writesConfig  `json:"writes"`
	Calm         time.Duration `json:"calm_ns"` // before a transfer

	HeldLimit  uint64        `json:"held_limit"` // of the move that is cut, and let go at the end
	HeldBytes  int64         `json:"held_bytes"`
	HeldWindow time.Duration `json:"held_window_ns"`
	HeldRounds int           `json:"held_rounds"`
}

func newNeighbour(quick bool) runner {
	c := neighbourConfig{
		Bytes: 1 << 30, Rounds: 5, Limit: 50e6, LimitedBytes: 512 << 20,
		Writes: writesConfig{Rate: 2000, Clients: 64, Bytes: 100}, Calm: 3 * time.Second,
		HeldLimit: 20e6, HeldBytes: 512 << 20, HeldWindow: 5 * time.Second, HeldRounds: 3,
	}
	if quick {
		c.Bytes, c.Rounds, c.LimitedBytes, c.Calm = 128<<20, 1, 128<<20, time.Second
		c.HeldBytes, c.HeldWindow, c.HeldRounds = 160<<20, 2*time.Second, 1
	}
	return c
}

func (c neighbourConfig) run(ctx context.Context, out *Result, log *progress) error {
	if err := c.beside(ctx, out, log); err != nil {
		return err
	}
	return c.held(ctx, out, log)
}

// besideSeen is one transfer, as those beside it see it.
type besideSeen struct {
	lost    float64 // per cent of the writers' rate
	control latency // round trips
	idle    latency // round trips before it, under the same writes
	felt    latency // of writes
	rate    float64 // of the transfer, MB/s
}

// beside measures writers and control messages beside transfers with and without a limit, in turn.
func (c neighbourConfig) beside(ctx context.Context, out *Result, log *progress) (err error) {
	w, err := startWorld(ctx, worldConfig{})
	defer func() { err = errors.Join(err, w.stop()) }()
	if err != nil {
		return err
	}
	var free, limited []besideSeen
	for round := range c.Rounds {
		for _, lim := range []struct {
			rate  uint64
			bytes int64
			into  *[]besideSeen
		}{{0, c.Bytes, &free}, {c.Limit, c.LimitedBytes, &limited}} {
			s, err := c.once(ctx, w, fmt.Sprintf("file-%d-%d", round, lim.rate), stateSpec{Bytes: lim.bytes, Seed: uint64(round)}, lim.rate)
			if err != nil {
				return err
			}
			*lim.into = append(*lim.into, s)
			log.say("round %d/%d, limit %d MB/s: %.0f MB/s, writers lose %.1f%%, control p99 %.1f ms", round+1, c.Rounds, lim.rate/1e6,
				s.rate, s.lost, s.control.P99)
		}
	}
	limit := fmt.Sprintf("limited to %d MB/s", c.Limit/1e6)
	lost := func(s besideSeen) float64 { return s.lost }
	p50 := func(s besideSeen) float64 { return s.control.P50 }
	p99 := func(s besideSeen) float64 { return s.control.P99 }
	idle99 := func(s besideSeen) float64 { return s.idle.P99 }
	feltP50 := func(s besideSeen) float64 { return s.felt.P50 }
	feltP99 := func(s besideSeen) float64 { return s.felt.P99 }
	rate := func(s besideSeen) float64 { return s.rate }
	during := "during a transfer of " + mib(float64(c.Bytes))
	out.Figures = append(out.Figures,
		figure("control round trip "+during+": p99", "ms", atMost(20), each(free, p99)),
		figure("control round trip "+during+": p50", "ms", nil, each(free, p50)),
		figure("control round trip "+limit+": p99", "ms", nil, each(limited, p99)),
		figure("control round trip while nothing moves: p99", "ms", nil, each(free, idle99)),
		figure(fmt.Sprintf("rate that %d writes/s lose %s, no limit", c.Writes.Rate, during), "%", atMost(30), each(free, lost)),
		figure(fmt.Sprintf("rate that %d writes/s lose during a transfer %s", c.Writes.Rate, limit), "%", atMost(5), each(limited, lost)),
		figure("what a write felt "+during+", no limit: p50", "ms", nil, each(free, feltP50)),
		figure("what a write felt "+during+", no limit: p99", "ms", nil, each(free, feltP99)),
		figure("what a write felt "+limit+": p50", "ms", nil, each(limited, feltP50)),
		figure("what a write felt "+limit+": p99", "ms", nil, each(limited, feltP99)),
		figure("the transfer's throughput, writers beside it, no limit", "MB/s", nil, each(free, rate)),
		figure("the transfer's throughput, writers beside it, "+limit, "MB/s", nil, each(limited, rate)),
	)
	return nil
}

// once moves a new daemon, under writes.
func (c neighbourConfig) once(ctx context.Context, w *world, name string, state stateSpec, limit uint64) (s besideSeen, err error) {
	if err := w.create(0, name, loggedKind, state); err != nil {
		return s, err
	}
	writers, err := w.startWriters(ctx, name, c.Writes)
	defer func() { err = errors.Join(err, writers.stop(), w.trim()) }()
	if err != nil {
		return s, err
	}
	if err := pause(ctx, time.Second); err != nil { // connections, caches
		return s, err
	}
	calm := time.Now()
	idle, err := w.pinged(func() error { return pause(ctx, c.Calm) })
	if err != nil {
		return s, err
	}
	begun := time.Now()
	var m moved
	control, err := w.pinged(func() error {
		h, err := w.begin(ctx, name, 0, limit)
		if err == nil {
			m, err = watchMove(h).end(ctx)
		}
		return err
	})
	if err != nil {
		return s, err
	}
	before, err1 := writers.seen(calm, begun)
	during, err2 := writers.seen(m.at(migration.PhaseSnapshot), m.at(migration.PhaseReplay))
	s = besideSeen{lost: 100 * (1 - during.PerSecond/before.PerSecond), control: control, idle: idle, felt: during.Latency, rate: m.transfer().rate()}
	return s, errors.Join(err1, err2)
}

// pinged is how long control messages from source to target take while do runs.
func (w *world) pinged(do func() error) (latency, error) {
	if _, err := w.hosts[0].ask(order{Do: "ping", Peers: w.nodes[1:]}); err != nil {
		return latency{}, err
	}
	err := do()
	r, perr := w.hosts[0].ask(order{Do: "pinged"})
	return r.Latency, errors.Join(err, perr)
}

// silence is how long a cut lasts: longer than the connections do.
const silence = 7 * time.Second

// held measures a limit from the start, when it is lifted, and, in another move, after a cut in the middle.
func (c neighbourConfig) held(ctx context.Context, out *Result, log *progress) error {
	var off, lifted, offAgain []float64
	deviation := func(rate float64) float64 { return 100 * math.Abs(rate/float64(c.HeldLimit)-1) }
	why := ""
	for round := range c.HeldRounds {
		state := stateSpec{Bytes: c.HeldBytes, Seed: uint64(round)}
		rate, after, err := c.heldOnce(ctx, state, func(move *watched, _ *world) error { return move.h.SetRate(ctx, 0) })
		if err != nil {
			return err
		}
		off, lifted = append(off, deviation(rate)), append(lifted, after/float64(c.HeldLimit))
		log.say("round %d/%d: %.1f MB/s, lifted %.1f", round+1, c.HeldRounds, rate/1e6, after/1e6)
		if why != "" {
			continue
		}
		rate, after, err = c.heldOnce(ctx, state, func(move *watched, w *world) error {
			w.cut()
			err := move.during(ctx, silence)
			w.heal()
			now, _ := move.h.Progress()
			if err != nil {
				return err
			}
			return move.movingAfter(ctx, now)
		})
		off = append(off, deviation(rate))
		if err != nil {
			why = err.Error()
			continue
		}
		offAgain = append(offAgain, deviation(after))
		log.say("round %d/%d: %.1f MB/s, after a cut %.1f", round+1, c.HeldRounds, rate/1e6, after/1e6)
	}
	limit := fmt.Sprintf("a limit of %d MB/s", c.HeldLimit/1e6)
	resumed := worst(limit+", after a cut and a resume: how far off", "%", atMost(10), offAgain)
	if why != "" {
		resumed = missing(resumed.Name, resumed.Unit, resumed.Bound, why)
	}
	out.Figures = append(out.Figures, worst(limit+": how far off", "%", atMost(10), off), resumed,
		figure(limit+", lifted on the running move: throughput / the limit", "×", atLeast(2, 0), lifted))
	return nil
}

// heldOnce moves a daemon at the limit, and tells how fast it goes before and after what happens to it.
func (c neighbourConfig) heldOnce(ctx context.Context, state stateSpec, happens func(*watched, *world) error) (before, after float64, err error) {
	w, err := startWorld(ctx, worldConfig{dir: tmpfs(), link: &path.Link{}})
	defer func() { err = errors.Join(err, w.stop()) }()
	if err != nil {
		return 0, 0, err
	}
	if err := w.create(0, "held", fileKind, state); err != nil {
		return 0, 0, err
	}
	h, err := w.begin(ctx, "held", 0, c.HeldLimit)
	if err != nil {
		return 0, 0, err
	}
	move := watchMove(h)
	err = move.moving(ctx, 0)
	if err == nil {
		before, err = move.speed(ctx, c.HeldWindow)
	}
	if err == nil {
		err = happens(move, w)
	}
	if err == nil {
		after, err = move.speed(ctx, c.HeldWindow)
	}
	if err != nil && !errors.Is(err, errEnded) {
		return before, after, err
	}
	_ = h.SetRate(ctx, 0) // what is left need not take long; nothing may be
	_, why := move.end(ctx)
	return before, after, errors.Join(err, why)
}
