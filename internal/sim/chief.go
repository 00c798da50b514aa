package sim

import (
	"ferry/migration"
	"ferry/proto0500"
)

// chief is an orchestrator with only the ten messages, for whom a source drives its own move. It is on no network of the
// simulator's: what it says comes whenever it likes, and what it hears is held against the truth.
const chief proto0500.NodeID = 200

// depute makes o the source's own move for a chief.
func (o *orchestrator) depute() {
	dep := migration.NewDeputy(o.id, chief, o.cfg.Target, o.d.origin)
	o.cfg.DryRun = false
	o.deputy, o.move = &dep, dep.Move()
	o.w.counts.Deputies++
}

// chiefIsHasty says now and then something before it is time, doubled, or of another move.
func (o *orchestrator) chiefIsHasty() {
	w := o.w
	if o.deputy == nil || w.rng.IntN(3) > 0 {
		return
	}
	target := o.cfg.Target
	if w.rng.IntN(4) == 0 {
		target = w.nodes[w.rng.IntN(len(w.nodes))].id
	}
	w.after(w.soon(30_000), func() {
		if w.rng.IntN(3) == 0 {
			o.chiefSays(proto0500.TakeSnapshot{DaemonOrigin: o.d.origin, TargetNode: target})
		}
		o.chiefSays(proto0500.CutoverNotify{DaemonOrigin: o.d.origin, TargetNode: target})
	})
}

func (o *orchestrator) chiefSays(m proto0500.Message) {
	if o.open() {
		o.drive(migration.FromChief{Message: m})
	}
}

// chiefHears what has come about, and goes on, or cancels, or says nothing more.
func (o *orchestrator) chiefHears(m proto0500.Message) {
	w := o.w
	word := o.d.word(o.move.Record().Epoch)
	switch m.(type) {
	case proto0500.ReplayComplete:
		switch k := w.rng.IntN(16); {
		case k < 13:
			w.after(w.soon(6000), func() {
				o.chiefSays(proto0500.CutoverNotify{DaemonOrigin: o.d.origin, TargetNode: o.cfg.Target})
			})
		case k < 15:
			w.after(w.soon(6000), func() {
				o.chiefSays(proto0500.MigrationFailed{DaemonOrigin: o.d.origin, Reason: failure("cancelled")})
			})
		}
	case proto0500.CleanupComplete:
		if rec := o.d.hosts[o.cfg.Source-1].p.Record(); rec.Epoch == o.move.Record().Epoch && rec.State == migration.RecordServing && !word.no {
			w.fail("chief", "hears CleanupComplete of epoch %d, whose source has not retired", o.move.Record().Epoch)
		}
		w.counts.Cleaned++
	case proto0500.MigrationFailed:
		if word.yes {
			w.fail("chief", "hears MigrationFailed of epoch %d, in which the target is live", o.move.Record().Epoch)
		}
	}
}
