package migration

import (
	"ferry/frame"
	"ferry/internal/weaken"
	"ferry/proto0500"
)

// Config is what never changes about a participant.
type Config struct {
	Self   proto0500.NodeID
	Origin proto0500.Origin
}

// Copy is what the host really holds of the daemon's state at this moment, outside of attempts in which this node is the
// target. Hash is the head_hash: of the head link and its payload.
type Copy struct {
	OK   bool
	Seq  proto0500.Seq
	Head proto0500.Link
	Hash uint64
}

func (c Copy) at() Position { return Position{Seq: c.Seq, Head: c.Head, Hash: c.Hash} }

// Participant is one daemon at one node: its record, and at most one attempt, in which the node is source or target. It
// is a value: an assignment clones it, == compares it.
//
// Invariants, held by Check:
//
//	P1  the record can be (Record.Check)
//	P2  an attempt as source has a record that says serving; as target, one that says none
//	P3  an attempt is at the record's epoch, above live_epoch, with another node as peer, and an orchestrator
//	P4  sealed: what was replayed is the last seal
//	P5  a source has a seal only while frozen; a freeze has a round
//	P6  the target's word and a release are remembered only while retired
type Participant struct {
	cfg Config
	rec Record
	att attempt

	// While retired, in memory: asking again brings both back.
	word     bool             // the target's own word that it is, or was, live at this epoch or later
	released bool             // an orchestrator has released the copy
	releaser proto0500.NodeID // who

	weak weaken.Set // nothing; only the simulator's canaries turn a rule off
}

// attempt is the memory of an attempt at the record's epoch; a restart ends it. The zero value is none.
type attempt struct {
	state proto0500.State // begun, copying, frozen; prepared, restored, sealed

	sealFor SealFor // source: until the snapshot is taken
	round   uint32  // source: number of freezes
	hasSeal bool    // seal is set
	seal    Position
	digest  uint64 // of the seal

	restoring bool // target: the snapshot is complete
	snapSeq   proto0500.Seq
	snapHash  uint64
	head      Position // target: what was replayed
}

// New is a participant as its record says, in no attempt. The first input must be Boot.
func New(cfg Config, rec Record) Participant { return Participant{cfg: cfg, rec: rec} }

// Weaken turns rules off, for the simulator's canaries. Nobody outside this module can make a Set that holds any.
func (p *Participant) Weaken(s weaken.Set) { p.weak = s }

// Step tells p something and appends to fx what is to be done, in this order (see Effect). copy is what the host holds
// now. An error is a *Refused, after which p is what it was; fx may still hold an answer to the sender then.
func (p *Participant) Step(copy Copy, in Input, fx []Effect) ([]Effect, error) {
	switch in := in.(type) {
	case Boot:
		return p.boot(copy, fx), nil
	case Frame:
		return p.frame(copy, in, fx)
	case Event:
		return p.event(in, fx)
	case Frozen:
		return p.frozen(in, fx)
	case SnapshotComplete:
		return p.snapshotComplete(in, fx)
	case Restored:
		return p.restored(in, fx)
	case Failed:
		return p.failed(in, fx)
	case PeerLost:
		return p.peerLost(in, fx), nil
	case Reconnected:
		return p.reconnected(in, fx), nil
	case Fired:
		return p.fired(in, fx)
	}
	return fx, p.refuse("input", 0, "no such input")
}

// Record is what must be on disk once the effects so far are carried out.
func (p *Participant) Record() Record { return p.rec }

// Epoch is the highest handed out or taken part in, and that of the attempt, if there is one.
func (p *Participant) Epoch() frame.Epoch { return p.rec.Epoch }

// Peer is the other side of the attempt at Epoch, 0: none.
func (p *Participant) Peer() proto0500.NodeID { return p.rec.Peer }

// State is where the node stands: in an attempt, or as its record says.
func (p *Participant) State() proto0500.State {
	if p.att.state != proto0500.StateNone {
		return p.att.state
	}
	return proto0500.State(p.rec.State)
}

// Serving tells whether the daemon may accept writes once the effects so far are carried out; Serve, Thaw and Activate
// say when. The host must have the state, too.
func (p *Participant) Serving() bool {
	return p.rec.State == RecordServing && p.att.state != proto0500.StateFrozen
}

