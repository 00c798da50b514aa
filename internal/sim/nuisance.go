package sim

import (
	"ferry/migration"
	"ferry/proto0500"
)

// nuisance does something bad, and comes again.
func (w *world) nuisance() {
	if w.calm {
		return
	}
	w.after(w.soon(w.calmness), w.nuisance)
	d := w.doms[w.rng.IntN(len(w.doms))]
	h := w.victim(d)
	switch k := w.rng.IntN(100); {
	case k < 18:
		if h.n.up && !w.cfg.Off[Crash] && (d.durable || w.rng.IntN(3) == 0) {
			for _, other := range h.n.hosts {
				if other.p.Epoch() > 0 || other.rep != nil {
					w.hit(Crash, other, other.place())
				}
			}
			h.n.crash(0)
		}
	case k < 28:
		if h.n.up && !w.cfg.Off[LostPeer] && h.p.Peer() != 0 {
			peer := h.p.Peer()
			if w.rng.IntN(3) == 0 {
				peer = h.p.Record().Orchestrator
			}
			w.hit(LostPeer, h, h.place())
			h.step(migration.PeerLost{Peer: peer})
		}
	case k < 36:
		w.fireEarly(h)
	case k < 44:
		if !w.cfg.Off[Cut] {
			w.partition()
		}
	case k < 72:
		if o := w.anyMove(d); o != nil {
			w.bother(o, k-44)
		}
	case k < 80:
		if s := h.p.State(); h.n.up && s >= proto0500.StateBegun && !w.cfg.Off[HostFails] {
			w.hit(HostFails, h, h.place())
			h.step(migration.Failed{Epoch: h.p.Epoch(), Reason: failure("injected")})
		}
	}
}

// bother an orchestrator; k, of 28, says how.
func (w *world) bother(o *orchestrator, k int) {
	switch {
	case k < 8:
		if !w.cfg.Off[Crash] && o.id >= firstOrchestrator {
			if w.cfg.Trace {
				w.printf("%d d%d crashes", o.id, o.d.i)
			}
			o.crash()
		}
	case k < 16:
		if !w.cfg.Off[Cancelled] {
			w.hitMove(Cancelled, o)
			o.drive(migration.Cancel{})
		}
	case k < 22:
		w.duel(o)
	default:
		if !w.cfg.Off[LostPeer] {
			peer := o.cfg.Source
			if w.rng.IntN(2) == 0 {
				peer = o.cfg.Target
			}
			w.hitMove(LostPeer, o)
			o.drive(migration.PeerLost{Peer: peer})
			if o.open() && w.rng.IntN(2) == 0 {
				o.drive(migration.Reconnected{Peer: peer})
			}
		}
	}
}

// hitMove counts a fault at an orchestrator.
func (w *world) hitMove(f Fault, o *orchestrator) {
	w.counts.Faults[f]++
	w.hits[o.place()][f]++
	w.touch(o.d.i)
	if w.cfg.Trace {
		w.printf("fault: %v at %d d%d, %s", f, o.id, o.d.i, placeNames[o.place()])
	}
}

// seldom is a step that few moves come to, and none stays in for long.
func (o *orchestrator) seldom() bool {
	d := o.move.Doing()
	return d == "askSource" || d == "askTarget" || d == "reinstate"
}

// trouble hits such a step, instead of the frame f that it waits for, or with it.
func (w *world) trouble(o *orchestrator, f *flight) {
	drop := func(f Fault) {
		if !w.cfg.Off[f] {
			w.hitMove(f, o)
		}
	}
	late := item{at: w.now + w.soon(3*w.latency), f: f}
	switch k := w.rng.IntN(40); {
	case k < 3:
		drop(Lose)
		return
	case k < 6:
		drop(Double)
		w.q.push(late)
	case k < 9:
		drop(Delay)
		late.at += w.soon(15_000)
	case k < 11:
		drop(Reorder)
		late.at = w.now + 1
	case k < 13:
		drop(Stale)
		if d := o.d; len(d.stale) > 0 {
			w.q.push(item{at: w.now + 1, f: d.stale[w.rng.IntN(len(d.stale))]})
		}
	case k < 15:
		drop(Cut)
		return
	case k < 20:
		t := migration.TimerStep + migration.Timer(w.rng.IntN(2))
		if a := &o.timers[t]; a.on && !w.cfg.Off[EarlyTimer] {
			w.hitMove(EarlyTimer, o)
			at := a
			at.gen++
			gen := at.gen
			w.after(1, func() {
				if at.on && at.gen == gen && o.open() {
					at.on = false
					o.drive(migration.Fired{Timer: t, Epoch: at.epoch})
				}
			})
		}
	default:
		w.after(1, func() {
			if o.open() {
				w.bother(o, (k-20)*28/20)
			}
		})
	}
	w.q.push(late)
}

