package migration

import (
	"ferry/frame"
	"ferry/proto0500"
)

// The orchestrator (safety.md, section 7). It decides nothing: every end is the word of the source or the target. What
// it asks for is asked again with TimerStep, and everything it asks for may be asked twice.
//
//	begin ─▶ prepare ─▶ copy ─▶ replay ⇄ lag ─▶ cutover ─▶ activate ─▶ release ─▶ done: committed
//	  ▲         │         │        │      │        │           │
//	  │floor    └─────────┴────────┴──────┴────────┘           └─ T refused ─▶ reinstate ─┐
//	  └──────────────────────── cancel ──── S: over(e) ──────────────────────────────────┴─▶ done: rolled back
//	                              └──────── S: retired(e) ──▶ activate: only forward
//	resume: askSource ─▶ any of these, or askTarget
type moveStep uint8

// sourceWord is what the source has said of an attempt that it is past.
type sourceWord uint8

const (
	saidNothing sourceWord = 0
	saidPast    sourceWord = 1 // it has been elsewhere since
	saidMoved   sourceWord = 2 // the target has told it that it is live
)

const (
	stepNew       moveStep = 0
	stepBegin     moveStep = 1  // for report(e)
	stepPrepare   moveStep = 2  // for Prepared
	stepCopy      moveStep = 3  // for RestoreComplete
	stepReplay    moveStep = 4  // for ReplayComplete
	stepLag       moveStep = 5  // for how far the source is, or until it is time to ask the target again
	stepCutover   moveStep = 6  // for CleanupComplete
	stepActivate  moveStep = 7  // for the target's answer to ActivateTarget
	stepRelease   moveStep = 8  // committed; for the source to have let go, and the target's head
	stepCancel    moveStep = 9  // for the source's own word
	stepReinstate moveStep = 10 // the target has refused a retired source, which asks it itself
	stepAskSource moveStep = 11 // resumed
	stepAskTarget moveStep = 12 // the source's word is not the whole truth
	stepDone      moveStep = 13
)

// Move is one move as its orchestrator drives it. It is a value: an assignment clones it, == compares it.
//
// Invariants, held by Check:
//
//	M1  beyond begin there is an epoch, and it is recorded
//	M2  an outcome is recorded before done says it
//	M3  the target is asked to go live only in phase complete
type Move struct {
	cfg   MoveConfig
	rec   MoveRecord // Epoch 0: none yet
	step  moveStep
	phase Phase

	may       bool        // Cutover has been said
	cancelled bool        // the user wants it ended, and there is no epoch to end yet
	again     bool        // begin again once the source has given this epoch up
	floor     frame.Epoch // the epoch the target has said it has seen
	begins    uint8
	cutovers  uint8
	lagLeast  uint64
	sealFor   SealFor   // what the target has announced
	counted   [2]uint64 // sums of the counters that source and target have reported
	end       Outcome   // what cancel ends in
	why       cause
	said      sourceWord // askTarget: what the source has said

	sourceGone, targetSeen bool // release: what has been answered
	replayed, restored     proto0500.Seq
	final                  proto0500.Seq
	sourceHead, targetHead proto0500.Link
}

// NewMove is a move that has not begun.
func NewMove(cfg MoveConfig) Move {
	if cfg.LagMax == 0 {
		cfg.LagMax = lagMaxDefault
	}
	if cfg.CutoverTries == 0 {
		cfg.CutoverTries = cutoverTriesDefault
	}
	return Move{cfg: cfg}
}

// ResumeMove takes up a move after a restart, or another orchestrator's: whatever its record says, the source and then
// the target are asked where they are. cfg's source and target are the record's.
func ResumeMove(cfg MoveConfig, rec MoveRecord) Move {
	cfg.Origin, cfg.Source, cfg.Target = rec.Origin, rec.Source, rec.Target
	m := NewMove(cfg)
	m.rec = rec
	return m
}

// Phase is how far the move has come.
func (m *Move) Phase() Phase { return m.phase }

// Record is what the orchestrator journals of the move; Epoch is 0 before there is anything to journal.
func (m *Move) Record() MoveRecord { return m.rec }

// Doing names what the move waits for, by the step that has it: begin, prepare, copy, replay, lag, cutover, activate,
// release, cancel, reinstate, askSource or askTarget; "" before it has started and when it is over.
func (m *Move) Doing() string {
	names := [...]string{
		stepBegin: "begin", stepPrepare: "prepare", stepCopy: "copy", stepReplay: "replay", stepLag: "lag",
		stepCutover: "cutover", stepActivate: "activate", stepRelease: "release", stepCancel: "cancel",
		stepReinstate: "reinstate", stepAskSource: "askSource", stepAskTarget: "askTarget", stepDone: "",
	}
	return names[m.step]
}

