package sim

import (
	"errors"
	"slices"

	"ferry/frame"
	"ferry/migration"
	"ferry/proto0500"
)

// orchestrator is one that drives one move.
type orchestrator struct {
	w      *world
	d      *dom
	id     proto0500.NodeID
	cfg    migration.MoveConfig
	move   migration.Move
	deputy *migration.Deputy // whose move is move, at its source; nil: it orchestrates itself
	timers [7]armed
	rec    migration.MoveRecord // its journal
	result *migration.Result
	dead   bool
	stats  *moveStats
	fx     []migration.MoveEffect
}

// moveStats is what is counted of one move.
type moveStats struct {
	epoch                           frame.Epoch
	chunks, shipped, events, faults int
}

func (o *orchestrator) open() bool { return o.result == nil && !o.dead }

func (o *orchestrator) place() place {
	return placeOrchestrator + place(slices.Index(doing[:], o.move.Doing()))
}

var doing = [...]string{
	"begin", "prepare", "copy", "replay", "lag", "cutover", "activate", "release", "cancel", "reinstate", "askSource", "askTarget",
}

// orchestratorOf is the one for whom a frame is.
func (w *world) orchestratorOf(f *flight) *orchestrator {
	for _, o := range w.orchs {
		if o.id == f.to && o.d.i == f.dom && o.open() {
			return o
		}
	}
	return nil
}

func (w *world) moveAt(d *dom, e frame.Epoch) *moveStats {
	for _, o := range w.orchs {
		if o.d == d && o.stats.epoch == e && o.open() {
			return o.stats
		}
	}
	return nil
}

// free is an orchestrator's id that has no move of the daemon under way.
func (w *world) free(d *dom) (proto0500.NodeID, bool) {
	id := firstOrchestrator + proto0500.NodeID(w.rng.IntN(4))
	if w.nodesMay && w.rng.IntN(3) == 0 {
		id = w.nodes[w.rng.IntN(len(w.nodes))].id
		if !w.nodes[id-1].up {
			return 0, false
		}
	}
	for _, o := range w.orchs {
		if o.id == id && o.d == d && o.open() {
			return 0, false
		}
	}
	return id, true
}

// wantMove begins a move of d, and sees to the one after it.
func (w *world) wantMove(d *dom) {
	if w.calm || w.began >= w.cfg.Moves {
		return
	}
	if o := w.orchestrate(d, nil); o == nil {
		w.after(w.soon(2000), func() { w.wantMove(d) })
	}
}

// orchestrate begins a move, or takes one up.
func (w *world) orchestrate(d *dom, rec *migration.MoveRecord) *orchestrator {
	id, ok := w.free(d)
	if !ok {
		return nil
	}
	source := d.hosts[w.rng.IntN(len(w.nodes))]
	if w.rng.IntN(24) > 0 {
		for _, h := range d.hosts {
			if h.open {
				source = h
			}
		}
		if !source.open {
			return nil
		}
	}
	target := d.hosts[(int(source.n.id)+w.rng.IntN(len(w.nodes)-1))%len(w.nodes)]
	o := &orchestrator{w: w, d: d, id: id, cfg: migration.MoveConfig{
		Self: id, Source: source.n.id, Target: target.n.id, Origin: d.origin, LagMax: 4 + uint64(w.rng.IntN(12)),
		CutoverTries: uint8(1 + w.rng.IntN(4)), DryRun: w.rng.IntN(64) == 0,
	}}
	o.move = migration.NewMove(o.cfg)
	if rec != nil {
		o.cfg.DryRun = false
		o.rec = *rec
		o.move = migration.ResumeMove(o.cfg, *rec)
	}
	if rec == nil && id == source.n.id {
		o.depute()
	}
	o.stats = &moveStats{epoch: o.rec.Epoch}
	o.cfg.Source, o.cfg.Target = source.n.id, target.n.id
	if rec != nil {
		o.cfg.Source, o.cfg.Target = rec.Source, rec.Target
	} else {
		w.began++
		w.moves = append(w.moves, o.stats)
		w.counts.Moves++
	}
	if len(w.orchs) > 24 {
		w.orchs = slices.DeleteFunc(w.orchs, func(o *orchestrator) bool { return !o.open() })
	}
	w.orchs = append(w.orchs, o)
	if w.cfg.Trace {
		w.printf("%d d%d wants %d to %d, takes up %v", o.id, d.i, o.cfg.Source, o.cfg.Target, rec)
	}
	o.drive(migration.Start{})
	o.chiefIsHasty()
	return o
}

