package migration

import (
	"ferry/frame"
	"ferry/proto0500"
)

// MoveConfig is what a move is to be. The zero value of what has a default is that default.
type MoveConfig struct {
	Self, Source, Target proto0500.NodeID
	Origin               proto0500.Origin
	LagMax               uint64 // events that the target may be behind at the cutover; default 64
	CutoverTries         uint8  // freezes before the move is given up; default 3
	DryRun               bool   // ask the target, then cancel
	Held                 bool   // no cutover before Cutover has been said
	// What the source would like to send, in bytes; 0: no wish. They go into Prepare.
	ChunkBytes, EventPayloadBytes uint32
}

const (
	lagMaxDefault       = 64
	cutoverTriesDefault = 3
	beginsMax           = 3 // epochs asked for because the target had seen higher ones
)

// MoveInput is what a Move can be told: Start, Frame, Fired, Cancel, Cutover, PeerLost or Reconnected. A node that is source or
// target of its own move gives a frame to both, its Participant and its Move; each refuses what is not for it.
type MoveInput interface{ moveInput() }

// Start is the first input.
type Start struct{}

// Cancel is the user's wish to end the move; once the source has retired it only goes forward.
type Cancel struct{}

// Cutover lets a move that is Held go on to its cutover, once the target has caught up. It may come at any time before.
type Cutover struct{}

func (Start) moveInput()       {}
func (Cutover) moveInput()     {}
func (Cancel) moveInput()      {}
func (Frame) moveInput()       {}
func (Fired) moveInput()       {}
func (PeerLost) moveInput()    {}
func (Reconnected) moveInput() {}

// MoveEffect is what a Move wants done, in order: PersistMove, Send, Arm, Disarm, Progress, CaughtUp, Notice or Done. PersistMove is
// durable before what follows it; when it fails the move is taken up with ResumeMove, or given up: nothing rests on it.
type MoveEffect interface{ moveEffect() }

// PersistMove (D) writes the move's record.
type PersistMove struct{ Record MoveRecord }

// Progress says that the move has come to a phase.
type Progress struct{ Phase Phase }

// CaughtUp says, of a move that is Held, that it could go on to the cutover: so far has the target replayed. It is said
// whenever that is found.
type CaughtUp struct {
	Seq  proto0500.Seq
	Head proto0500.Link
}

// Notice is a sentence for whoever watches.
type Notice struct{ Text string }

// Done is the last effect.
type Done struct{ Result Result }

func (PersistMove) moveEffect() {}
func (Send) moveEffect()        {}
func (Arm) moveEffect()         {}
func (Disarm) moveEffect()      {}
func (Progress) moveEffect()    {}
func (CaughtUp) moveEffect()    {}
func (Notice) moveEffect()      {}
func (Done) moveEffect()        {}

// Phase is how far a move has come: two before the six of the protocol.
type Phase uint8

// The phases, in order.
const (
	PhaseBegin    Phase = 0 // the source hands out the epoch
	PhasePrepare  Phase = 1 // the target is asked
	PhaseSnapshot Phase = 2 // the source takes the snapshot
	PhaseTransfer Phase = 3 // chunks and events are on their way
	PhaseRestore  Phase = 4 // the target restores
	PhaseReplay   Phase = 5 // the target catches up
	PhaseCutover  Phase = 6 // the source freezes and seals
	PhaseComplete Phase = 7 // the source has retired: only forward
)

func (p Phase) String() string {
	names := [...]string{"begin", "prepare", "snapshot", "transfer", "restore", "replay", "cutover", "complete"}
	if int(p) < len(names) {
		return names[p]
	}
	return "phase?"
}

// Outcome is how a move ended, as far as this orchestrator knows.
type Outcome uint8

// The outcomes.
const (
	OutcomeCommitted  Outcome = 1 // the target is the authority, by its own word
	OutcomeRolledBack Outcome = 2 // the source serves on, by its own word
	OutcomeRefused    Outcome = 3 // nothing was copied: the source or the target would not
	OutcomeInDoubt    Outcome = 4 // who could tell does not answer; source and target end it by themselves
	OutcomeMovedOn    Outcome = 5 // the target has been the authority at a later epoch
	OutcomePrepared   Outcome = 6 // a dry run: the target would take it
)

func (o Outcome) String() string {
	switch o {
	case OutcomeCommitted:
		return "committed"
	case OutcomeRolledBack:
		return "rolled back"
	case OutcomeRefused:
		return "refused"
	case OutcomeInDoubt:
		return "in doubt"
	case OutcomeMovedOn:
		return "moved on"
	case OutcomePrepared:
		return "prepared"
	}
	return "outcome?"
}

// Result is how a move ended.
type Result struct {
	Outcome     Outcome
	Reason      proto0500.Reason // why it was not committed; Retriable says that the same may succeed later
	Text        string           // the same for people, "" when there is nothing to say
	Epoch       frame.Epoch      // 0: none was handed out
	RestoredSeq proto0500.Seq
	FinalSeq    proto0500.Seq  // at which the target went live; 0 when it has moved the daemon on since
	SourceHead  proto0500.Link // the last that each of them has told
	TargetHead  proto0500.Link
}

// cause is a proto0500.Reason that can be compared.
type cause struct {
	set      bool
	code     proto0500.Code
	attempts uint8
	text     string
}

func causeOf(r proto0500.Reason) cause {
	return cause{set: true, code: r.Code, attempts: r.Attempts, text: r.Text.String()}
}

func failedCause(text string) cause {
	return cause{set: true, code: proto0500.CodeStateFailed, text: text}
}

func (c cause) reason() proto0500.Reason {
	r := proto0500.NewReason(c.code, c.text)
	r.Attempts = c.attempts
	return r
}

// String is for people: the text, where the code carries none too.
func (c cause) String() string {
	if !c.set {
		return ""
	}
	if c.text != "" && !c.code.HasText() {
		return c.code.String() + ": " + c.text
	}
	return c.reason().String()
}
