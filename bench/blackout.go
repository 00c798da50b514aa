package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"ferry/proto0500"
)

// blackoutConfig: how long writes wait for a move. The daemon is examples/kv, which keeps its log with its state and
// syncs every commit; it is written to over HTTP, by a process of its own, and moves back and forth on the disk of
// TMPDIR.
type blackoutConfig struct {
	Writes writesConfig    `json:"writes"`
	Main   blackoutPoint   `json:"main"`
	Sizes  []blackoutPoint `json:"sizes"` // ascending; the last is compared with the first
	Rates  []int           `json:"rates"` // of writes, in worlds of Main's size
	// RateMoves is how many moves there are at each rate.
	RateMoves int           `json:"rate_moves"`
	Settle    time.Duration `json:"settle_ns"` // between two moves
}

type blackoutPoint struct {
	Bytes int64 `json:"bytes"`
	Moves int   `json:"moves"`
}

func newBlackout(quick bool) runner {
	c := blackoutConfig{
		Writes: writesConfig{Rate: 2000, Clients: 64, Bytes: 100},
		Main:   blackoutPoint{64 << 20, 50},
		Sizes:  []blackoutPoint{{1 << 20, 10}, {16 << 20, 6}, {256 << 20, 6}, {1 << 30, 5}, {4 << 30, 4}},
		Rates:  []int{500, 1000, 4000}, RateMoves: 6, Settle: 200 * time.Millisecond,
	}
	if quick {
		c.Main, c.Sizes, c.Rates = blackoutPoint{8 << 20, 10}, []blackoutPoint{{1 << 20, 4}, {96 << 20, 4}}, nil
	}
	return c
}

// blackoutSeen is what moves of one size at one rate came to. The times are in milliseconds, one for each move.
type blackoutSeen struct {
	total []float64
	parts map[string][]float64
	fsync []float64 // part of the parts
	felt  writesSeen
	calm  writesSeen // before the first move
}

// blackoutParts follow each other. The tail is a part of the ack, and overlaps with nothing else.
var blackoutParts = []string{"freeze", "tail", "ack", "retire", "activate"}

func (c blackoutConfig) run(ctx context.Context, out *Result, log *progress) error {
	main, err := c.moves(ctx, c.Main, c.Writes.Rate, log)
	if err != nil {
		return err
	}
	what := fmt.Sprintf("blackout, %d writes/s, %d clients, %d moves, %s", c.Writes.Rate, c.Writes.Clients, c.Main.Moves, mib(float64(c.Main.Bytes)))
	p := func(list []float64, q float64) float64 { return percentile(list, q) }
	out.Figures = append(out.Figures,
		Figure{Name: what + ": p50", Unit: "ms", Bound: atMost(10), Value: p(main.total, 50), Samples: main.total},
		Figure{Name: what + ": p99", Unit: "ms", Bound: atMost(50), Value: p(main.total, 99), Samples: main.total})
	for _, part := range blackoutParts {
		out.Figures = append(out.Figures, Figure{Name: "of it " + part + ": p50", Unit: "ms", Value: p(main.parts[part], 50), Samples: main.parts[part]})
	}
	out.Figures = append(out.Figures,
		Figure{Name: "of these fsync: p50", Unit: "ms", Value: p(main.fsync, 50), Samples: main.fsync},
		Figure{Name: "of these fsync: p99", Unit: "ms", Value: p(main.fsync, 99), Samples: main.fsync})
	c.felt(out, main)
	if err := c.bySize(ctx, out, main, log); err != nil {
		return err
	}
	return c.byRate(ctx, out, main, log)
}

// felt is what each write felt, from when it was due.
func (c blackoutConfig) felt(out *Result, s blackoutSeen) {
	for _, l := range []struct {
		name string
		seen writesSeen
	}{{"over all the moves", s.felt}, {"before the first", s.calm}} {
		for _, q := range []struct {
			name  string
			value float64
		}{{"p50", l.seen.Latency.P50}, {"p99", l.seen.Latency.P99}, {"p99.9", l.seen.Latency.P999}, {"longest", l.seen.Latency.Max}} {
			out.Figures = append(out.Figures, Figure{Name: "what a write felt, " + l.name + ": " + q.name, Unit: "ms", Value: q.value})
		}
		out.Curves = append(out.Curves, Curve{
			Plot: "writes-felt", Name: l.name, Title: fmt.Sprintf("What a write felt, %d writes/s", c.Writes.Rate),
			XLabel: "one write in … felt at least", YLabel: "ms", LogX: true,
			X: curveNines[:len(l.seen.Latency.Curve)], Y: l.seen.Latency.Curve,
		})
	}
}

