package migration

import (
	"ferry/frame"
	"ferry/internal/weaken"
	"ferry/proto0500"
)

// The source (safety.md, section 5). Italics are in memory: begun, copying, frozen.
//
//	             begin            TakeSnapshot        CutoverNotify          ack = last seal
//	serving ────────────▶ begun ──────────────▶ copying ──────────▶ frozen ──────────────────▶ retired
//	   ▲                    │                   │     ▲   blackout     │                        │   │
//	   │   failure, timer,  │                   │     └──── spent ─────┤    refused(e) from T   │   │ T's own word, then
//	   └── MigrationFailed ─┴───────────────────┴──────────────────────┘                        │   │ release or retain time
//	   └────────────────────────────────────────────────────────────────────────────────────────┘   ▼
//	                                                                                              moved

// begin hands out an epoch, on disk before it is named (R1).
func (p *Participant) begin(copy Copy, in Frame, m proto0500.Begin, fx []Effect) ([]Effect, error) {
	e := max(p.rec.Epoch, m.Floor) + 1
	if p.weak.Has(weaken.EpochReused) && p.rec.Epoch > p.rec.LiveEpoch {
		e = p.rec.Epoch
	}
	switch {
	case in.Epoch != 0:
		return p.reject(in, proto0500.RejectMalformed, "begin belongs to no epoch yet", fx)
	case p.isSource() || p.rec.State == RecordRetired:
		return p.beginAgain(in, m, fx), nil
	case p.rec.State != RecordServing || !copy.OK:
		fx = append(fx, Answer{To: in.From})
		return p.reject(in, proto0500.RejectWrongState, "this node is not the daemon's authority", fx)
	case m.TargetNode == 0 || m.TargetNode == p.cfg.Self:
		return p.reject(in, proto0500.RejectMalformed, "the target must be another node", fx)
	case e == 0:
		return p.reject(in, proto0500.RejectMalformed, "no epoch is left above the floor", fx)
	}
	p.rec = Record{
		Epoch: e, LiveEpoch: p.rec.LiveEpoch, State: RecordServing,
		Peer: m.TargetNode, Orchestrator: in.From,
	}
	p.att = attempt{state: proto0500.StateBegun}
	return append(fx, Persist{p.rec}, Answer{To: in.From, Epoch: e}, Arm{Timer: TimerAttempt, Epoch: e}), nil
}

// beginAgain answers a begin in an attempt. AlreadyMigrating goes out in epoch 0: in any other it would be over(e).
func (p *Participant) beginAgain(in Frame, m proto0500.Begin, fx []Effect) []Effect {
	answer := Answer{To: in.From, Epoch: p.rec.Epoch}
	if p.att.state == proto0500.StateBegun && in.From == p.rec.Orchestrator && m.TargetNode == p.rec.Peer {
		return append(fx, answer)
	}
	already := proto0500.MigrationFailed{
		DaemonOrigin: p.cfg.Origin, Reason: proto0500.NewReason(proto0500.CodeAlreadyMigrating, ""),
	}
	return append(fx, Send{To: in.From, Message: already}, answer)
}

func (p *Participant) takeSnapshot(in Frame, m proto0500.TakeSnapshot, fx []Effect) ([]Effect, error) {
	switch {
	case !p.sourceOf(in.Epoch):
		return p.over(in, fx)
	case m.TargetNode != p.rec.Peer:
		return p.reject(in, proto0500.RejectMalformed, "names another target", fx)
	case p.att.state != proto0500.StateBegun:
		return fx, nil // doubled
	}
	p.att.state = proto0500.StateCopying
	e := p.rec.Epoch
	return append(fx,
		StartCopy{Epoch: e, Target: p.rec.Peer, Orchestrator: p.rec.Orchestrator, SealFor: p.att.sealFor},
		Arm{Timer: TimerAttempt, Epoch: e},
	), nil
}

// recipient remembers for which key the host seals the daemon's own when the snapshot is taken. Whether the target has
// announced it is for the host to check.
func (p *Participant) recipient(in Frame, m proto0500.Recipient, fx []Effect) ([]Effect, error) {
	switch {
	case !p.sourceOf(in.Epoch):
		return p.over(in, fx)
	case p.att.state == proto0500.StateBegun:
		p.att.sealFor = SealFor{Key: m.SealingKey, Signature: m.Signature}
	}
	return fx, nil
}

