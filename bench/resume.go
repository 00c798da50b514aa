package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"ferry/examples/kv"
	"ferry/internal/path"
	"ferry/proto0500"
)

// resumeConfig: what travels a second time, after a cut and on the way back.
type resumeConfig struct {
	CutBytes  int64   `json:"cut_bytes"`
	CutAt     float64 `json:"cut_at"` // share of the state that the target has
	CutRounds int     `json:"cut_rounds"`
	// CutRate holds the move back, so that it is cut where it is meant to be; bytes a second.
	CutRate uint64 `json:"cut_rate"`

	BackBytes  int64   `json:"back_bytes"` // of a kv store
	Rewritten  float64 `json:"rewritten"`  // share of its keys
	BackRounds int     `json:"back_rounds"`
}

func newResume(quick bool) runner {
	if quick {
		return resumeConfig{CutBytes: 64 << 20, CutAt: 0.9, CutRounds: 1, CutRate: 40e6, BackBytes: 64 << 20, Rewritten: 0.01, BackRounds: 1}
	}
	return resumeConfig{CutBytes: 1 << 30, CutAt: 0.9, CutRounds: 3, CutRate: 150e6, BackBytes: 1 << 30, Rewritten: 0.01, BackRounds: 3}
}

func (c resumeConfig) run(ctx context.Context, out *Result, log *progress) error {
	if err := c.cut(ctx, out, log); err != nil {
		return err
	}
	return c.back(ctx, out, log)
}

func (c resumeConfig) cut(ctx context.Context, out *Result, log *progress) error {
	var again, took []float64
	why := ""
	for round := range c.CutRounds {
		share, wait, err := c.cutOnce(ctx, stateSpec{Bytes: c.CutBytes, Seed: uint64(round)})
		log.say("cut %d/%d: %.2f%% travelled again; %v", round+1, c.CutRounds, share, err)
		if err != nil {
			why = err.Error()
			break
		}
		again, took = append(again, share), append(took, wait.Seconds())
	}
	name := fmt.Sprintf("a cut of %v at %.0f%% of %s", silence, 100*c.CutAt, mib(float64(c.CutBytes)))
	if why != "" {
		out.Figures = append(out.Figures, missing(name+": bytes that travel again", "%", atMost(3), why))
		return nil
	}
	out.Figures = append(out.Figures,
		worst(name+": bytes that travel again", "%", atMost(3), again),
		figure(name+": from the path's return to the move's end", "s", nil, took))
	return nil
}

// cutOnce gives the share of the state that travelled twice, in per cent, and how long the move took after the cut.
func (c resumeConfig) cutOnce(ctx context.Context, state stateSpec) (share float64, wait time.Duration, err error) {
	w, err := startWorld(ctx, worldConfig{dir: tmpfs(), link: &path.Link{}})
	defer func() { err = errors.Join(err, w.stop()) }()
	if err != nil {
		return 0, 0, err
	}
	if err := w.create(0, "file", fileKind, state); err != nil {
		return 0, 0, err
	}
	h, err := w.begin(ctx, "file", 0, c.CutRate)
	if err != nil {
		return 0, 0, err
	}
	move := watchMove(h)
	if err := move.moving(ctx, uint64(c.CutAt*float64(state.Bytes))); err != nil {
		return 0, 0, err
	}
	w.cut()
	err = move.during(ctx, silence)
	w.heal()
	healed := time.Now()
	if err != nil && !errors.Is(err, errEnded) { // its end says why
		return 0, 0, err
	}
	m, err := move.end(ctx)
	if err != nil {
		return 100, 0, err
	}
	if state := m.Last.Source[proto0500.CounterStateBytes]; state != uint64(c.CutBytes) {
		return 0, 0, fmt.Errorf("%d bytes of state were moved, not %d", state, c.CutBytes)
	}
	return 100 * (float64(move.wire())/float64(state.Bytes) - 1), m.Ended.Sub(healed), nil
}

// back moves a kv store to and fro, with some of it rewritten at each stay.
func (c resumeConfig) back(ctx context.Context, out *Result, log *progress) (err error) {
	w, err := startWorld(ctx, worldConfig{})
	defer func() { err = errors.Join(err, w.stop()) }()
	if err != nil {
		return err
	}
	const name = "orders"
	if err := w.create(0, name, kvKind, stateSpec{Bytes: c.BackBytes, Seed: 1}); err != nil {
		return err
	}
	if err := w.serve(name); err != nil {
		return err
	}
	client, err := kv.NewClient(nil, w.nodes[0].HTTP, w.nodes[1].HTTP)
	if err != nil {
		return err
	}
	defer client.CloseIdle()
	keys := int(c.BackBytes / kvValueBytes)
	rewritten := max(int(c.Rewritten*float64(keys)), 1)
	if _, err := w.move(ctx, name, 0, 0); err != nil {
		return err
	}
	var sent [2][]float64 // by what was rewritten, in per cent of the state
	for n := range 2 * c.BackRounds {
		from := (n + 1) % 2 // where it is
		random := n%2 == 1
		for i := range rewritten {
			key := (keys/2 + i) % keys
			if random {
				key = rand.IntN(keys)
			}
			if err := rewrite(ctx, client, key); err != nil {
				return err
			}
		}
		m, err := w.move(ctx, name, from, 0)
		if err != nil {
			return err
		}
		share := 100 * float64(m.Last.Source[proto0500.CounterBytesWire]) / float64(m.Last.Source[proto0500.CounterStateBytes])
		sent[n%2] = append(sent[n%2], share)
		log.say("back %d/%d, random keys %v: %.2f%% sent, in %.1f s", n+1, 2*c.BackRounds, random, share, m.transfer().Seconds)
	}
	what := fmt.Sprintf("straight back, %s, %s%% of the keys rewritten", mib(float64(c.BackBytes)), number(100*c.Rewritten))
	out.Figures = append(out.Figures,
		worst(what+" in one range: share that is sent", "%", atMost(5), sent[0]),
		worst(what+" at random: share that is sent", "%", nil, sent[1]))
	return nil
}

// kvValueBytes is what examples/kv fills a key with.
const kvValueBytes = 64 << 10

// rewrite gives a key of the fill another value.
func rewrite(ctx context.Context, client *kv.Client, key int) error {
	value := make([]byte, kvValueBytes)
	for i := 0; i < len(value); i += 8 {
		binary.LittleEndian.PutUint64(value[i:], rand.Uint64())
	}
	ctx, cancel := context.WithTimeout(ctx, writeDeadline)
	defer cancel()
	_, err := client.Put(ctx, fmt.Appendf(nil, "fill/%08d", key), value)
	return err
}
