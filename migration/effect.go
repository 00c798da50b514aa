package migration

import (
	"ferry/frame"
	"ferry/proto0500"
)

// Effect is what a Participant wants done. The effects of one Step are carried out strictly in order, and all of them
// before the next Step: what is durable (D) comes before what may be said because of it, and what stops or drops comes
// before saying so.
//
// A failed D effect is a crash and restart of this participant: the driver drops the rest of the list, reads the record
// again from the journal and starts anew with New and Boot. What it reads must itself be durable: a journal whose write
// has failed must not let a later restart find what this reading did not.
//
// Of the others, those of the attempt (StartCopy, Freeze, ShipSeal, Prepare, Restore, Apply) may fail later, in their own
// time: the driver then says Failed. Activate and Serve failing change nothing: the node is the authority all the same,
// and the daemon is restarted there. A Send that cannot be sent is dropped: everything is asked for again.
type Effect interface{ effect() }

// Persist (D) writes the record.
type Persist struct{ Record Record }

// Flush (D): everything through Seq is applied and survives a crash. Where Digest is not 0 and the daemon has one, a
// digest that differs is a failure.
type Flush struct {
	Seq    proto0500.Seq
	Digest uint64
}

// Send puts a message on the control stream to a node, which may be this one.
type Send struct {
	To      proto0500.NodeID
	Epoch   frame.Epoch
	Message proto0500.Message
}

// Answer sends a report: Participant.Report, completed by the driver. Epoch is the frame's.
type Answer struct {
	To    proto0500.NodeID
	Epoch frame.Epoch
}

// SendPrepared answers a Prepare with yes; the driver fills in its limits and credits.
type SendPrepared struct {
	To    proto0500.NodeID
	Epoch frame.Epoch
}

// StartCopy takes the snapshot and ships it, and every event accepted after it, to Target.
type StartCopy struct {
	Epoch                frame.Epoch
	Target, Orchestrator proto0500.NodeID
	SealFor              SealFor
}

// SealFor is for which key the daemon's own is sealed, as the orchestrator has passed it on, and the target's signature of
// it, which the host checks. The zero value: nobody has told.
type SealFor struct {
	Key       [32]byte
	Signature [64]byte
}

// StopCopy ends StartCopy and forgets its buffers. Without one it does nothing.
type StopCopy struct{ Epoch frame.Epoch }

// Freeze makes new writes wait, brings those accepted into the chain, ships the last of them, then says Frozen.
type Freeze struct {
	Epoch frame.Epoch
	Round uint32 // goes into Frozen
}

// Thaw ends a Freeze, finished or not: writes are accepted again. A Frozen of it that is still queued is dropped.
type Thaw struct{ Epoch frame.Epoch }

// ShipSeal sends the seal on the event stream, behind the last BufferedEvents.
type ShipSeal struct {
	To    proto0500.NodeID
	Epoch frame.Epoch
	Seal  proto0500.Seal
}

// Retire accepts nothing more and keeps the state. Writers, waiting and new, are told Moved{Target, Epoch}.
type Retire struct {
	Epoch  frame.Epoch
	Target proto0500.NodeID
}

// Serve opens the daemon, started or frozen or retired: it accepts writes.
type Serve struct{}

// DropState drops the state of a daemon that has moved away. Without one it does nothing.
type DropState struct{}

// Prepare allocates the attempt: it bounds and makes room for what the message announces.
type Prepare struct {
	Epoch   frame.Epoch
	Source  proto0500.NodeID
	Message proto0500.Prepare
}

// Restore makes the daemon from the complete snapshot, then says Restored.
type Restore struct{ Epoch frame.Epoch }

// Apply replays the event just stepped. The host may do so in its own time, in order; Flush waits for it.
type Apply struct{}

// DropAttempt forgets everything of the attempt: daemon, chunks, files. Without one it does nothing.
type DropAttempt struct{ Epoch frame.Epoch }

// Activate opens the attempt's daemon: it is the node's own now and accepts writes.
type Activate struct{ Epoch frame.Epoch }

// Arm starts a timer, anew when it runs already. There is one of each; Fired carries the Epoch back. A Fired that is
// still queued when its timer is armed anew, or disarmed, is dropped.
type Arm struct {
	Timer Timer
	Epoch frame.Epoch
}

// Disarm stops it.
type Disarm struct{ Timer Timer }

func (Persist) effect()      {}
func (Flush) effect()        {}
func (Send) effect()         {}
func (Answer) effect()       {}
func (SendPrepared) effect() {}
func (StartCopy) effect()    {}
func (StopCopy) effect()     {}
func (Freeze) effect()       {}
func (Thaw) effect()         {}
func (ShipSeal) effect()     {}
func (Retire) effect()       {}
func (Serve) effect()        {}
func (DropState) effect()    {}
func (Prepare) effect()      {}
func (Restore) effect()      {}
func (Apply) effect()        {}
func (DropAttempt) effect()  {}
func (Activate) effect()     {}
func (Arm) effect()          {}
func (Disarm) effect()       {}
