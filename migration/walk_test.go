package migration

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"ferry/frame"
	"ferry/proto0500"
)

// A random walk over the weakest network (anything sent may be delivered at any time, doubled, or never), with crashes,
// timers and orchestrators that come and go; the world holds the invariants after each step. Then everything in flight is
// lost and nobody orchestrates: it must settle (L1).
func TestRandomWalk(t *testing.T) {
	seeds := 1500
	if testing.Short() {
		seeds = 100
	}
	ends := map[string]int{}
	for seed := range seeds {
		for _, durable := range []bool{true, false} {
			walk(t, uint64(seed), durable, ends)
		}
	}
	t.Log(ends)
	for _, want := range []Outcome{OutcomeCommitted, OutcomeRolledBack, OutcomeInDoubt} {
		if ends[want.String()] == 0 {
			t.Errorf("no move of any walk ended %v: the walk does not reach enough", want)
		}
	}
}

func walk(t *testing.T, seed uint64, durable bool, ends map[string]int) {
	w := newWorld(durable, 2)
	w.trace.Reset()
	defer func() {
		if p := recover(); p != nil {
			t.Fatalf("seed %d durable=%t: %v\n%s", seed, durable, p, w.trace.String())
		}
	}()
	r := rand.New(rand.NewPCG(seed, 1))
	crashes := r.IntN(3)
	if !durable {
		crashes = min(crashes, 1)
	}
	for range 50 + r.IntN(250) {
		switch k := r.IntN(100); {
		case k < 1 && len(w.orchs) < 4:
			if o := randomDeputy(r, w); o != nil {
				w.orchestrate(o)
			}
		case k < 3 && len(w.orchs) < 4:
			w.orchestrate(randomMove(r, w))
		case k < 5:
			w.tellRandom(r)
		case k < 8:
			w.write(w.nodes[r.IntN(3)])
		case k < 9 && crashes > 0:
			crashes--
			w.crash(w.nodes[r.IntN(3)])
		case k < 15:
			w.fireRandom(r)
		case k < 16 && len(w.orchs) > 0:
			if o := w.orchs[r.IntN(len(w.orchs))]; o.result == nil {
				w.drive(o, Cancel{})
			}
		case k < 17:
			n := w.nodes[r.IntN(3)]
			peer := []proto0500.NodeID{1, 2, 3, 9}[r.IntN(4)]
			w.printf("%s loses %s\n", names(n.id), names(peer))
			w.step(n, PeerLost{Peer: peer})
		default:
			w.deliverRandom(r)
		}
	}
	for _, o := range w.orchs {
		if o.result != nil {
			ends[o.result.Outcome.String()]++
			w.truth(o)
		}
	}
	w.printf("calm\n")
	w.settle(t, seed)
}

// randomMove is a new move, or a takeover of an epoch somebody has named.
func randomMove(r *rand.Rand, w *world) *orchestrator {
	by := []proto0500.NodeID{9, 9, 8, 1, 2}[r.IntN(5)]
	for _, o := range w.orchs {
		if o.id == by {
			by = 10 + proto0500.NodeID(len(w.orchs))
		}
	}
	source := w.nodes[r.IntN(3)]
	if r.IntN(4) > 0 {
		for _, n := range w.nodes {
			if n.open {
				source = n
			}
		}
	}
	target := w.nodes[(int(source.id)+r.IntN(2))%3]
	cfg := MoveConfig{Self: by, Source: source.id, Target: target.id, Origin: testOrigin, LagMax: 1 + uint64(r.IntN(3))}
	if e := source.p.Epoch(); e > 0 && r.IntN(4) == 0 && source.p.Record().State != RecordNone {
		rec := MoveRecord{Origin: testOrigin, Source: source.id, Target: source.p.Peer(), Epoch: e}
		if rec.Target != 0 && w.pairs[e] == [2]proto0500.NodeID{rec.Source, rec.Target} {
			return &orchestrator{id: by, move: ResumeMove(cfg, rec)}
		}
	}
	return &orchestrator{id: by, move: NewMove(cfg)}
}

