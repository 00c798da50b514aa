package migration

import (
	"ferry/proto0500"
)

// force ends an attempt without its other side, on a person's word that this node stays dead (R12). It is the one place
// where a word that is missing is not waited for:
//
//	retired, the copy is what was sealed  → serving at e + 1: as if the target had refused, but nobody knows that it has
//	sealed                                → serving, live at e: as if the source had retired, but nobody knows that it has
//
// The source keeps live_epoch: it is where its state has its place, and the answer to everything about epochs between stays
// what it is after a refusal. So a word of the dead node that says "live at e" shows a live_epoch above that of a node
// that serves, which nothing else can: see daemon's log. The epoch is raised, so that this owner counts above the dead
// one wherever the higher epoch wins (R11), and a sealed target that was not dead after all drops: report(e + 1) is over(e).
func (p *Participant) force(copy Copy, in Frame, m proto0500.Force, fx []Effect) ([]Effect, error) {
	e := in.Epoch
	done := p.rec.State == RecordServing && p.rec.LiveEpoch == e && !p.isSource()
	switch {
	case e == 0 || m.DeadNode == 0 || m.DeadNode == p.cfg.Self:
		return p.reject(in, proto0500.RejectMalformed, "a force order names an epoch and the other node that is dead", fx)
	case e < p.rec.Epoch || done:
		return append(fx, Answer{To: in.From, Epoch: e}), nil // doubled, or long over
	case e > p.rec.Epoch:
		return p.reject(in, proto0500.RejectWrongState, "this epoch has not been seen here", fx)
	case m.DeadNode != p.rec.Peer:
		return p.reject(in, proto0500.RejectWrongState, "the attempt is with another node", fx)
	case p.targetOf(e) && p.att.state == proto0500.StateSealed:
		return append(p.live(in.From, fx), Answer{To: in.From, Epoch: e}), nil
	case !p.retiredAt(e):
		return p.reject(in, proto0500.RejectWrongState, "neither retired nor sealed: it ends by itself", fx)
	case !p.holdsSeal(copy):
		return p.reject(in, proto0500.RejectWrongState, "the copy here is not what was sealed", fx)
	case e+1 == 0:
		return p.reject(in, proto0500.RejectWrongState, "no epoch is left", fx)
	}
	p.rec = Record{Epoch: e + 1, LiveEpoch: p.rec.LiveEpoch, State: RecordServing}
	p.word, p.released, p.releaser = false, false, 0
	return append(fx,
		Persist{p.rec}, Serve{}, Disarm{TimerAsk}, Disarm{TimerRetain},
		Answer{To: in.From, Epoch: e},
	), nil
}
