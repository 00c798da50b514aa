package sim

import (
	"bytes"
	"fmt"

	"ferry/migration"
	"ferry/proto0500"
)

// Violation is what must not be: the number of the invariant in safety.md, or a word for what has none.
type Violation struct {
	Name   string // "I1" to "I6", "L1", "result", "client", "twin", "daemon", …
	Detail string
}

func (v *Violation) Error() string { return v.Name + ": " + v.Detail }

func (w *world) fail(name, format string, args ...any) {
	panic(&Violation{Name: name, Detail: fmt.Sprintf("after %d µs: ", w.now) + fmt.Sprintf(format, args...)})
}

// witness sees every frame that is sent: what a node has said once it can never take back.
func (w *world) witness(d *dom, f *flight) {
	if f.epoch == 0 || f.msg == nil {
		return
	}
	switch m := f.msg.(type) {
	case proto0500.Prepare:
		word := d.word(f.epoch)
		if word.source != 0 && (word.source != m.SourceNode || word.target != f.to) {
			w.fail("I5", "epoch %d of %d and %d, and of %d and %d", f.epoch, word.source, word.target, m.SourceNode, f.to)
		}
		word.source, word.target = m.SourceNode, f.to
	case proto0500.ActivateAck:
		word := d.word(f.epoch)
		word.yes = true
		if word.no && f.from == word.target {
			w.fail("I4", "node %d says ActivateAck of epoch %d, which it has refused", f.from, f.epoch)
		}
	case proto0500.MigrationFailed:
		word := d.word(f.epoch)
		if f.from != word.target || m.Reason.Retriable() {
			return
		}
		word.no = true
		if word.yes {
			w.fail("I4", "node %d refuses epoch %d, to which it has said ActivateAck", f.from, f.epoch)
		}
	case proto0500.ActivateTarget:
		d.word(f.epoch).activate = true
	}
}

// named sees a source name its epoch, by report or by a frame of the copy: one epoch, one source, one target, one run.
func (w *world) named(h *host) {
	s := h.p.State()
	if s != proto0500.StateBegun && s != proto0500.StateCopying && s != proto0500.StateFrozen {
		return
	}
	word := h.d.word(h.p.Epoch())
	run := uint64(h.n.id)<<32 | uint64(h.n.boot)
	if word.run == 0 {
		word.run, word.source, word.target = run, h.n.id, h.p.Peer()
		return
	}
	if word.run != run || word.source != h.n.id || word.target != h.p.Peer() {
		w.fail("I5", "epoch %d is of %d and %d, and is handed out again by %d to %d", h.p.Epoch(), word.source, word.target, h.n.id, h.p.Peer())
	}
}

// accepts tells whether the host may still make an event of a write.
func (h *host) accepts() bool { return h.rogue || h.open && h.rep != nil && h.n.up && !h.done }

// check holds the invariants of one daemon.
func (w *world) check(d *dom) {
	w.counts.Checks++
	weak := w.cfg.Weak.Any()
	accepting, whole, rest := 0, false, true
	for _, h := range d.hosts {
		if !weak {
			if err := h.p.Check(); err != nil {
				w.fail("P", "node %d: %v", h.n.id, err)
			}
		}
		s := h.p.State()
		rec := h.p.Record().State
		if h.accepts() {
			accepting++
			if accepting > 1 {
				w.fail("I1", "node %d accepts writes, and so does another", h.n.id)
			}
			if h.rep != nil && h.open && h.rep.head != d.last {
				w.fail("I2", "node %d accepts writes and has %d of %d events", h.n.id, h.rep.head.Seq, len(d.accepted))
			}
			if !weak && rec != migration.RecordServing {
				w.fail("gate", "node %d accepts writes while it is %v", h.n.id, s)
			}
		}
		switch {
		case h.rep != nil && (rec == migration.RecordServing || rec == migration.RecordRetired) && h.rep.head == d.last:
			whole = true
		case s == proto0500.StateSealed && h.in != nil && h.in.rep != nil && h.in.rep.head == d.last:
			whole = true
		}
		if s >= proto0500.StateBegun || s == proto0500.StateRetired {
			rest = false
		}
		if s >= proto0500.StatePrepared && d.word(h.p.Epoch()).activate {
			if s != proto0500.StateSealed || h.in == nil || h.in.rep == nil || h.in.rep.head != d.last {
				w.fail("I6", "ActivateTarget of epoch %d can meet node %d, which is %v and not at the final seal", h.p.Epoch(), h.n.id, s)
			}
		}
	}
	if !whole && !d.died && !d.gone {
		if d.durable || d.crashes <= 1 {
			w.fail("I3", "no node that has, or can become, the authority has all %d events", len(d.accepted))
		}
		d.gone = true
	}
	if accepting == 1 && rest {
		d.crashes = 0
	}
}

