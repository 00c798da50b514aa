package migration

import (
	"ferry/proto0500"
)

// What source and target tell an orchestrator.

func (m *Move) frame(in Frame, fx []MoveEffect) ([]MoveEffect, error) {
	source, target := in.From == m.cfg.Source, in.From == m.cfg.Target
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
		if source && msg.Reason.Retriable() {
			// The wish of an orchestrator on the source's node, this one or another; the source itself may be asked.
			return m.send(m.cfg.Source, proto0500.Query{DaemonOrigin: m.cfg.Origin}, fx), nil
		}
		if source && m.step != stepRelease {
			return m.sourceOver(causeOf(msg.Reason), fx), nil
		}
		if target {
			return m.targetFailed(in, msg, fx)
		}
	case proto0500.CleanupComplete:
		return m.retired(in, fx)
	case proto0500.Prepared:
		if m.step == stepPrepare {
			m.sealFor = SealFor{Key: msg.SealingKey, Signature: msg.Signature}
			return m.prepared(fx), nil
		}
	case proto0500.RestoreComplete:
		if m.step == stepCopy {
			m.restored = msg.RestoredSeq
			return m.replay(fx), nil
		}
	case proto0500.ReplayComplete:
		if m.step == stepReplay {
			return m.replayComplete(msg, fx), nil
		}
	case proto0500.ActivateAck:
		if m.step != stepRelease {
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
	m.step = stepCopy
	e := m.rec.Epoch
	if m.sealFor != (SealFor{}) {
		fx = m.send(m.cfg.Source, proto0500.Recipient{
			DaemonOrigin: m.cfg.Origin, SealingKey: m.sealFor.Key, Signature: m.sealFor.Signature,
		}, fx)
	}
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
	if lag <= m.cfg.LagMax && m.cfg.Held && !m.may {
		return append(fx, CaughtUp{Seq: m.replayed, Head: m.targetHead}) // TimerStep asks the target again
	}
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
		if msg.Reason == proto0500.RejectNotReady {
			why = cause{set: true, code: proto0500.CodeNotReady, text: msg.Text.String()}
		}
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
		if v.Counter != proto0500.CounterRateLimit && v.Counter != proto0500.CounterBacklog { // these fall, too
			sum += v.Value
		}
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
