package sim

import (
	"ferry/frame"
	"ferry/migration"
	"ferry/proto0500"
)

// model holds every step of a participant against the actions of tla/Handover.tla: the change of state must be one of
// the model's actions, or two in a row, and what the action's guard wants in msgs must have been sent. tla/README.md has
// the table. It looks at the model's rec (ep, live, st) and vol (ph, e, peer) and at msgs; that the events are the right
// ones is I2, I3 and I6, which the simulator holds by itself.
type model struct {
	w       *world
	sent    map[said]bool
	actions map[string]uint64
}

// said is one of the model's messages, with its names: k, e, f, t, n.
type said struct {
	k    string
	dom  int
	e    frame.Epoch
	f, t proto0500.NodeID
	n    proto0500.Seq
}

func newModel(w *world) *model {
	return &model{w: w, sent: map[said]bool{}, actions: map[string]uint64{}}
}

func (m *model) has(d int, k string, e frame.Epoch, f, t proto0500.NodeID, n proto0500.Seq) bool {
	return m.sent[said{k, d, e, f, t, n}]
}

// send adds to msgs what a frame says in the model.
func (m *model) send(f *flight) {
	add := func(k string, e frame.Epoch, from, to proto0500.NodeID, n proto0500.Seq) {
		m.sent[said{k, f.dom, e, from, to, n}] = true
	}
	if f.chunk != nil {
		add("chunk", f.epoch, f.from, f.to, 0)
		return
	}
	word := word{}
	if f.epoch != 0 {
		word = *m.w.doms[f.dom].word(f.epoch)
	}
	switch msg := f.msg.(type) {
	case proto0500.Prepare:
		add("prepare", f.epoch, msg.SourceNode, f.to, 0)
	case proto0500.Prepared:
		add("prepared", f.epoch, f.from, word.source, 0)
	case proto0500.Seal:
		add("seal", f.epoch, f.from, f.to, msg.Seq)
	case proto0500.Ack:
		add("ack", f.epoch, f.from, f.to, msg.Seq)
	case proto0500.CleanupComplete:
		add("cleanup", f.epoch, f.from, word.target, 0)
	case proto0500.ActivateTarget:
		if f.from == word.source {
			add("cleanup", f.epoch, f.from, f.to, 0)
		}
	case proto0500.ActivateAck:
		add("activated", f.epoch, f.from, word.source, 0)
	case proto0500.MigrationFailed:
		switch {
		case msg.Reason.Retriable():
		case f.from == word.target:
			add("refused", f.epoch, f.from, word.source, 0)
		case f.from == word.source:
			add("gaveup", f.epoch, f.from, word.target, 0)
		}
	case proto0500.Report:
		m.report(f, msg, add)
	}
}

// report: what it says depends on who is told.
func (m *model) report(f *flight, r proto0500.Report, add func(string, frame.Epoch, proto0500.NodeID, proto0500.NodeID, proto0500.Seq)) {
	if f.from > proto0500.NodeID(len(m.w.nodes)) {
		return
	}
	d := m.w.doms[f.dom]
	for e := range d.words {
		e, word := frame.Epoch(e), d.words[e]
		switch {
		case word.target == f.from && word.source == f.to && r.LiveEpoch == e && e != 0:
			add("activated", e, f.from, f.to, 0)
		case word.target == f.from && word.source == f.to && r.LiveEpoch > e:
			add("passed", e, f.from, f.to, 0)
		case word.source == f.from && (r.Epoch > e || r.Epoch == e && r.State == proto0500.StateServing && r.Copy):
			add("gaveup", e, f.from, word.target, 0)
		case word.source == f.from && r.Epoch == e && r.State == proto0500.StateRetired:
			add("cleanup", e, f.from, word.target, 0)
		}
	}
}