func (c blackoutConfig) bySize(ctx context.Context, out *Result, main blackoutSeen, log *progress) error {
	curve := Curve{Plot: "blackout-size", Name: "p50", Title: fmt.Sprintf("Blackout, %d writes/s", c.Writes.Rate), XLabel: "MiB of state", YLabel: "ms", LogX: true}
	longest := curve
	longest.Name = "longest"
	add := func(p blackoutPoint, s blackoutSeen) {
		curve.add(float64(p.Bytes>>20), median(s.total))
		longest.add(float64(p.Bytes>>20), slices.Max(s.total))
	}
	first, last := c.Sizes[0], c.Sizes[len(c.Sizes)-1]
	var ends, ownEnds [2]float64
	for _, point := range c.Sizes {
		if point.Bytes > c.Main.Bytes && len(curve.X) > 0 && curve.X[len(curve.X)-1] < float64(c.Main.Bytes>>20) {
			add(c.Main, main)
		}
		s, err := c.moves(ctx, point, c.Writes.Rate, log)
		if err != nil {
			return fmt.Errorf("%s of state: %w", mib(float64(point.Bytes)), err)
		}
		add(point, s)
		out.Figures = append(out.Figures,
			figure(fmt.Sprintf("blackout, %s: p50", mib(float64(point.Bytes))), "ms", nil, s.total),
			figure(fmt.Sprintf("of it fsync, %s: p50", mib(float64(point.Bytes))), "ms", nil, s.fsync))
		switch point {
		case first:
			ends[0], ownEnds[0] = median(s.total), median(s.own())
		case last:
			ends[1], ownEnds[1] = median(s.total), median(s.own())
		}
	}
	sizes := fmt.Sprintf("%s / %s of state", mib(float64(last.Bytes)), mib(float64(first.Bytes)))
	out.Figures = append(out.Figures,
		Figure{Name: "blackout, p50: " + sizes, Unit: "×", Bound: atMost(2), Value: ends[1] / ends[0]},
		Figure{Name: "blackout without its fsyncs, p50: " + sizes, Unit: "×", Value: ownEnds[1] / ownEnds[0]})
	out.Curves = append(out.Curves, curve, longest)
	return nil
}

func (c blackoutConfig) byRate(ctx context.Context, out *Result, main blackoutSeen, log *progress) error {
	if len(c.Rates) == 0 {
		return nil
	}
	curve := Curve{Plot: "blackout-rate", Name: "p50", Title: "Blackout, " + mib(float64(c.Main.Bytes)), XLabel: "writes/s", YLabel: "ms", LogX: true}
	rates := slices.Sorted(slices.Values(append(slices.Clone(c.Rates), c.Writes.Rate)))
	for _, rate := range rates {
		s := main
		if rate != c.Writes.Rate {
			var err error
			if s, err = c.moves(ctx, blackoutPoint{c.Main.Bytes, c.RateMoves}, rate, log); err != nil {
				out.Notes = append(out.Notes, fmt.Sprintf("at %d writes/s: %v", rate, err))
				break // this machine does not keep up with so many
			}
			out.Figures = append(out.Figures, figure(fmt.Sprintf("blackout, %d writes/s: p50", rate), "ms", nil, s.total))
		}
		curve.add(float64(rate), median(s.total))
	}
	out.Curves = append(out.Curves, curve)
	return nil
}

// moves moves a daemon back and forth under writes.
func (c blackoutConfig) moves(ctx context.Context, point blackoutPoint, rate int, log *progress) (s blackoutSeen, err error) {
	w, err := startWorld(ctx, worldConfig{})
	defer func() { err = errors.Join(err, w.stop()) }()
	if err != nil {
		return s, err
	}
	const name = "orders"
	if err := w.create(0, name, kvKind, stateSpec{Bytes: point.Bytes, Seed: 1}); err != nil {
		return s, err
	}
	offered := c.Writes
	offered.Rate = rate
	writers, err := w.startWriters(ctx, name, offered)
	defer func() { err = errors.Join(err, writers.stop()) }()
	if err != nil {
		return s, err
	}
	if err := pause(ctx, 5*c.Settle); err != nil { // connections, caches
		return s, err
	}
	calm := time.Now()
	if err := pause(ctx, time.Second); err != nil {
		return s, err
	}
	begun := time.Now()
	s.parts = make(map[string][]float64)
	for n := range point.Moves {
		m, err := w.move(ctx, name, n%2, 0)
		if err != nil {
			return s, fmt.Errorf("move %d: %w", n+1, err)
		}
		s.add(m)
		if n == 0 || (n+1)%10 == 0 {
			log.say("%s, %d writes/s, move %d/%d: blackout %.1f ms", mib(float64(point.Bytes)), rate, n+1, point.Moves, s.total[n])
		}
		if err := pause(ctx, c.Settle); err != nil {
			return s, err
		}
	}
	if s.felt, err = writers.seen(begun, time.Now()); err != nil {
		return s, err
	}
	s.calm, err = writers.seen(calm, begun)
	return s, err
}

// own is the blackout without what the disk took of it.
func (s *blackoutSeen) own() []float64 {
	list := make([]float64, len(s.total))
	for i := range list {
		list[i] = s.total[i] - s.fsync[i]
	}
	return list
}

func (s *blackoutSeen) add(m moved) {
	retire, flush, live := m.sourceMS(proto0500.CounterRetireNs), m.targetMS(proto0500.CounterFlushNs), m.targetMS(proto0500.CounterLiveNs)
	s.total = append(s.total, m.sourceMS(proto0500.CounterBlackoutNs))
	s.fsync = append(s.fsync, flush+retire+live)
	for part, took := range map[string]float64{
		"freeze": m.sourceMS(proto0500.CounterFreezeNs), "tail": m.sourceMS(proto0500.CounterTailNs),
		"ack": m.sourceMS(proto0500.CounterAckNs), "retire": retire, "activate": m.sourceMS(proto0500.CounterActivateNs),
	} {
		s.parts[part] = append(s.parts[part], took)
	}
}
