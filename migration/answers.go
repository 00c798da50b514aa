package migration

import (
	"ferry/frame"
	"ferry/proto0500"
)

// What source and target tell an orchestrator.

func (m *Move) frame(in Frame, fx []MoveEffect) ([]MoveEffect, error) {
	source, target := in.From == m.cfg.Source, in.From == m.cfg.Target
	switch {
	case in.Message == nil || in.Message.Origin() != m.cfg.Origin:
		return fx, m.refuse(in, "of another daemon")
	case !source && !target:
		return fx, m.refuse(in, "from neither source nor target")
	}
	// A report says itself of which epoch it is, and a refusal to begin comes before there is one.
	switch msg := in.Message.(type) {
	case proto0500.Report:
		if source {
			return m.sourceReport(in, msg, fx)
		}
		return m.targetReport(in, msg, fx)
	case proto0500.Rejected:
		return m.rejected(in, msg, fx)
	case proto0500.MigrationFailed:
		if source && m.step == stepBegin && in.Epoch == 0 {
			m.why = causeOf(msg.Reason)
			return m.done(OutcomeRefused, fx), nil
		}
	}
	if in.Epoch != m.rec.Epoch || m.rec.Epoch == 0 {
		return fx, m.refuse(in, "of another epoch")
	}
	switch msg := in.Message.(type) {
	case proto0500.MigrationFailed:
		if source && m.step != stepRelease {
			return m.sourceOver(causeOf(msg.Reason), fx), nil
		}
		if target {
			return m.targetFailed(in, msg, fx)
		}
	case proto0500.CleanupComplete:
		if source {
			return m.retired(in, fx)
		}
	case proto0500.Prepared:
		if target && m.step == stepPrepare {
			return m.prepared(fx), nil
		}
	case proto0500.RestoreComplete:
		if target && m.step == stepCopy {
			m.restored = msg.RestoredSeq
			return m.replay(fx), nil
		}
	case proto0500.ReplayComplete:
		if target && m.step == stepReplay {
			return m.replayComplete(msg, fx), nil
		}
	case proto0500.ActivateAck:
		if target && m.step != stepRelease {
			return m.committed(msg.ReplayedSeq, fx), nil
		}
	case proto0500.Progress:
		return m.counters(source, msg, fx), nil
	}
	return fx, m.refuse(in, "not awaited")
}

// prepared: the target will take it.
func (m *Move) prepared(fx []MoveEffect) []MoveEffect {
	if m.cfg.DryRun {
		return m.cancel(OutcomePrepared, failedCause("a dry run"), fx)
	}
	fx = m.progress(PhaseSnapshot, fx)
	return m.takeSnapshot(fx)
}

func (m *Move) takeSnapshot(fx []MoveEffect) []MoveEffect {
	m.step, m.mayRetire = stepCopy, true
	e := m.rec.Epoch
	fx = m.send(m.cfg.Source, proto0500.TakeSnapshot{DaemonOrigin: m.cfg.Origin, TargetNode: m.cfg.Target}, fx)
	return append(fx, Arm{Timer: TimerStep, Epoch: e}, Arm{Timer: TimerPhase, Epoch: e})
}

// replay asks the target how far it is. The lag is measured anew: it grows while the source serves.
func (m *Move) replay(fx []MoveEffect) []MoveEffect {
	m.lagLeast = ^uint64(0)
	return m.enter(stepReplay, m.progress(PhaseReplay, fx))
}

// replayComplete asks the source how far it is itself.
func (m *Move) replayComplete(msg proto0500.ReplayComplete, fx []MoveEffect) []MoveEffect {
	m.step = stepLag
	m.replayed, m.targetHead = msg.ReplayedSeq, msg.TargetHead
	fx = m.send(m.cfg.Source, proto0500.Query{DaemonOrigin: m.cfg.Origin}, fx)
	return append(fx, Arm{Timer: TimerStep, Epoch: m.rec.Epoch})
}

// lag freezes the source once the target is near enough. Only a lag smaller than any before is progress: a target that
// replays for ever without catching up is stuck.
func (m *Move) lag(at proto0500.Seq, fx []MoveEffect) []MoveEffect {
	lag := uint64(max(at, m.replayed) - m.replayed)
	if lag <= m.cfg.LagMax {
		return m.cutover(fx)
	}
	if lag < m.lagLeast {
		m.lagLeast = lag
		fx = append(fx, Arm{Timer: TimerPhase, Epoch: m.rec.Epoch})
	}
	return fx // TimerStep asks the target again
}