func (p *Participant) isSource() bool {
	s := p.att.state
	return s == proto0500.StateBegun || s == proto0500.StateCopying || s == proto0500.StateFrozen
}

// heldBySeal: a sealed target ends on its source's own word only (R7).
func (p *Participant) heldBySeal() bool {
	return p.att.state == proto0500.StateSealed && !p.weak.Has(weaken.DropAfterAck)
}

func (p *Participant) isTarget() bool {
	s := p.att.state
	return s == proto0500.StatePrepared || s == proto0500.StateRestored || s == proto0500.StateSealed
}

// sourceOf and targetOf tell whether the attempt e is open here.
func (p *Participant) sourceOf(e frame.Epoch) bool { return p.isSource() && e == p.rec.Epoch }
func (p *Participant) targetOf(e frame.Epoch) bool { return p.isTarget() && e == p.rec.Epoch }
func (p *Participant) retiredAt(e frame.Epoch) bool {
	return p.rec.State == RecordRetired && e == p.rec.Epoch
}

// Report says where the node stands; the driver adds the daemon's identity, name, kind and size. It says copy = yes only
// of a state that may count: that of the authority, or a retired one that is exactly what was sealed.
func (p *Participant) Report(copy Copy, boot uint64) proto0500.Report {
	r := proto0500.Report{
		DaemonOrigin: p.cfg.Origin, Epoch: p.rec.Epoch, LiveEpoch: p.rec.LiveEpoch, State: p.State(),
		Peer: p.rec.Peer, Orchestrator: p.rec.Orchestrator, BootID: boot, Last: true,
	}
	var at Position
	switch {
	case p.rec.State == RecordServing && copy.OK:
		r.Copy, at = true, copy.at()
	case p.rec.State == RecordRetired:
		r.Copy, at = p.holdsSeal(copy), p.rec.seal()
	case p.isTarget():
		at = p.att.head
	}
	r.Seq, r.Head, r.HeadHash = at.Seq, at.Head, at.Hash
	return r
}

// holdsSeal tells whether the retired copy is exactly what was sealed.
func (p *Participant) holdsSeal(copy Copy) bool { return copy.OK && copy.at() == p.rec.seal() }

// boot tells everybody who may wait what the record alone says; attempts are over (safety.md, section 2).
func (p *Participant) boot(copy Copy, fx []Effect) []Effect {
	e := p.rec.Epoch
	restarted := proto0500.NewReason(proto0500.CodeStateFailed, "restarted")
	switch p.rec.State {
	case RecordServing:
		if !copy.OK {
			// The state died with the process: neither yes nor no can be said any more (section 6).
			return fx
		}
		if e == p.rec.LiveEpoch {
			return append(fx, Serve{})
		}
		fx = append(fx, StopCopy{Epoch: e}, Serve{})
		return p.sendFailed(restarted, 0, fx)
	case RecordRetired:
		return append(p.askTarget(append(fx, Retire{Epoch: e, Target: p.rec.Peer})), Arm{Timer: TimerAsk, Epoch: e})
	case RecordMoved:
		return append(fx, Retire{Epoch: e, Target: p.rec.Peer}, DropState{})
	}
	if e == 0 {
		return fx
	}
	return p.sendFailed(restarted, 0, append(fx, DropAttempt{Epoch: e}))
}

// peerLost gives up what cannot go on without that node. Nobody gives up after the point where only the other side's own
// word may end it: the source when it is retired, the target when it is sealed.
func (p *Participant) peerLost(in PeerLost, fx []Effect) []Effect {
	peer := in.Peer == p.rec.Peer
	switch {
	case p.isSource() && peer:
		return p.abort(proto0500.NewReason(proto0500.CodeStateFailed, "lost the target"), 0, fx)
	case p.isSource() && in.Peer == p.rec.Orchestrator && p.att.state != proto0500.StateFrozen:
		return p.abort(proto0500.NewReason(proto0500.CodeStateFailed, "lost the orchestrator"), 0, fx)
	case p.att.state == proto0500.StateSealed && peer:
		return append(fx, Arm{Timer: TimerAsk, Epoch: p.rec.Epoch})
	case p.isTarget() && peer:
		return p.drop(proto0500.NewReason(proto0500.CodeStateFailed, "lost the source"), 0, fx)
	}
	return fx
}