// step names the action that took a node from one participant to another, and holds its guard.
func (m *model) step(h *host, from, to *migration.Participant) {
	a, b := from.State(), to.State()
	ra, rb := from.Record(), to.Record()
	if a == b && ra == rb && headOf(from) == headOf(to) {
		return // Write, TellOver, Resend, AnswerLive, AnswerRefused, or nothing
	}
	d, s := h.d.i, h.n.id
	e, peer := rb.Epoch, rb.Peer
	const (
		serving, retired, moved, none = proto0500.StateServing, proto0500.StateRetired, proto0500.StateMoved, proto0500.StateNone
		begun, copying, frozen        = proto0500.StateBegun, proto0500.StateCopying, proto0500.StateFrozen
		prepared, restored, sealed    = proto0500.StatePrepared, proto0500.StateRestored, proto0500.StateSealed
	)
	action, ok := "", true
	need := func(name string, guard bool) { action, ok = name, guard }
	released := m.has(d, "activated", ra.Epoch, ra.Peer, s, 0) || m.has(d, "passed", ra.Epoch, ra.Peer, s, 0)
	sealHas := func() bool { return m.has(d, "seal", e, peer, s, headOf(to)) }
	isTarget := a == prepared || a == restored || a == sealed
	switch {
	case a == serving && b == begun:
		need("Begin", rb.Epoch > ra.Epoch && rb.LiveEpoch == ra.LiveEpoch)
	case a == begun && b == copying:
		need("TakeSnapshot", m.has(d, "prepared", e, peer, s, 0))
	case a == copying && b == frozen:
		need("Freeze", true)
	case a == frozen && b == copying:
		need("Thaw", true)
	case a == frozen && b == retired:
		need("Retire", m.has(d, "ack", e, peer, s, rb.SealSeq))
	case (a == begun || a == copying || a == frozen) && b == serving:
		need("Abort", ra == rb)
	case a == retired && b == serving:
		need("Reinstate", m.has(d, "refused", e, ra.Peer, s, 0))
	case a == retired && b == moved:
		need("Release", released)
	case b == prepared && rb.Epoch > ra.Epoch:
		may := a == none || a == moved || isTarget || a == retired && released // Release, Prepare
		need("Prepare", may && m.has(d, "prepare", e, peer, s, 0))
	case b == none && rb.Epoch > ra.Epoch:
		may := a == none || a == moved || isTarget || a == retired && released
		need("RefusePrepare", may && m.has(d, "prepare", e, peer, s, 0))
	case a == prepared && b == restored:
		need("Restore", m.has(d, "chunk", e, peer, s, 0))
	case a == prepared && b == sealed:
		need("Restore, Ack", m.has(d, "chunk", e, peer, s, 0) && sealHas())
	case (a == restored || a == sealed) && b == restored && headOf(to) == headOf(from)+1:
		need("Replay", true)
	case (a == restored || a == sealed) && b == sealed && headOf(to) == headOf(from)+1:
		need("Replay, Ack", sealHas())
	case a == restored && b == sealed:
		need("Ack", sealHas())
	case a == sealed && b == restored && headOf(to) == headOf(from):
		need("Thaw seen", true) // the target's half of Thaw: a later seal has come before its events
	case a == sealed && b == serving && rb.LiveEpoch == e:
		need("GoLive", m.has(d, "cleanup", e, ra.Peer, s, 0))
	case (a == prepared || a == restored) && b == none && ra.Epoch == rb.Epoch:
		need("Drop", true)
	case a == sealed && b == none:
		need("Forget", m.has(d, "gaveup", e, ra.Peer, s, 0))
	}
	if action == "" || !ok {
		m.w.fail("model", "node %d goes from %v@%d to %v@%d: %q does not allow it", s, a, ra.Epoch, b, rb.Epoch, action)
	}
	m.actions[action]++
}

// headOf is the chain head that a target has replayed.
func headOf(p *migration.Participant) proto0500.Seq {
	if s := p.State(); s != proto0500.StatePrepared && s != proto0500.StateRestored && s != proto0500.StateSealed {
		return 0
	}
	return p.Report(migration.Copy{}, 0).Seq
}