func (p *Participant) cutoverNotify(in Frame, m proto0500.CutoverNotify, fx []Effect) ([]Effect, error) {
	switch {
	case !p.sourceOf(in.Epoch):
		return p.over(in, fx)
	case m.TargetNode != p.rec.Peer:
		return p.reject(in, proto0500.RejectMalformed, "names another target", fx)
	case p.att.state == proto0500.StateBegun:
		return p.reject(in, proto0500.RejectWrongState, "nothing has been copied", fx)
	case p.att.state == proto0500.StateFrozen:
		return fx, nil // doubled
	}
	p.att.state = proto0500.StateFrozen
	p.att.round++
	e := p.rec.Epoch
	return append(fx,
		Arm{Timer: TimerBlackout, Epoch: e},
		Freeze{Epoch: e, Round: p.att.round},
		Arm{Timer: TimerAttempt, Epoch: e},
	), nil
}

// frozen seals. A Frozen of an earlier round would seal a sequence that writes have passed since.
func (p *Participant) frozen(in Frozen, fx []Effect) ([]Effect, error) {
	switch {
	case !p.sourceOf(in.Epoch) || p.att.state != proto0500.StateFrozen:
		return fx, p.refuse("Frozen", in.Epoch, "no freeze was asked for")
	case in.Round != p.att.round || p.att.hasSeal:
		return fx, p.refuse("Frozen", in.Epoch, "the freeze of another round")
	case in.Head.OriginHash != p.cfg.Origin || in.Head.Sequence != in.Seq:
		return p.abort(proto0500.NewReason(proto0500.CodeStateFailed, "the host's head is not of this chain"), 0, fx), nil
	}
	p.att.hasSeal, p.att.digest = true, in.Digest
	p.att.seal = Position{Seq: in.Seq, Head: in.Head, Hash: in.Hash}
	if p.weak.Has(weaken.RetiredBeforeAck) {
		early := p.rec
		early.State, early.SealSeq, early.SealHead, early.SealHash = RecordRetired, in.Seq, in.Head, in.Hash
		fx = append(fx, Persist{early})
	}
	if p.weak.Has(weaken.ActivateBeforeRetired) {
		fx = p.askTarget(fx)
	}
	return append(fx, ShipSeal{To: p.rec.Peer, Epoch: p.rec.Epoch, Seal: proto0500.Seal{
		DaemonOrigin: p.cfg.Origin, Seq: in.Seq, Head: in.Head, HeadHash: in.Hash, StateDigest: in.Digest,
	}}), nil
}

// thaw serves on in the same epoch: the blackout would be too long. The seal is void; the next one counts.
func (p *Participant) thaw(fx []Effect) []Effect {
	e := p.rec.Epoch
	p.att = attempt{state: proto0500.StateCopying, round: p.att.round}
	return append(fx, Thaw{Epoch: e}, Arm{Timer: TimerAttempt, Epoch: e}, Answer{To: p.rec.Orchestrator, Epoch: e})
}

// ack retires the source: only after the ack, only of the last seal (R3). The record is on disk before CleanupComplete
// and ActivateTarget go out (R4), and the writers are told only then.
func (p *Participant) ack(in Frame, m proto0500.Ack, fx []Effect) ([]Effect, error) {
	acked := Position{Seq: m.Seq, Head: m.Head, Hash: m.HeadHash}
	switch {
	case !p.sourceOf(in.Epoch):
		return fx, p.refuse("Ack", in.Epoch, "no such attempt")
	case p.att.state != proto0500.StateFrozen || !p.att.hasSeal || acked != p.att.seal && !p.weak.Has(weaken.AnySealCounts):
		return fx, p.refuse("Ack", in.Epoch, "not of the last seal")
	case m.StateDigest != 0 && p.att.digest != 0 && m.StateDigest != p.att.digest && !p.weak.Has(weaken.AnySealCounts):
		return p.abort(proto0500.NewReason(proto0500.CodeStateFailed, "the target's state digest differs"), 0, fx), nil
	}
	e, digest := p.rec.Epoch, p.att.digest
	p.rec.State = RecordRetired
	p.rec.SealSeq, p.rec.SealHead, p.rec.SealHash = acked.Seq, acked.Head, acked.Hash
	p.att = attempt{}
	p.word, p.released, p.releaser = false, false, 0
	fx = append(fx, Flush{Seq: acked.Seq, Digest: digest}, Persist{p.rec}, Retire{Epoch: e, Target: p.rec.Peer})
	if p.weak.Has(weaken.EarlyRelease) {
		fx = append(fx, DropState{})
	}
	// The target first: it is what the blackout waits for.
	fx = p.askTarget(fx)
	fx = p.send(p.rec.Orchestrator, proto0500.CleanupComplete{DaemonOrigin: p.cfg.Origin}, fx)
	return append(fx,
		Disarm{TimerBlackout}, Disarm{TimerAttempt}, Arm{Timer: TimerAsk, Epoch: e},
		StopCopy{Epoch: e},
	), nil
}

