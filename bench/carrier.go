package main

import (
	"context"
	"errors"
	"fmt"
)

// carrier brings a state over once.
type carrier struct {
	name  string
	state stateSpec // the seed is another one each time, so that nothing of it is there already
	once  func(ctx context.Context, state stateSpec) (Sample, error)
}

// interleave runs every carrier once a round, after a round that does not count: windows, caches, page tables.
func interleave(ctx context.Context, carriers []carrier, rounds int, log *progress) (map[string][]Sample, error) {
	samples := make(map[string][]Sample)
	for round := range rounds + 1 {
		for i := range carriers {
			// Another one begins each round: none is always the one after the slowest.
			cr := carriers[(i+round)%len(carriers)]
			state := cr.state
			state.Seed = uint64(round*len(carriers) + i + 1)
			s, err := cr.once(ctx, state)
			if err == nil && s.Bytes < state.Bytes {
				err = fmt.Errorf("%d bytes came, not %d", s.Bytes, state.Bytes)
			}
			if err != nil {
				return samples, fmt.Errorf("%s: %w", cr.name, err)
			}
			if round > 0 {
				samples[cr.name] = append(samples[cr.name], s)
				log.say("round %d/%d  %-20s %7.1f MB/s", round, rounds, cr.name, s.rate())
			}
		}
	}
	return samples, nil
}

// mover carries a state as a daemon's, a new daemon each time.
type mover struct {
	w *world
	n int
}

func (m *mover) once(ctx context.Context, state stateSpec) (Sample, error) {
	m.n++
	name := fmt.Sprintf("bulk-%d", m.n)
	if err := m.w.create(0, name, fileKind, state); err != nil {
		return Sample{}, err
	}
	res, err := m.w.move(ctx, name, 0, 0)
	if err != nil {
		return Sample{}, err
	}
	return res.transfer(), m.w.trim()
}

// stops are what has to be stopped at the end, the last one first.
type stops []func() error

func (s *stops) add(stop func() error) { *s = append(*s, stop) }

func (s *stops) all() (err error) {
	for i := range *s {
		err = errors.Join(err, (*s)[len(*s)-1-i]())
	}
	return err
}
