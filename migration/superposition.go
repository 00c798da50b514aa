package migration

import (
	"ferry/proto0500"
)

// SuperpositionState is where the daemon is, as its orchestrator sees it (protocol.md, section 6).
type SuperpositionState uint8

// The states, in order.
const (
	Localized       SuperpositionState = 0 // at the source
	Spreading       SuperpositionState = 1 // its state is being copied
	Superposed      SuperpositionState = 2 // at both, the target behind
	ReadyToCollapse SuperpositionState = 3 // at both, the target near enough
	Collapsed       SuperpositionState = 4 // the source has let go
	Resolved        SuperpositionState = 5 // at the target
)

func (s SuperpositionState) String() string {
	names := [...]string{"localized", "spreading", "superposed", "ready to collapse", "collapsed", "resolved"}
	if int(s) < len(names) {
		return names[s]
	}
	return "superposition?"
}

// Superposition is that state and the heads that source and target have told last; a zero link is not told yet.
type Superposition struct {
	State      SuperpositionState
	SourceHead proto0500.Link
	TargetHead proto0500.Link
}

// Superposition is derived from the phase and nothing else: it cannot disagree with the move.
func (m *Move) Superposition() Superposition {
	s := Superposition{SourceHead: m.sourceHead, TargetHead: m.targetHead}
	switch {
	case m.rec.Outcome == MoveCommitted || m.rec.Outcome == MoveMovedOn:
		s.State = Resolved
	case m.rec.Outcome == MoveRolledBack || m.step == stepDone && m.phase < PhaseComplete:
		s.State = Localized
	case m.phase == PhaseComplete:
		s.State = Collapsed
	case m.phase == PhaseCutover:
		s.State = ReadyToCollapse
	case m.phase >= PhaseReplay:
		s.State = Superposed
	case m.phase >= PhaseSnapshot:
		s.State = Spreading
	}
	return s
}

// Proof is the continuity proof between both heads; false before both are told.
func (s Superposition) Proof() (proto0500.Proof, bool) {
	if s.SourceHead == (proto0500.Link{}) || s.TargetHead == (proto0500.Link{}) {
		return proto0500.Proof{}, false
	}
	return proto0500.ProofOf(s.SourceHead, s.TargetHead), true
}