// Done tells whether the move has ended.
func (m *Move) Done() bool { return m.step == stepDone }

// Check tells whether the move's invariants hold; the list is at the type.
func (m *Move) Check() error {
	early := m.step == stepNew || m.step == stepBegin || m.step == stepDone
	switch {
	case !early && m.rec.Epoch == 0:
		return &InvariantError{Number: "M1", Detail: "no epoch"}
	case m.step == stepRelease && m.rec.Outcome != MoveCommitted:
		return &InvariantError{Number: "M2", Detail: "released but recorded as " + m.rec.Outcome.String()}
	case m.step == stepActivate && m.phase != PhaseComplete:
		return &InvariantError{Number: "M3", Detail: "activating in phase " + m.phase.String()}
	}
	return nil
}

// Step tells m something and appends to fx what is to be done, in order. An error is a *Refused: m is what it was.
func (m *Move) Step(in MoveInput, fx []MoveEffect) ([]MoveEffect, error) {
	before := *m
	fx, err := m.handle(in, fx)
	if err != nil {
		*m = before
	}
	return fx, err
}

func (m *Move) handle(in MoveInput, fx []MoveEffect) ([]MoveEffect, error) {
	if f, ok := in.(Frame); ok {
		if err := m.mayTell(f); err != nil {
			return fx, err
		}
	}
	if m.step == stepDone {
		return fx, m.refuse(in, "the move is over")
	}
	if _, start := in.(Start); start != (m.step == stepNew) {
		return fx, m.refuse(in, "a move starts once, and first")
	}
	switch in := in.(type) {
	case Start:
		return m.start(fx), nil
	case Frame:
		return m.frame(in, fx)
	case Fired:
		return m.fired(in, fx)
	case Cancel:
		return m.cancelWish(fx), nil
	case Cutover:
		m.may = true
		if m.step == stepReplay || m.step == stepLag {
			return m.ask(fx), nil
		}
		return fx, nil
	case PeerLost:
		return m.peerLost(in, fx), nil
	case Reconnected:
		if in.Peer != m.cfg.Source && in.Peer != m.cfg.Target {
			return fx, nil
		}
		return m.ask(fx), nil
	}
	return fx, m.refuse(in, "no such input")
}

func (m *Move) refuse(in MoveInput, detail string) error {
	return m.refuseAs(in, proto0500.RejectWrongState, detail)
}

func (m *Move) refuseAs(in MoveInput, reason proto0500.RejectReason, detail string) error {
	r := &Refused{Input: "input", At: m.rec.Epoch, Reason: reason, Detail: detail}
	switch in := in.(type) {
	case Frame:
		r.Epoch = in.Epoch
		if in.Message != nil {
			r.Input = in.Message.Kind().String()
		}
	case Fired:
		r.Input, r.Epoch = "Fired "+in.Timer.String(), in.Epoch
	case Start:
		r.Input = "Start"
	case Cancel:
		r.Input = "Cancel"
	case Cutover:
		r.Input = "Cutover"
	}
	return r
}

func (m *Move) start(fx []MoveEffect) []MoveEffect {
	switch {
	case m.rec.Epoch == 0:
		return m.begin(fx)
	case m.rec.Outcome == MoveCommitted:
		m.phase = PhaseComplete
		return m.enter(stepRelease, fx)
	case m.rec.Outcome == MoveRolledBack:
		return m.done(OutcomeRolledBack, fx)
	case m.rec.Outcome == MoveMovedOn:
		return m.done(OutcomeMovedOn, fx)
	}
	return m.enter(stepAskSource, fx)
}

// begin asks for an epoch; there may have been one that the target had passed.
func (m *Move) begin(fx []MoveEffect) []MoveEffect {
	m.again, m.rec = false, MoveRecord{}
	m.begins++
	return m.enter(stepBegin, m.progress(PhaseBegin, fx))
}

// enter goes to a step: asks what it asks, and starts both timers.
func (m *Move) enter(s moveStep, fx []MoveEffect) []MoveEffect {
	m.step = s
	return append(m.ask(fx), Arm{Timer: TimerPhase, Epoch: m.rec.Epoch})
}

// progress says a phase once. A phase never goes back, except to begin anew.
func (m *Move) progress(p Phase, fx []MoveEffect) []MoveEffect {
	if p == m.phase && m.step != stepNew || p < m.phase && p != PhaseBegin {
		return fx
	}
	m.phase = p
	return append(fx, Progress{Phase: p})
}

