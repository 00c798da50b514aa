package migration

import (
	"ferry/proto0500"
)

// targetReport takes the target's own account of itself.
func (m *Move) targetReport(in Frame, r proto0500.Report, fx []MoveEffect) ([]MoveEffect, error) {
	e := m.rec.Epoch
	switch {
	case e == 0:
		return fx, m.refuse(in, "there is no epoch yet")
	case m.step == stepRelease:
		if r.LiveEpoch == e && r.Copy {
			m.targetHead = r.Head
		}
		m.targetSeen = true
		return m.released(fx), nil
	case m.step == stepPrepare:
		return m.passed(in, r, fx)
	case r.LiveEpoch > e:
		return m.movedOn(fx), nil
	case r.LiveEpoch == e:
		if r.State == proto0500.StateServing && !r.Copy {
			m.why = failedCause("the target is the authority and has lost the daemon's state")
			return m.done(OutcomeInDoubt, fx), nil
		}
		m.targetHead = r.Head
		return m.committed(r.Seq, fx), nil
	case m.step == stepActivate && r.Epoch < e:
		m.why = failedCause("the target knows only lower epochs: its journal is lost")
		return m.done(OutcomeInDoubt, fx), nil
	case m.step == stepAskTarget:
		return m.notLive(r, fx), nil
	}
	return m.attemptReport(in, r, fx)
}

// passed: the target has taken part in this epoch or a later one already; the source must hand out a higher one.
func (m *Move) passed(in Frame, r proto0500.Report, fx []MoveEffect) ([]MoveEffect, error) {
	if r.Epoch < m.rec.Epoch || r.Epoch == m.rec.Epoch && r.State == proto0500.StatePrepared {
		return fx, m.refuse(in, "not an answer to prepare")
	}
	m.again, m.floor = true, r.Epoch
	return m.cancel(OutcomeRefused, failedCause("the target has seen a later epoch"), fx), nil
}

// notLive: the source is past this epoch and the target was never live in it.
func (m *Move) notLive(r proto0500.Report, fx []MoveEffect) []MoveEffect {
	switch {
	case r.Epoch < m.rec.Epoch:
		m.why = failedCause("the target knows only lower epochs: its journal is lost")
	case m.said == saidMoved:
		m.why = failedCause("the source has let go, and the target says that it was never live")
	case m.said == saidNothing:
		m.why = failedCause("the source does not answer, and the target is not live")
	case r.Epoch == m.rec.Epoch && r.State != proto0500.StateNone:
		// Still in it, or the report is older than the target's going live: no word yet. TimerStep asks again.
		return fx
	default:
		return m.sourceOver(failedCause("the target was never live in it, and the source is past it"), fx)
	}
	return m.done(OutcomeInDoubt, fx)
}

// attemptReport: where the target is in this attempt.
func (m *Move) attemptReport(in Frame, r proto0500.Report, fx []MoveEffect) ([]MoveEffect, error) {
	here := r.Epoch == m.rec.Epoch
	ready := here && (r.State == proto0500.StateRestored || r.State == proto0500.StateSealed)
	gone := r.Epoch > m.rec.Epoch || here && r.State == proto0500.StateNone
	switch m.step {
	case stepCopy:
		if ready {
			m.restored = r.Seq
			return m.replay(fx), nil
		}
		if gone {
			return m.cancel(OutcomeRolledBack, failedCause("the target has dropped the attempt"), fx), nil
		}
		return fx, nil
	case stepReplay, stepLag, stepCutover:
		if gone {
			return m.cancel(OutcomeRolledBack, failedCause("the target has dropped the attempt"), fx), nil
		}
		return fx, nil
	}
	return fx, m.refuse(in, "not awaited")
}
