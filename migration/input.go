package migration

import (
	"ferry/frame"
	"ferry/proto0500"
)

// Input is what a Participant can be told. Epoch is always the attempt's: what belongs to another changes nothing.
type Input interface{ input() }

// Boot is the first input after New: at the start of the process, and after a durable effect has failed.
type Boot struct{}

// Frame is a message of a peer, whose identity the transport has proven.
type Frame struct {
	From         proto0500.NodeID
	Orchestrator bool // From may orchestrate this daemon
	Epoch        frame.Epoch
	Message      proto0500.Message // its borrowed parts are only read before the effects are carried out
	// Verdict comes with Prepare and says whether this node could take the daemon: nil is yes, NotReady not now, any
	// other code never.
	Verdict *proto0500.Reason
}

// Event is one event of the source's BufferedEvents, whose payload the shell holds until the effects say Apply. Events
// that come before the snapshot is restored are held back by the shell.
type Event struct {
	From  proto0500.NodeID
	Epoch frame.Epoch
	Link  proto0500.Link
	Hash  uint64 // XXH3-64 of the link and the payload, computed here, never the peer's word
}

// Frozen says that the host has finished the Freeze of this round: every accepted write is in the chain and none will
// follow. A freeze that was thawed before it had finished must not be reported, and is not believed: its round is over.
type Frozen struct {
	Epoch  frame.Epoch
	Round  uint32 // of the Freeze
	Seq    proto0500.Seq
	Head   proto0500.Link
	Hash   uint64
	Digest uint64 // of the daemon's state, 0: none
}

// SnapshotComplete says that all chunks of one snapshot are here and agree with its digest.
type SnapshotComplete struct {
	Epoch frame.Epoch
	Seq   proto0500.Seq // from the Transfer, equal to the envelope's
	Hash  uint64        // head_hash of the Transfer
}

// Restored says that the host has restored the daemon from that snapshot.
type Restored struct {
	Epoch frame.Epoch
	Seq   proto0500.Seq
	Head  proto0500.Link
	Hash  uint64
}

// Failed says that the attempt cannot go on here: snapshot, sending, restoring, applying, a full buffer.
type Failed struct {
	Epoch  frame.Epoch
	Reason proto0500.Reason
}

// PeerLost says that the transport has lost a node.
type PeerLost struct{ Peer proto0500.NodeID }

// Reconnected says that it is back.
type Reconnected struct{ Peer proto0500.NodeID }

// Fired says that a timer has run out. Each fires once; who wants it again arms it again.
type Fired struct {
	Timer Timer
	Epoch frame.Epoch // of the Arm
}

func (Boot) input()             {}
func (Frame) input()            {}
func (Event) input()            {}
func (Frozen) input()           {}
func (SnapshotComplete) input() {}
func (Restored) input()         {}
func (Failed) input()           {}
func (PeerLost) input()         {}
func (Reconnected) input()      {}
func (Fired) input()            {}

// Timer names a timer of a participant or of a move. Their lengths are the shell's.
type Timer uint8

// The timers of a participant, then those of a move.
const (
	TimerAttempt  Timer = 1 // no progress: the attempt is given up. The shell may start it anew on progress it sees itself
	TimerBlackout Timer = 2 // the blackout's budget is spent
	TimerAsk      Timer = 3 // ask the other side again (R8)
	TimerRetain   Timer = 4 // a moved daemon's copy has been kept long enough without a release

	TimerStep  Timer = 5 // ask again for what is awaited
	TimerPhase Timer = 6 // no progress: give up, or say so
)

func (t Timer) String() string {
	switch t {
	case TimerAttempt:
		return "attempt"
	case TimerBlackout:
		return "blackout"
	case TimerAsk:
		return "ask"
	case TimerRetain:
		return "retain"
	case TimerStep:
		return "step"
	case TimerPhase:
		return "phase"
	}
	return "timer?"
}