// ask sends what the step waits for an answer to, again or for the first time.
func (m *Move) ask(fx []MoveEffect) []MoveEffect {
	o, s, t := m.cfg.Origin, m.cfg.Source, m.cfg.Target
	switch m.step {
	case stepBegin, stepPrepare:
		// In prepare the source's answer brings what Prepare says.
		fx = append(fx, Send{To: s, Message: proto0500.Begin{DaemonOrigin: o, TargetNode: t, Floor: m.floor}})
	case stepCopy, stepCutover:
		fx = m.send(s, proto0500.Query{DaemonOrigin: o}, fx)
		fx = m.send(t, proto0500.Query{DaemonOrigin: o}, fx)
	case stepReplay, stepLag:
		m.step = stepReplay
		fx = m.send(t, proto0500.BufferedEvents{DaemonOrigin: o}, fx)
	case stepActivate:
		fx = m.send(t, proto0500.ActivateTarget{DaemonOrigin: o}, fx)
	case stepRelease:
		if !m.sourceGone {
			fx = m.send(s, proto0500.Release{DaemonOrigin: o}, fx)
		}
		if !m.targetSeen {
			fx = m.send(t, proto0500.Query{DaemonOrigin: o}, fx)
		}
	case stepCancel:
		fx = m.send(t, m.wish(), m.wishSource(fx))
	case stepReinstate:
		fx = m.wishSource(fx)
	case stepAskSource:
		fx = m.send(s, proto0500.Query{DaemonOrigin: o}, fx)
	case stepAskTarget:
		fx = m.send(t, proto0500.Query{DaemonOrigin: o}, fx)
	}
	return append(fx, Arm{Timer: TimerStep, Epoch: m.rec.Epoch})
}

func (m *Move) send(to proto0500.NodeID, msg proto0500.Message, fx []MoveEffect) []MoveEffect {
	return append(fx, Send{To: to, Epoch: m.rec.Epoch, Message: msg})
}

// wish is MigrationFailed as an orchestrator may say it. From a node that is source or target itself the same frame would
// be that side's promise; NotReady never is one.
func (m *Move) wish() proto0500.Message {
	r := m.why.reason()
	if m.cfg.Self == m.cfg.Source || m.cfg.Self == m.cfg.Target {
		r = proto0500.NewReason(proto0500.CodeNotReady, "")
	}
	return proto0500.MigrationFailed{DaemonOrigin: m.cfg.Origin, Reason: r}
}

// wishSource asks, too: a source that has retired does not answer a wish, it asks its target.
func (m *Move) wishSource(fx []MoveEffect) []MoveEffect {
	fx = m.send(m.cfg.Source, m.wish(), fx)
	return m.send(m.cfg.Source, proto0500.Query{DaemonOrigin: m.cfg.Origin}, fx)
}

// cancel wishes the end, and waits for the source's own word.
func (m *Move) cancel(end Outcome, why cause, fx []MoveEffect) []MoveEffect {
	m.end = end
	if !m.why.set {
		m.why = why
	}
	return m.enter(stepCancel, fx)
}

func (m *Move) cancelWish(fx []MoveEffect) []MoveEffect {
	why := failedCause("cancelled")
	switch m.step {
	case stepBegin:
		m.cancelled = true
		return fx
	case stepCancel:
		m.again, m.end, m.why = false, OutcomeRolledBack, why
		return fx
	case stepActivate, stepRelease, stepReinstate:
		return append(fx, Notice{"too late to cancel: the source has retired"})
	case stepAskTarget:
		return append(fx, Notice{"too late to cancel: the source has let go of this attempt"})
	}
	return m.cancel(OutcomeRolledBack, why, fx)
}

func (m *Move) peerLost(in PeerLost, fx []MoveEffect) []MoveEffect {
	query := proto0500.Query{DaemonOrigin: m.cfg.Origin}
	switch {
	case m.rec.Epoch == 0:
		return fx
	case in.Peer == m.cfg.Source:
		return m.send(m.cfg.Target, query, append(fx, Notice{"lost the source"}))
	case in.Peer == m.cfg.Target:
		return m.send(m.cfg.Source, query, append(fx, Notice{"lost the target"}))
	}
	return fx
}

func (m *Move) fired(in Fired, fx []MoveEffect) ([]MoveEffect, error) {
	switch {
	case in.Epoch != m.rec.Epoch:
		return fx, m.refuse(in, "of another epoch")
	case in.Timer == TimerStep:
		return m.ask(fx), nil
	case in.Timer == TimerPhase:
		return m.stuck(fx), nil
	}
	return fx, m.refuse(in, "not a timer of a move")
}