// victim is mostly who takes part in something.
func (w *world) victim(d *dom) *host {
	if w.rng.IntN(4) > 0 {
		off := w.rng.IntN(len(d.hosts))
		for i := range d.hosts {
			h := d.hosts[(i+off)%len(d.hosts)]
			if s := h.p.State(); s >= proto0500.StateBegun || s == proto0500.StateRetired {
				return h
			}
		}
	}
	return d.hosts[w.rng.IntN(len(d.hosts))]
}

func (w *world) anyMove(d *dom) *orchestrator {
	off := w.rng.IntN(len(w.orchs) + 1)
	for i := range w.orchs {
		if o := w.orchs[(i+off)%len(w.orchs)]; o.d == d && o.open() {
			return o
		}
	}
	return nil
}

// fireEarly lets a timer run out now: a clock that is fast, or was set.
func (w *world) fireEarly(h *host) {
	if w.cfg.Off[EarlyTimer] {
		return
	}
	if o := w.anyMove(h.d); o != nil && w.rng.IntN(2) == 0 {
		t := migration.TimerStep + migration.Timer(w.rng.IntN(2))
		if a := &o.timers[t]; a.on {
			w.counts.Faults[EarlyTimer]++
			w.hits[o.place()][EarlyTimer]++
			w.touch(h.d.i)
			a.on = false
			o.drive(migration.Fired{Timer: t, Epoch: a.epoch})
		}
		return
	}
	if !h.n.up {
		return
	}
	off := w.rng.IntN(4)
	for i := range 4 {
		t := migration.TimerAttempt + migration.Timer((i+off)%4)
		if a := &h.timers[t]; a.on {
			w.hit(EarlyTimer, h, h.place())
			a.on = false
			h.step(migration.Fired{Timer: t, Epoch: a.epoch})
			return
		}
	}
}

// partition cuts a node off, or one direction of one link, for a while.
func (w *world) partition() {
	w.counts.Partitions++
	if w.rng.IntN(3) == 0 {
		o := w.rng.IntN(len(w.mute))
		w.mute[o] = true
		w.after(w.soon(12_000), func() { w.mute[o] = false })
		return
	}
	n := len(w.nodes)
	a := w.rng.IntN(n)
	one := (a + 1 + w.rng.IntN(n-1)) % n
	whole := w.rng.IntN(2) == 0
	set := func(v bool) {
		for b := range n {
			if b != a && (whole || b == one) {
				w.cut[a*n+b] = v
				if whole {
					w.cut[b*n+a] = v
				}
			}
		}
	}
	set(true)
	if w.cfg.Trace {
		w.printf("cut: %d from %d, whole=%t", a+1, one+1, whole)
	}
	if w.rng.IntN(2) == 0 {
		w.after(w.soon(6000), func() {
			for _, b := range w.nodes {
				if w.isCut(proto0500.NodeID(a+1), b.id) && b.up {
					b.peerLost(proto0500.NodeID(a + 1))
				}
			}
		})
	}
	w.after(w.soon(12_000), func() {
		set(false)
		for _, b := range w.nodes {
			if b.up && w.rng.IntN(2) == 0 {
				b.reconnected(proto0500.NodeID(a + 1))
			}
		}
	})
}

// duel: another orchestrator wants a move of its own, or takes over what this one has begun.
func (w *world) duel(rival *orchestrator) {
	if w.cfg.Off[Duel] || w.began >= w.cfg.Moves {
		return
	}
	w.hitMove(Duel, rival)
	if rec := rival.rec; rec.Epoch != 0 && w.rng.IntN(2) == 0 {
		w.orchestrate(rival.d, &rec)
		return
	}
	w.orchestrate(rival.d, nil)
}