// reconnected asks at once what the timer would ask later.
func (p *Participant) reconnected(in Reconnected, fx []Effect) []Effect {
	switch {
	case in.Peer != p.rec.Peer:
	case p.rec.State == RecordRetired && !p.word:
		return p.askTarget(fx)
	case p.att.state == proto0500.StateSealed:
		return p.askSource(fx)
	}
	return fx
}

// failed ends the attempt; a sealed target asks its source instead, as a timer would (R7).
func (p *Participant) failed(in Failed, fx []Effect) ([]Effect, error) {
	switch {
	case p.sourceOf(in.Epoch):
		return p.abort(in.Reason, 0, fx), nil
	case p.targetOf(in.Epoch) && p.heldBySeal():
		return p.askSource(fx), nil
	case p.targetOf(in.Epoch):
		return p.drop(in.Reason, 0, fx), nil
	}
	return fx, p.refuse("Failed", in.Epoch, "no such attempt")
}

func (p *Participant) fired(in Fired, fx []Effect) ([]Effect, error) {
	if in.Epoch != p.rec.Epoch {
		return fx, p.refuse("Fired", in.Epoch, "no such attempt")
	}
	state := p.att.state
	idle := proto0500.NewReason(proto0500.CodeStateFailed, "no progress")
	switch {
	case in.Timer == TimerAttempt && p.isSource():
		return p.abort(idle, 0, fx), nil
	case in.Timer == TimerAttempt && state == proto0500.StateSealed:
		return p.askSource(fx), nil
	case in.Timer == TimerAttempt && p.isTarget():
		return p.drop(idle, 0, fx), nil
	case in.Timer == TimerBlackout && state == proto0500.StateFrozen:
		return p.thaw(fx), nil
	case in.Timer == TimerAsk && p.rec.State == RecordRetired && !p.word:
		return append(p.askTarget(fx), Arm{Timer: TimerAsk, Epoch: in.Epoch}), nil
	case in.Timer == TimerAsk && state == proto0500.StateSealed && !p.heldBySeal():
		return p.drop(idle, 0, fx), nil // a canary
	case in.Timer == TimerAsk && state == proto0500.StateSealed:
		return append(p.askSource(fx), Arm{Timer: TimerAsk, Epoch: in.Epoch}), nil
	case in.Timer == TimerRetain && p.rec.State == RecordRetired && p.word:
		return p.move(fx), nil
	}
	return fx, p.refuse("Fired", in.Epoch, "timer "+in.Timer.String()+" has nothing to end")
}

// send appends a message of the record's epoch.
func (p *Participant) send(to proto0500.NodeID, m proto0500.Message, fx []Effect) []Effect {
	return append(fx, Send{To: to, Epoch: p.rec.Epoch, Message: m})
}

// tell sends one message to the peer, the orchestrator and whoever else asked, to each once.
func (p *Participant) tell(m proto0500.Message, also proto0500.NodeID, fx []Effect) []Effect {
	first, second := p.rec.Orchestrator, p.rec.Peer
	if first != 0 {
		fx = p.send(first, m, fx)
	}
	if second != 0 && second != first {
		fx = p.send(second, m, fx)
	}
	if also != 0 && also != first && also != second {
		fx = p.send(also, m, fx)
	}
	return fx
}

// sendFailed makes the promise of the record's epoch: over(e) from the source, refused(e) from the target. NotReady is
// never a promise, so that it cannot be its reason.
func (p *Participant) sendFailed(r proto0500.Reason, also proto0500.NodeID, fx []Effect) []Effect {
	if r.Retriable() {
		r = proto0500.NewReason(proto0500.CodeStateFailed, "cancelled")
	}
	return p.tell(proto0500.MigrationFailed{DaemonOrigin: p.cfg.Origin, Reason: r}, also, fx)
}

// askTarget (retired) and askSource (sealed) ask the only node whose word can end the attempt (R8).
func (p *Participant) askTarget(fx []Effect) []Effect {
	if p.weak.Has(weaken.SourceDoesNotAsk) {
		return fx
	}
	return p.send(p.rec.Peer, proto0500.ActivateTarget{DaemonOrigin: p.cfg.Origin}, fx)
}

func (p *Participant) askSource(fx []Effect) []Effect {
	if p.weak.Has(weaken.TargetDoesNotAsk) {
		return fx
	}
	return p.send(p.rec.Peer, proto0500.Query{DaemonOrigin: p.cfg.Origin}, fx)
}