// sameAsTwin compares a copy with the daemon that never moved.
func (w *world) sameAsTwin(d *dom, rep *replica, format string, args ...any) {
	if w.cfg.Weak.Any() || rep.head != d.last {
		return // I2 speaks of that
	}
	got, err := picture(rep.d)
	if err != nil {
		w.fail("daemon", "%v", err)
	}
	want, err := picture(d.twin)
	if err != nil {
		w.fail("daemon", "%v", err)
	}
	if !bytes.Equal(got, want) {
		w.fail("twin", "daemon %d, "+format+", differs from one that never moved, after the same %d events",
			append(append([]any{d.i}, args...), len(d.accepted))...)
	}
}

// truth holds a move's result against what really is, then and at the end.
func (w *world) truth(o *orchestrator) {
	res := o.result
	if res.Epoch == 0 {
		return
	}
	word := o.d.word(res.Epoch)
	lived := o.d.hosts[o.cfg.Target-1].p.Record().LiveEpoch >= res.Epoch
	switch res.Outcome {
	case migration.OutcomeCommitted:
		if !word.yes && !lived {
			w.fail("result", "%d says committed of epoch %d, which its target has not lived", o.id, res.Epoch)
		}
		if res.FinalSeq < word.liveSeq && res.FinalSeq != 0 {
			w.fail("result", "%d says committed at event %d, the target went live at %d", o.id, res.FinalSeq, word.liveSeq)
		}
	case migration.OutcomeMovedOn:
		if !lived {
			w.fail("result", "%d says moved on of epoch %d, beyond which its target has not lived", o.id, res.Epoch)
		}
	case migration.OutcomeRolledBack, migration.OutcomeRefused, migration.OutcomePrepared:
		if word.yes {
			w.fail("result", "%d says %v of epoch %d, in which its target went live", o.id, res.Outcome, res.Epoch)
		}
	}
}

// settled is what must be true at the end: L1, and that every client's events are there.
func (w *world) settled() {
	for _, d := range w.doms {
		w.check(d)
		w.clientsOf(d)
		if d.gone {
			w.counts.Gone++
			continue
		}
		authorities := 0
		for _, h := range d.hosts {
			switch s := h.p.State(); {
			case s >= proto0500.StateBegun || s == proto0500.StateRetired:
				w.fail("L1", "node %d stays %v in epoch %d", h.n.id, s, h.p.Epoch())
			case h.rep != nil && !h.accepts():
				w.fail("L1", "node %d, %v, keeps a copy", h.n.id, s)
			case h.in != nil || h.out != nil:
				w.fail("L1", "node %d keeps something of an attempt", h.n.id)
			}
			if h.accepts() {
				authorities++
				w.sameAsTwin(d, h.rep, "at node %d at the end", h.n.id)
			}
			if len(h.queue) > 0 {
				w.fail("L1", "node %d has writes waiting", h.n.id)
			}
		}
		if authorities != 1 {
			w.fail("L1", "%d authorities", authorities)
		}
	}
	for _, o := range w.orchs {
		if o.open() {
			w.fail("L1", "the move of %d, epoch %d, never ends: it waits in %s", o.id, o.stats.epoch, o.move.Doing())
		}
		if o.result != nil {
			w.truth(o)
		}
	}
}

// clientsOf: an acknowledged write is there, and none is there more often than it was tried.
func (w *world) clientsOf(d *dom) {
	if d.died || d.gone {
		return
	}
	times := make(map[uint64]uint16, len(d.accepted))
	for _, a := range d.accepted {
		times[a.write]++
	}
	for _, c := range d.clients {
		for _, id := range c.acked {
			if times[id] == 0 {
				w.fail("client", "write %d was acknowledged and is not there", id)
			}
		}
		for i, tries := range c.tries {
			if id := (c.first+uint64(i))<<4 | c.i; times[id] > tries {
				w.fail("client", "write %d was tried %d times and is there %d times", id, tries, times[id])
			}
		}
	}
}
