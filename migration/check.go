package migration

import (
	"fmt"

	"ferry/proto0500"
)

// InvariantError says which of a machine's numbered invariants is broken. It is our own mistake, never a peer's.
type InvariantError struct {
	Number string // "P1" …
	Detail string
}

func (e *InvariantError) Error() string { return "invariant " + e.Number + " broken: " + e.Detail }

// Check tells whether the participant's invariants hold; the list is at the type.
func (p *Participant) Check() error {
	broken := func(number, format string, args ...any) error {
		return &InvariantError{Number: number, Detail: fmt.Sprintf(format, args...)}
	}
	a, r := p.att, p.rec
	if err := r.Check(); err != nil {
		return broken("P1", "%v", err)
	}
	open := p.isSource() || p.isTarget()
	switch {
	case !open && a != attempt{}:
		return broken("P2", "no attempt, but %+v", a)
	case p.isSource() && r.State != RecordServing:
		return broken("P2", "%v with a record that says %v", a.state, r.State)
	case p.isTarget() && r.State != RecordNone:
		return broken("P2", "%v with a record that says %v", a.state, r.State)
	case open && (r.Epoch <= r.LiveEpoch || r.Peer == 0 || r.Peer == p.cfg.Self || r.Orchestrator == 0):
		return broken("P3", "%v at %d, live at %d, peer %d, orchestrator %d", a.state, r.Epoch, r.LiveEpoch, r.Peer, r.Orchestrator)
	case a.state == proto0500.StateSealed && (!a.hasSeal || a.head != a.seal):
		return broken("P4", "replayed %+v, sealed %+v", a.head, a.seal)
	case p.isSource() && a.hasSeal && a.state != proto0500.StateFrozen:
		return broken("P5", "%v with a seal", a.state)
	case a.state == proto0500.StateFrozen && a.round == 0:
		return broken("P5", "frozen in no round")
	case r.State != RecordRetired && (p.word || p.released || p.releaser != 0):
		return broken("P6", "%v, but word %t, released %t by %d", r.State, p.word, p.released, p.releaser)
	}
	return nil
}