// toOrchestrators gives a frame to the move that it is for.
func (w *world) toOrchestrators(f *flight) {
	o := w.orchestratorOf(f)
	if o == nil {
		return
	}
	if w.cfg.Trace && f.to >= firstOrchestrator {
		w.printf("%v", f)
	}
	o.drive(migration.Frame{From: f.from, Epoch: f.epoch, Message: f.msg})
}

// drive tells the move something.
func (o *orchestrator) drive(in migration.MoveInput) {
	w := o.w
	step := o.move.Step
	if o.deputy != nil {
		step = o.deputy.Step
	}
	fx, err := step(in, o.fx[:0])
	if o.deputy != nil {
		o.move = o.deputy.Move()
	}
	if err != nil {
		if w.cfg.Trace {
			w.printf("  %d %v", o.id, err)
		}
		if refused, ok := errors.AsType[*migration.Refused](err); !ok {
			w.fail("move", "not a refusal: %v", refused)
		}
	}
	if err := o.move.Check(); err != nil {
		w.fail("move", "%v", err)
	}
	o.fx = nil // a co-located node may answer at once
	for _, e := range fx {
		switch e := e.(type) {
		case migration.PersistMove:
			o.rec = e.Record
			o.stats.epoch = e.Record.Epoch
		case migration.Send:
			if e.To == chief {
				o.chiefHears(e.Message)
				break
			}
			w.send(&flight{from: o.id, to: e.To, dom: o.d.i, epoch: e.Epoch, msg: e.Message})
		case migration.Arm:
			o.arm(e.Timer, e.Epoch)
		case migration.Disarm:
			o.timers[e.Timer].on = false
		case migration.Done:
			o.ended(e.Result)
		}
	}
	clear(fx)
	o.fx = fx[:0]
}

func (o *orchestrator) arm(t migration.Timer, e frame.Epoch) {
	w, a := o.w, &o.timers[t]
	a.gen++
	a.on, a.epoch = true, e
	d := int64(stepEvery)
	if t == migration.TimerPhase {
		d = phaseTimeout
	}
	if w.chance(EarlyTimer) {
		w.counts.Faults[EarlyTimer]++
		w.hits[o.placeOr()][EarlyTimer]++
		w.touch(o.d.i)
		d = w.soon(100)
	}
	gen := a.gen
	w.after(d, func() {
		if a := &o.timers[t]; a.on && a.gen == gen && o.open() {
			a.on = false
			o.drive(migration.Fired{Timer: t, Epoch: a.epoch})
		}
	})
}

// placeOr is a place also of a move that is done.
func (o *orchestrator) placeOr() place {
	if o.move.Done() {
		return placeOrchestrator + 7
	}
	return o.place()
}

// ended holds the result against the truth, and wants the next move.
func (o *orchestrator) ended(res migration.Result) {
	w := o.w
	o.result = &res
	w.counts.Outcomes[res.Outcome]++
	if w.cfg.Trace {
		w.printf("%d d%d says %v of %d: %s", o.id, o.d.i, res.Outcome, res.Epoch, res.Text)
	}
	w.truth(o)
	w.after(w.soon(3000), func() { w.wantMove(o.d) })
}

// crash ends an orchestrator. It has a journal, or not; somebody takes its move up, or nobody does.
func (o *orchestrator) crash() {
	if !o.open() {
		return
	}
	w, rec := o.w, o.rec
	w.counts.Faults[Crash]++
	w.hits[o.place()][Crash]++
	w.touch(o.d.i)
	o.dead = true
	w.counts.Orphans++
	w.after(w.soon(6000), func() {
		if !w.calm && rec.Epoch > 0 && w.rng.IntN(3) > 0 {
			w.orchestrate(o.d, &rec)
		}
	})
	w.after(w.soon(12_000), func() { w.wantMove(o.d) })
}
