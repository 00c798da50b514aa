package migration

import (
	"ferry/frame"
	"ferry/proto0500"
)

// sourceReport takes the source's own account of itself, which ends most doubts.
func (m *Move) sourceReport(in Frame, r proto0500.Report, fx []MoveEffect) ([]MoveEffect, error) {
	e := m.rec.Epoch
	if m.step == stepBegin {
		if r.State != proto0500.StateBegun || r.Peer != m.cfg.Target || r.Orchestrator != m.cfg.Self || r.Epoch <= m.floor {
			return fx, m.refuse(in, "the source has not begun this move")
		}
		return m.begun(r, fx), nil
	}
	if r.Epoch < e {
		if m.step != stepAskSource {
			return fx, m.refuse(in, "older than this move")
		}
		m.why = failedCause("the source knows only lower epochs: its journal is lost")
		return m.done(OutcomeInDoubt, fx), nil
	}
	if r.Epoch == e && (r.Copy || r.State == proto0500.StateRetired) {
		m.sourceHead = r.Head
	}
	switch {
	case m.step == stepRelease:
		return m.releasedReport(r, fx), nil
	case saysServedOn(r, e):
		return m.sourceOver(failedCause("the source serves on"), fx), nil
	case r.Epoch > e || r.State == proto0500.StateMoved || r.State == proto0500.StateNone:
		return m.sourcePast(r, fx), nil
	case r.State == proto0500.StateServing:
		m.why = failedCause("the source has lost the daemon's state")
		return m.done(OutcomeInDoubt, fx), nil
	case r.State == proto0500.StateRetired:
		return m.retiredReport(in, r, fx)
	}
	return m.openReport(in, r, fx)
}

// saysServedOn tells whether the source was the authority after e without having been away. An epoch above e alone is
// enough for a target in e, which knows that it was never live; not for who does not.
func saysServedOn(r proto0500.Report, e frame.Epoch) bool {
	switch r.State {
	case proto0500.StateNone, proto0500.StatePrepared, proto0500.StateRestored, proto0500.StateSealed:
		return false // it had none of its own when it took part as target
	}
	return saysOver(r, e) && (r.Epoch == e || r.LiveEpoch < e)
}

// sourcePast: the attempt is past at the source, whichever way it ended; the target knows.
func (m *Move) sourcePast(r proto0500.Report, fx []MoveEffect) []MoveEffect {
	m.said = saidPast
	if r.Epoch == m.rec.Epoch && r.State == proto0500.StateMoved {
		m.said = saidMoved
	}
	if m.step == stepAskTarget || m.step == stepActivate {
		return fx // it is being asked
	}
	return m.enter(stepAskTarget, fx)
}

// begun: the source has handed out the epoch.
func (m *Move) begun(r proto0500.Report, fx []MoveEffect) []MoveEffect {
	m.rec = MoveRecord{Origin: m.cfg.Origin, Source: m.cfg.Source, Target: m.cfg.Target, Epoch: r.Epoch}
	fx = append(fx, PersistMove{m.rec})
	if m.cancelled {
		return m.cancel(OutcomeRolledBack, failedCause("cancelled"), fx)
	}
	fx = m.progress(PhasePrepare, fx)
	m.step = stepPrepare
	return append(m.sendPrepare(r, fx), Arm{Timer: TimerPhase, Epoch: r.Epoch})
}

// sendPrepare says what the source has told of the daemon.
func (m *Move) sendPrepare(r proto0500.Report, fx []MoveEffect) []MoveEffect {
	fx = m.send(m.cfg.Target, proto0500.Prepare{
		DaemonOrigin: m.cfg.Origin, SourceNode: m.cfg.Source, EntityID: r.EntityID, Name: r.Name,
		DaemonKind: r.DaemonKind, Schema: r.Schema, StateBytes: r.StateBytes,
		ChunkBytes: m.cfg.ChunkBytes, EventPayloadBytes: m.cfg.EventPayloadBytes,
	}, fx)
	return append(fx, Arm{Timer: TimerStep, Epoch: m.rec.Epoch})
}

// openReport: the attempt is open at the source.
func (m *Move) openReport(in Frame, r proto0500.Report, fx []MoveEffect) ([]MoveEffect, error) {
	begun := r.State == proto0500.StateBegun
	copying := r.State == proto0500.StateCopying
	frozen := r.State == proto0500.StateFrozen
	switch m.step {
	case stepPrepare:
		if begun {
			return m.sendPrepare(r, fx), nil
		}
	case stepCopy:
		if begun {
			return m.takeSnapshot(fx), nil
		}
		return fx, nil
	case stepLag:
		if copying {
			return m.lag(r.Seq, fx), nil
		}
		if frozen {
			m.step = stepCutover
			return fx, nil
		}
	case stepCutover:
		if frozen {
			return fx, nil
		}
		if copying {
			return m.thawed(fx), nil
		}
	case stepAskSource:
		return m.goOn(r, fx), nil
	case stepReplay, stepCancel:
		return fx, nil // TimerStep asks again
	}
	return fx, m.refuse(in, "not awaited")
}

// thawed: the blackout's budget was too small for what was still to be replayed.
func (m *Move) thawed(fx []MoveEffect) []MoveEffect {
	if m.cutovers >= m.cfg.CutoverTries {
		return m.cancel(OutcomeRolledBack, cause{
			set: true, code: proto0500.CodeNotReadyTimeout, attempts: m.cutovers, text: "the blackout's budget was spent each time",
		}, fx)
	}
	m.lagLeast = ^uint64(0)
	return m.enter(stepReplay, fx)
}

// goOn takes up a move where the source is; another orchestrator's cannot be driven, only ended.
func (m *Move) goOn(r proto0500.Report, fx []MoveEffect) []MoveEffect {
	if r.Orchestrator != m.cfg.Self {
		return m.cancel(OutcomeRolledBack, failedCause("its orchestrator is gone"), fx)
	}
	switch r.State {
	case proto0500.StateBegun:
		fx = m.progress(PhasePrepare, fx)
		m.step = stepPrepare
		return append(m.sendPrepare(r, fx), Arm{Timer: TimerPhase, Epoch: r.Epoch})
	case proto0500.StateFrozen:
		return m.enter(stepCutover, m.progress(PhaseCutover, fx))
	}
	return m.enter(stepCopy, m.progress(PhaseTransfer, fx))
}

func (m *Move) retiredReport(in Frame, r proto0500.Report, fx []MoveEffect) ([]MoveEffect, error) {
	switch m.step {
	case stepReinstate:
		if r.Copy {
			return fx, nil // it has not asked the target yet
		}
		m.why = failedCause("the target has refused, and the source has lost its copy")
		return m.done(OutcomeInDoubt, fx), nil
	case stepActivate:
		return fx, nil
	}
	return m.retired(in, fx)
}

// releasedReport: once the source has let go and the target has told its head, all is said.
func (m *Move) releasedReport(r proto0500.Report, fx []MoveEffect) []MoveEffect {
	if r.Epoch > m.rec.Epoch || r.State != proto0500.StateRetired {
		m.sourceGone = true
	}
	return m.released(fx)
}

func (m *Move) released(fx []MoveEffect) []MoveEffect {
	if m.sourceGone && m.targetSeen {
		return m.done(OutcomeCommitted, fx)
	}
	return fx
}