// stuck: there was no progress for as long as the shell would wait.
func (m *Move) stuck(fx []MoveEffect) []MoveEffect {
	notReady := func(text string) cause { return cause{set: true, code: proto0500.CodeNotReady, text: text} }
	switch m.step {
	case stepBegin:
		// No prepare has gone out: whatever the source has begun ends by itself.
		m.why = notReady("the source does not answer")
		return m.done(OutcomeRefused, fx)
	case stepPrepare:
		return m.cancel(OutcomeRefused, notReady("the target does not answer"), fx)
	case stepCancel:
		// Without TakeSnapshot the source has not retired. That is no outcome: while it has begun, the next move of this
		// orchestrator to the same target takes this epoch up, and may commit it.
		m.why = failedCause("the source does not answer; it serves on unless it has retired")
	case stepAskSource:
		return m.enter(stepAskTarget, append(fx, Notice{"the source does not answer"}))
	case stepAskTarget:
		if m.said == saidMoved {
			return m.committed(m.final, fx)
		}
		m.why = failedCause("the target does not answer")
	case stepActivate:
		m.why = failedCause("the source has retired and the target does not answer; they go on by themselves")
	case stepReinstate:
		m.why = failedCause("the target has refused and the source does not answer; they go on by themselves")
	case stepRelease:
		return m.done(OutcomeCommitted, append(fx, Notice{"the source still keeps its copy"}))
	default:
		return m.cancel(OutcomeRolledBack, failedCause("no progress in phase "+m.phase.String()), fx)
	}
	return m.done(OutcomeInDoubt, fx)
}

// cutover asks the source to freeze.
func (m *Move) cutover(fx []MoveEffect) []MoveEffect {
	fx = m.progress(PhaseCutover, fx)
	m.step = stepCutover
	m.cutovers++
	e := m.rec.Epoch
	fx = m.send(m.cfg.Source, proto0500.CutoverNotify{DaemonOrigin: m.cfg.Origin, TargetNode: m.cfg.Target}, fx)
	return append(fx, Arm{Timer: TimerStep, Epoch: e}, Arm{Timer: TimerPhase, Epoch: e})
}

// activate: the source has retired, by its own word. Only forward.
func (m *Move) activate(fx []MoveEffect) []MoveEffect {
	if m.step == stepCancel {
		fx = append(fx, Notice{"too late to cancel: the source has retired"})
	}
	// Its final head, off the path of the blackout.
	fx = m.enter(stepActivate, m.progress(PhaseComplete, fx))
	return m.send(m.cfg.Source, proto0500.Query{DaemonOrigin: m.cfg.Origin}, fx)
}

// committed: the target is the authority, by its own word.
func (m *Move) committed(seq proto0500.Seq, fx []MoveEffect) []MoveEffect {
	m.final, m.rec.Outcome = seq, MoveCommitted
	fx = append(m.progress(PhaseComplete, fx), PersistMove{m.rec})
	return m.enter(stepRelease, fx)
}

// rolledBack: the source serves on. The target is told, although the source has told it already.
func (m *Move) rolledBack(fx []MoveEffect) []MoveEffect {
	m.rec.Outcome = MoveRolledBack
	fx = append(fx, PersistMove{m.rec})
	if m.again && m.begins < beginsMax {
		m.why, m.end = cause{}, 0
		return m.begin(fx)
	}
	fx = m.send(m.cfg.Target, m.wish(), fx)
	if m.end == 0 {
		m.end = OutcomeRolledBack
	}
	return m.done(m.end, fx)
}

func (m *Move) movedOn(fx []MoveEffect) []MoveEffect {
	m.rec.Outcome = MoveMovedOn
	m.why = failedCause("the daemon has moved on since")
	return m.done(OutcomeMovedOn, append(fx, PersistMove{m.rec}))
}

func (m *Move) done(o Outcome, fx []MoveEffect) []MoveEffect {
	m.step = stepDone
	if o == OutcomeCommitted || o == OutcomePrepared {
		m.why = cause{}
	}
	return append(fx, Disarm{TimerStep}, Disarm{TimerPhase}, Done{Result{
		Outcome: o, Reason: m.why.reason(), Text: m.why.String(), Epoch: m.rec.Epoch,
		RestoredSeq: m.restored, FinalSeq: m.final, SourceHead: m.sourceHead, TargetHead: m.targetHead,
	}})
}
