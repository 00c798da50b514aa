package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"ferry/orchestrator"
)

// memoryConfig: what a whole move costs in memory, in either process, and whether it grows with the state. The state is
// a file, never in memory; of each size there is a world of its own, so that no peak is of an earlier move.
type memoryConfig struct {
	Sizes     []int64 `json:"sizes"` // ascending
	Rounds    int     `json:"rounds"`
	Moves     int     `json:"moves"`      // at once
	MoveBytes int64   `json:"move_bytes"` // each
}

func newMemory(quick bool) runner {
	if quick {
		return memoryConfig{Sizes: []int64{16 << 20, 64 << 20, 160 << 20}, Rounds: 1, Moves: 8, MoveBytes: 16 << 20}
	}
	// The last one needs version 3 of CDS1: the older ones end at 4 GiB.
	return memoryConfig{Sizes: []int64{64 << 20, 1 << 30, 5 << 30}, Rounds: 3, Moves: 8, MoveBytes: 128 << 20}
}

// sides are the hosts of a move, by their index in a world.
var sides = [2]string{"source", "target"}

func (c memoryConfig) run(ctx context.Context, out *Result, log *progress) error {
	heap := [2]map[int64][]float64{{}, {}}
	anon := [2]map[int64][]float64{{}, {}}
	for _, size := range c.Sizes {
		for round := range c.Rounds {
			if size > 4<<30 && round > 0 {
				break // one is enough of what takes minutes
			}
			peaks, err := c.peaks(ctx, 1, size, round)
			if err != nil {
				return fmt.Errorf("%s: %w", mib(float64(size)), err)
			}
			for i, side := range sides {
				p := peaks[i]
				heap[i][size], anon[i][size] = append(heap[i][size], inMiB(p.HeapPeak)), append(anon[i][size], inMiB(p.AnonPeak))
				log.say("%s of state, %s: heap %.1f MiB, RssAnon %.1f, RssFile %.1f", mib(float64(size)), side,
					inMiB(p.HeapPeak), inMiB(p.AnonPeak), inMiB(p.FilePeak))
				if round == 0 {
					out.Figures = append(out.Figures, Figure{Name: fmt.Sprintf("peak RssFile, %s, %s of state", side, mib(float64(size))),
						Unit: "MiB", Value: inMiB(p.FilePeak)})
				}
			}
		}
	}
	// What has a bound stands first.
	files := out.Figures
	out.Figures = nil
	curves := [4]Curve{}
	for i, side := range sides {
		for _, size := range c.Sizes {
			out.Figures = append(out.Figures,
				worst(fmt.Sprintf("peak heap, %s, %s of state", side, mib(float64(size))), "MiB", atMost(32), heap[i][size]),
				worst(fmt.Sprintf("peak RssAnon, %s, %s of state", side, mib(float64(size))), "MiB", atMost(96), anon[i][size]))
			curves[i].add(float64(size>>20), slices.Max(heap[i][size]))
			curves[i+2].add(float64(size>>20), slices.Max(anon[i][size]))
		}
		curves[i].Name, curves[i+2].Name = "heap, "+side, "RssAnon, "+side
		out.Figures = append(out.Figures,
			Figure{Name: "heap, " + side + ": largest / smallest over the sizes", Unit: "×", Bound: atMost(1.3), Value: flatness(heap[i])},
			Figure{Name: "RssAnon, " + side + ": largest / smallest over the sizes", Unit: "×", Bound: atMost(1.3), Value: flatness(anon[i])})
	}
	out.Figures = append(out.Figures, files...)
	for _, curve := range curves {
		curve.Plot, curve.Title, curve.XLabel, curve.YLabel, curve.LogX = "memory", "Peak memory of a move", "MiB of state", "MiB", true
		out.Curves = append(out.Curves, curve)
	}
	return c.atOnce(ctx, out, log)
}

// flatness is the largest peak over the smallest, each the median of its size's.
func flatness(bySize map[int64][]float64) float64 {
	var peaks []float64
	for _, list := range bySize {
		peaks = append(peaks, median(list))
	}
	return slices.Max(peaks) / slices.Min(peaks)
}

// atOnce compares several moves to one target with one.
func (c memoryConfig) atOnce(ctx context.Context, out *Result, log *progress) error {
	var heap, anon [2][]float64
	for round := range c.Rounds {
		one, err := c.peaks(ctx, 1, c.MoveBytes, round)
		if err != nil {
			return err
		}
		all, err := c.peaks(ctx, c.Moves, c.MoveBytes, round)
		if err != nil {
			out.Figures = append(out.Figures, missing(fmt.Sprintf("%d moves at once: all end", c.Moves), "moves", atLeast(float64(c.Moves), 0), err.Error()))
			return nil
		}
		for i, side := range sides {
			heap[i] = append(heap[i], inMiB(all[i].HeapPeak)/inMiB(one[i].HeapPeak))
			anon[i] = append(anon[i], inMiB(all[i].AnonPeak)/max(inMiB(one[i].AnonPeak), 1))
			log.say("%d moves of %s at once, %s: heap %.1f MiB, one %.1f", c.Moves, mib(float64(c.MoveBytes)), side,
				inMiB(all[i].HeapPeak), inMiB(one[i].HeapPeak))
		}
	}
	out.Figures = append(out.Figures, Figure{Name: fmt.Sprintf("%d moves at once: all end", c.Moves), Unit: "moves",
		Value: float64(c.Moves), Bound: atLeast(float64(c.Moves), 0)})
	for i, side := range sides {
		out.Figures = append(out.Figures,
			figure(fmt.Sprintf("heap, %s: %d moves at once / one", side, c.Moves), "×", atMost(2), heap[i]),
			figure(fmt.Sprintf("RssAnon, %s: %d moves at once / one", side, c.Moves), "×", atMost(2), anon[i]))
	}
	return nil
}

// peaks moves daemons at once, between two new processes, and tells what these had at most.
func (c memoryConfig) peaks(ctx context.Context, moves int, bytes int64, seed int) (u [2]Usage, err error) {
	w, err := startWorld(ctx, worldConfig{})
	defer func() { err = errors.Join(err, w.stop()) }()
	if err != nil {
		return u, err
	}
	name := func(i int) string { return fmt.Sprintf("file-%d", i) }
	for i := range moves {
		if err := w.create(0, name(i), fileKind, stateSpec{Bytes: bytes, Seed: uint64(seed*moves + i)}); err != nil {
			return u, err
		}
	}
	if err := w.watch(); err != nil {
		return u, err
	}
	var handles []*orchestrator.Handle
	for i := range moves {
		h, err := w.begin(ctx, name(i), 0, 0)
		if err != nil {
			return u, err
		}
		handles = append(handles, h)
	}
	for i, h := range handles {
		res, err := h.Wait(ctx)
		m := moved{Result: res}
		if err := errors.Join(err, m.committed()); err != nil {
			return u, fmt.Errorf("%s: %w", name(i), err)
		}
	}
	return w.usage()
}

func inMiB(b uint64) float64 { return float64(b) / (1 << 20) }

// mib writes a size.
func mib(bytes float64) string {
	if bytes >= 1<<30 {
		return number(bytes/(1<<30)) + " GiB"
	}
	return number(bytes/(1<<20)) + " MiB"
}