// abort is free until the source has retired: it serves on, and says over(e). That is durable already: the record says
// serving at e, and no attempt is ever taken up again. also is told too, if it is neither peer nor orchestrator.
func (p *Participant) abort(r proto0500.Reason, also proto0500.NodeID, fx []Effect) []Effect {
	e, state := p.rec.Epoch, p.att.state
	p.att = attempt{}
	if state == proto0500.StateFrozen {
		fx = append(fx, Thaw{Epoch: e}, Disarm{TimerBlackout})
	}
	if state != proto0500.StateBegun {
		fx = append(fx, StopCopy{Epoch: e})
	}
	return p.sendFailed(r, also, append(fx, Disarm{TimerAttempt}))
}

// retiredFailed: only the target's own refused(e) reinstates a retired source (R5); whoever else wants it ended makes
// it ask the target.
func (p *Participant) retiredFailed(copy Copy, in Frame, refused bool, fx []Effect) ([]Effect, error) {
	refused = refused || in.Orchestrator && p.weak.Has(weaken.AbortAfterRetire)
	switch {
	case !refused && !in.Orchestrator:
		return fx, p.refuse("MigrationFailed", in.Epoch, "NotReady is no promise")
	case p.word:
		return fx, p.refuse("MigrationFailed", in.Epoch, "the target has said that it is live")
	case !refused:
		return p.askTarget(fx), nil
	case !p.holdsSeal(copy):
		return append(fx, Answer{To: p.rec.Orchestrator, Epoch: in.Epoch}), nil
	}
	p.rec.State = RecordServing
	p.rec.SealSeq, p.rec.SealHead, p.rec.SealHash = 0, proto0500.Link{}, 0
	p.released, p.releaser = false, 0
	return append(fx,
		Persist{p.rec}, Serve{}, Disarm{TimerAsk},
		Answer{To: p.rec.Orchestrator, Epoch: in.Epoch},
	), nil
}

// activateAck is the target's own word that it is the authority.
func (p *Participant) activateAck(in Frame, fx []Effect) ([]Effect, error) {
	switch {
	case !p.retiredAt(in.Epoch):
		return fx, p.refuse("ActivateAck", in.Epoch, "not retired at this epoch")
	}
	return p.targetsWord(fx), nil
}

// targetsWord lets the copy go once it is released too (R9).
func (p *Participant) targetsWord(fx []Effect) []Effect {
	if p.word {
		return fx
	}
	p.word = true
	if p.released {
		return p.move(fx)
	}
	return append(fx, Disarm{TimerAsk}, Arm{Timer: TimerRetain, Epoch: p.rec.Epoch})
}

func (p *Participant) release(in Frame, fx []Effect) ([]Effect, error) {
	switch {
	case !p.retiredAt(in.Epoch):
		return p.over(in, fx)
	}
	p.released, p.releaser = true, in.From
	if p.word {
		return p.move(fx), nil
	}
	return p.askTarget(fx), nil
}

// move lets go, and says so.
func (p *Participant) move(fx []Effect) []Effect {
	e, releaser := p.rec.Epoch, p.releaser
	fx = append(p.letGo(fx), Answer{To: p.rec.Orchestrator, Epoch: e})
	if releaser != 0 && releaser != p.rec.Orchestrator {
		fx = append(fx, Answer{To: releaser, Epoch: e})
	}
	return fx
}

// letGo: the target has the daemon, by its own word.
func (p *Participant) letGo(fx []Effect) []Effect {
	p.rec.State = RecordMoved
	p.rec.SealSeq, p.rec.SealHead, p.rec.SealHash = 0, proto0500.Link{}, 0
	p.word, p.released, p.releaser = false, false, 0
	return append(fx, Persist{p.rec}, DropState{}, Disarm{TimerAsk}, Disarm{TimerRetain})
}

// fromTarget checks the role of a data plane frame that the target sends; the shell takes it from there.
func (p *Participant) fromTarget(in Frame, fx []Effect) ([]Effect, error) {
	if !p.sourceOf(in.Epoch) || p.att.state == proto0500.StateBegun {
		return p.reject(in, staleOr(in.Epoch, p.rec.Epoch), "no copy is under way", fx)
	}
	return fx, nil
}

func staleOr(e, at frame.Epoch) proto0500.RejectReason {
	if e < at {
		return proto0500.RejectStaleEpoch
	}
	return proto0500.RejectWrongState
}
