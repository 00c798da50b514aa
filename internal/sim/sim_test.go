package sim

import (
	"bytes"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"ferry/internal/weaken"
)

func moves(t *testing.T, full int) int {
	if testing.Short() {
		return full / 8
	}
	return full
}

// check reports a run, and its first failure made small.
func checkRun(t *testing.T, r *Report) {
	t.Helper()
	var out bytes.Buffer
	if err := r.Print(&out); err != nil {
		t.Fatal(err)
	}
	t.Log("\n" + out.String())
	if len(r.Failures) == 0 {
		return
	}
	small := Shrink(r.Failures[0], 400)
	t.Errorf("%v\nshrunk:\n%s%v", r.Failures[0], small.Trace, small.Violation)
}

// The same moves each time: what breaks here was broken by the last change.
func TestFixedSeed(t *testing.T) {
	r := Run(Options{Seed: 1, Moves: moves(t, 2400), Workers: 2})
	checkRun(t, r)
	if r.Deputies == 0 || r.Cleaned == 0 {
		t.Errorf("%d moves by their sources, %d of them retired: the world has none", r.Deputies, r.Cleaned)
	}
	if r.MedianChunks() < 8 || r.MedianEvents() < 20 || r.MedianFaults() < 3 {
		t.Errorf("a median move has %d chunks, %d events, %d faults: the world is too easy",
			r.MedianChunks(), r.MedianEvents(), r.MedianFaults())
	}
}

// Other moves each time. The seed is printed: go run ./internal/sim/cmd/sim -seed N runs them again.
func TestFreshSeed(t *testing.T) {
	seed := rand.Uint64() >> 1
	t.Logf("seed %d", seed)
	checkRun(t, Run(Options{Seed: seed, Moves: moves(t, 1500), Workers: 2}))
}

// A seed is a run: the same world step by step, whoever runs beside it.
func TestSameSeedSameRun(t *testing.T) {
	for n := range uint64(20) {
		cfg := Config{Seed: EpisodeSeed(7, n), Trace: true}
		a, fa := episode(cfg)
		b, fb := episode(cfg)
		if fa != nil || fb != nil {
			t.Fatal(fa, fb)
		}
		if a.trace.String() != b.trace.String() || a.steps != b.steps || a.hits != b.hits {
			t.Fatalf("episode %d was not the same twice", cfg.Seed)
		}
	}
}

// The simulator sees what is hidden from an author: a daemon of the kit's users that forgets, or is not deterministic.
func TestBrokenDaemons(t *testing.T) {
	for name, open := range map[string]func(bool) (Daemon, error){
		"forgets a field in Restore": func(bool) (Daemon, error) { return &forgetful{}, nil },
		"is not deterministic":       func(bool) (Daemon, error) { return &moody{}, nil },
	} {
		factory := Ledger()
		factory.Open = open
		r := Run(Options{Seed: 1, Moves: 1000, Config: Config{Factory: factory}})
		if len(r.Failures) == 0 {
			t.Errorf("a daemon that %s passes", name)
			continue
		}
		t.Logf("a daemon that %s: %v", name, r.Failures[0].Violation)
		if v := r.Failures[0].Violation.Name; v != "daemon" && v != "twin" {
			t.Errorf("a daemon that %s is caught by %s", name, v)
		}
	}
}

type forgetful struct{ ledger }

func (d *forgetful) Restore(s State) error {
	err := d.ledger.Restore(s)
	d.slots[3] = 0
	return err
}

var moods atomic.Uint64

type moody struct{ ledger }

func (d *moody) Apply(events []Event) error {
	err := d.ledger.Apply(events)
	d.slots[5] += moods.Add(1)
	return err
}

// Every step of the simulator is one that the TLA+ model allows, and every action of the model is taken.
func TestStepsAreTheModels(t *testing.T) {
	actions := map[string]uint64{}
	for n := range uint64(moves(t, 100)) {
		w, failure := episode(Config{Seed: EpisodeSeed(3, n), Model: true})
		if failure != nil {
			t.Fatal(failure)
		}
		for name, n := range w.model.actions {
			actions[name] += n
		}
	}
	t.Log(actions)
	for _, name := range []string{
		"Begin", "TakeSnapshot", "Freeze", "Thaw", "Retire", "Abort", "Reinstate", "Release", "Prepare", "RefusePrepare",
		"Restore", "Replay", "Ack", "GoLive", "Drop", "Forget",
	} {
		if actions[name] == 0 && !testing.Short() {
			t.Errorf("no step was the model's %s", name)
		}
	}
}

// The model is no rubber stamp: it does not allow what a rule forbids.
func TestModelRefuses(t *testing.T) {
	for _, rule := range []weaken.Rule{weaken.AbortAfterRetire, weaken.DropAfterAck} {
		caught := map[string]int{}
		for n := range uint64(80) {
			if _, failure := episode(Config{Seed: EpisodeSeed(5, n), Model: true, Weak: weaken.Of(rule)}); failure != nil {
				caught[failure.Violation.Name]++
			}
		}
		if t.Log(rule, caught); caught["model"] == 0 {
			t.Errorf("with %v turned off the model allows every step", rule)
		}
	}
}