// retired: the source accepts nothing more.
func (m *Move) retired(in Frame, fx []MoveEffect) ([]MoveEffect, error) {
	switch m.step {
	case stepActivate, stepRelease, stepReinstate:
		return fx, m.refuse(in, "known")
	}
	return m.activate(fx), nil
}

// sourceOver is over(e), by the source's own word: MigrationFailed, or a report that says so.
func (m *Move) sourceOver(why cause, fx []MoveEffect) []MoveEffect {
	if !m.why.set {
		m.why = why
	}
	return m.rolledBack(fx)
}

// targetFailed is refused(e), or NotReady, which promises nothing.
func (m *Move) targetFailed(in Frame, msg proto0500.MigrationFailed, fx []MoveEffect) ([]MoveEffect, error) {
	why := causeOf(msg.Reason)
	switch m.step {
	case stepPrepare:
		return m.cancel(OutcomeRefused, why, fx), nil
	case stepCopy, stepReplay, stepLag, stepCutover:
		if !msg.Reason.Retriable() {
			return m.cancel(OutcomeRolledBack, why, fx), nil
		}
	case stepActivate:
		if !msg.Reason.Retriable() {
			m.why = why
			return m.enter(stepReinstate, fx), nil
		}
	}
	return fx, m.refuse(in, "changes nothing")
}

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

// saysServedOn tells whether the source has been the authority after e without a break. An epoch above e alone is enough
// for a target in e, which knows that it was never live; not for who does not.
func saysServedOn(r proto0500.Report, e frame.Epoch) bool {
	return saysOver(r, e) && (r.Epoch == e || r.LiveEpoch < e && r.State != proto0500.StateNone)
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
	case stepCancel:
		return fx, nil // TimerStep wishes again
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

// targetReport takes the target's own account of itself.
func (m *Move) targetReport(in Frame, r proto0500.Report, fx []MoveEffect) ([]MoveEffect, error) {
	e := m.rec.Epoch
	live := r.State == proto0500.StateServing || r.State == proto0500.StateRetired || r.State == proto0500.StateMoved
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
	case r.LiveEpoch == e && live:
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

// rejected: only what could not be begun ends the move; the rest is asked again.
func (m *Move) rejected(in Frame, msg proto0500.Rejected, fx []MoveEffect) ([]MoveEffect, error) {
	source := in.From == m.cfg.Source
	why := cause{set: true, code: proto0500.CodeStateFailed, text: msg.Reason.String() + ": " + msg.Text.String()}
	switch {
	case source && m.step == stepBegin && msg.Refused == proto0500.KindBegin:
		m.why = why
		return m.done(OutcomeRefused, fx), nil
	case in.Epoch != m.rec.Epoch:
	case !source && m.step == stepPrepare && msg.Refused == proto0500.KindPrepare:
		return m.cancel(OutcomeRefused, why, fx), nil
	case source && m.step == stepCopy && msg.Refused == proto0500.KindTakeSnapshot,
		source && m.step == stepCutover && msg.Refused == proto0500.KindCutoverNotify:
		return m.cancel(OutcomeRolledBack, why, fx), nil
	}
	return fx, m.refuse(in, "changes nothing")
}

// counters turn into phases, and into time: while they grow the copy is alive.
func (m *Move) counters(source bool, msg proto0500.Progress, fx []MoveEffect) []MoveEffect {
	if m.step != stepCopy {
		return fx
	}
	var sum uint64
	for v := range msg.Counters.All() {
		sum += v.Value
	}
	who := 0
	if !source {
		who = 1
	}
	if sum > m.counted[who] {
		m.counted[who] = sum
		fx = append(fx, Arm{Timer: TimerPhase, Epoch: m.rec.Epoch})
	}
	if !source {
		return fx
	}
	done, _ := msg.Counters.Get(proto0500.CounterBytesDone)
	all, known := msg.Counters.Get(proto0500.CounterStateBytes)
	switch {
	case known && done > 0 && done >= all:
		fx = m.progress(PhaseRestore, m.progress(PhaseTransfer, fx))
	case done > 0:
		fx = m.progress(PhaseTransfer, fx)
	}
	return fx
}