func (w *world) deliverRandom(r *rand.Rand) {
	if len(w.flights) == 0 {
		return
	}
	// Mostly the oldest of what is new, in order; sometimes anything.
	i := r.IntN(min(len(w.flights), 3))
	if r.IntN(4) == 0 {
		i = r.IntN(len(w.flights))
	}
	f := w.flights[i]
	if f.local != nil || r.IntN(4) > 0 {
		w.take(f.id)
	} else if r.IntN(2) == 0 {
		w.take(f.id) // to the end: it can come again later
		w.flights = append(w.flights, f)
	}
	w.deliver(f)
}

func (w *world) fireRandom(r *rand.Rand) {
	timer := Timer(1 + r.IntN(6))
	if timer >= TimerStep {
		if len(w.orchs) > 0 {
			o := w.orchs[r.IntN(len(w.orchs))]
			if e, ok := o.timers[timer]; ok && o.result == nil {
				delete(o.timers, timer)
				w.printf("%s timer %v\n", names(o.id), timer)
				w.drive(o, Fired{Timer: timer, Epoch: e})
			}
		}
		return
	}
	w.fire(w.nodes[r.IntN(3)], timer)
}

func (w *world) fire(n *node, timer Timer) {
	if e, ok := n.timers[timer]; ok {
		delete(n.timers, timer)
		w.printf("%s timer %v\n", names(n.id), timer)
		w.step(n, Fired{Timer: timer, Epoch: e})
	}
}

// truth holds a move's result against what really is.
func (w *world) truth(o *orchestrator) {
	e := o.result.Epoch
	lived := false
	for _, n := range w.nodes {
		lived = lived || n.id == o.move.cfg.Target && n.p.Record().LiveEpoch >= e
	}
	switch o.result.Outcome {
	case OutcomeCommitted, OutcomeMovedOn:
		if !lived {
			panic(fmt.Sprintf("%s says %v of epoch %d, which its target never lived", names(o.id), o.result.Outcome, e))
		}
	case OutcomeRolledBack, OutcomeRefused, OutcomePrepared:
		if e != 0 && w.yes[said{o.move.cfg.Target, e}] {
			panic(fmt.Sprintf("%s says %v of epoch %d, which its target lives", names(o.id), o.result.Outcome, e))
		}
	}
}

// settle: faults over, everything in flight lost, no orchestrator; only timers and what follows from them.
func (w *world) settle(t *testing.T, seed uint64) {
	w.flights, w.orchs = nil, nil
	for _, n := range w.nodes {
		// What a host had under way when its flights were thrown away fails, in the end by the timer.
		n.persist = 0
	}
	for range 12 {
		for _, n := range w.nodes {
			for _, timer := range []Timer{TimerAttempt, TimerAsk, TimerRetain} {
				w.fire(n, timer)
			}
		}
		for i := 0; len(w.flights) > 0 && i < 1000; i++ {
			f := w.flights[0]
			w.take(f.id)
			w.deliver(f)
		}
		if len(w.flights) > 0 {
			panic("L1: they never stop talking")
		}
	}
	authorities := 0
	for _, n := range w.nodes {
		if n.open && n.copy {
			authorities++
		}
		if w.died {
			continue
		}
		if n.p.isSource() || n.p.isTarget() || n.p.Record().State == RecordRetired {
			panic(fmt.Sprintf("L1: %s stays %v", names(n.id), n.p.State()))
		}
		if n.copy && !n.open {
			panic(fmt.Sprintf("L1: %s keeps a copy", names(n.id)))
		}
	}
	if authorities != 1 && !w.died {
		panic(fmt.Sprintf("L1: %d authorities", authorities))
	}
}

var _ = frame.Epoch(0)
