package migration

import (
	"ferry/internal/weaken"
	"ferry/proto0500"
)

// The target (safety.md, section 6). Italics are in memory: prepared, restored, sealed.
//
//	              prepare             snapshot         replayed = last seal
//	none, moved ──────────▶ prepared ──────────▶ restored ──────────────────▶ sealed ────────────────▶ serving
//	    ▲                      │                  │    ▲    next event: thawed  │     ActivateTarget    (live)
//	    │    failure, timer,   │                  │    └────────────────────────┤
//	none└─── MigrationFailed ──┴──────────────────┘                             │
//	    └──────────────────────────── over(e) from the source only ─────────────┘

// prepare joins an attempt, or refuses it for good; the epoch is on disk before either is said (R2).
func (p *Participant) prepare(in Frame, m proto0500.Prepare, fx []Effect) ([]Effect, error) {
	e := in.Epoch
	notNow := in.Verdict != nil && in.Verdict.Retriable()
	switch {
	case e == 0 || m.SourceNode == 0 || m.SourceNode == p.cfg.Self:
		return p.reject(in, proto0500.RejectMalformed, "prepare needs an epoch and another node as source", fx)
	case p.targetOf(e) && in.From == p.rec.Orchestrator && m.SourceNode == p.rec.Peer:
		return append(fx, SendPrepared{To: in.From, Epoch: e}), nil
	case e <= p.rec.Epoch:
		return append(fx, Answer{To: in.From, Epoch: e}), nil
	case p.rec.State == RecordRetired && p.word && !notNow:
		// The target has it, by its own word (R9), and an orchestrator wants it back. The release may never come: that of
		// an orchestrator that died between its outcome and the release.
		return p.prepare(in, m, p.letGo(fx))
	case notNow || p.rec.State == RecordServing || p.rec.State == RecordRetired:
		return append(p.notReady(in, fx), Answer{To: in.From, Epoch: e}), nil
	}
	if in.Verdict != nil && p.weak.Has(weaken.RefusalNotRecorded) {
		return append(fx, Send{To: in.From, Epoch: e, Message: proto0500.MigrationFailed{DaemonOrigin: p.cfg.Origin, Reason: *in.Verdict}}), nil
	}
	if p.isTarget() {
		// A higher epoch was handed out, so the lower one is over.
		fx = append(fx, DropAttempt{Epoch: p.rec.Epoch}, Disarm{TimerAttempt}, Disarm{TimerAsk})
	}
	p.att = attempt{}
	p.rec = Record{
		Epoch: e, LiveEpoch: p.rec.LiveEpoch, State: RecordNone,
		Peer: m.SourceNode, Orchestrator: in.From,
	}
	fx = append(fx, Persist{p.rec})
	if in.Verdict != nil {
		failed := proto0500.MigrationFailed{DaemonOrigin: p.cfg.Origin, Reason: *in.Verdict}
		return p.send(in.From, failed, fx), nil
	}
	p.att.state = proto0500.StatePrepared
	return append(fx,
		Prepare{Epoch: e, Source: m.SourceNode, Message: m},
		SendPrepared{To: in.From, Epoch: e},
		Arm{Timer: TimerAttempt, Epoch: e},
	), nil
}

// notReady promises nothing.
func (p *Participant) notReady(in Frame, fx []Effect) []Effect {
	return append(fx, Send{To: in.From, Epoch: in.Epoch, Message: proto0500.MigrationFailed{
		DaemonOrigin: p.cfg.Origin, Reason: proto0500.NewReason(proto0500.CodeNotReady, ""),
	}})
}

// fromSource checks the role of a data plane frame that the source sends; the shell takes it from there.
func (p *Participant) fromSource(in Frame, fx []Effect) ([]Effect, error) {
	if !p.targetOf(in.Epoch) {
		return p.reject(in, staleOr(in.Epoch, p.rec.Epoch), "no such attempt", fx)
	}
	return fx, nil
}

func (p *Participant) snapshotComplete(in SnapshotComplete, fx []Effect) ([]Effect, error) {
	if !p.targetOf(in.Epoch) || p.att.state != proto0500.StatePrepared || p.att.restoring {
		return fx, p.refuse("SnapshotComplete", in.Epoch, "no snapshot is awaited")
	}
	p.att.restoring, p.att.snapSeq, p.att.snapHash = true, in.Seq, in.Hash
	return append(fx, Restore{Epoch: in.Epoch}, Arm{Timer: TimerAttempt, Epoch: in.Epoch}), nil
}

func (p *Participant) restored(in Restored, fx []Effect) ([]Effect, error) {
	if !p.targetOf(in.Epoch) || p.att.state != proto0500.StatePrepared || !p.att.restoring {
		return fx, p.refuse("Restored", in.Epoch, "nothing was to be restored")
	}
	if in.Seq != p.att.snapSeq || in.Hash != p.att.snapHash ||
		in.Head.Sequence != in.Seq || in.Head.OriginHash != p.cfg.Origin {
		return p.drop(proto0500.NewReason(proto0500.CodeStateFailed, "what was restored is not the snapshot"), 0, fx), nil
	}
	p.att.state, p.att.restoring = proto0500.StateRestored, false
	p.att.head = Position{Seq: in.Seq, Head: in.Head, Hash: in.Hash}
	fx = p.send(p.rec.Orchestrator, proto0500.RestoreComplete{DaemonOrigin: p.cfg.Origin, RestoredSeq: in.Seq}, fx)
	return p.match(append(fx, Arm{Timer: TimerAttempt, Epoch: in.Epoch})), nil
}

// event replays the next event of the chain. One after the seal says that the source has thawed.
func (p *Participant) event(in Event, fx []Effect) ([]Effect, error) {
	state, head := p.att.state, p.att.head
	switch {
	case !p.targetOf(in.Epoch) || state == proto0500.StatePrepared:
		return fx, p.refuse("Event", in.Epoch, "nothing is replayed")
	case in.From != p.rec.Peer:
		err := &Refused{Input: "Event", Epoch: in.Epoch, State: state, At: p.rec.Epoch, Reason: proto0500.RejectWrongPeer}
		err.Detail = "not from the source"
		return fx, err
	case in.Link.Sequence <= head.Seq:
		return fx, nil // doubled
	case in.Link.Sequence-head.Seq > 1:
		return fx, p.refuse("Event", in.Epoch, "events between are missing")
	}
	if err := in.Link.Follows(head.Head, head.Hash); err != nil {
		if state == proto0500.StateSealed {
			// Not a thaw that could be followed; only the source's own word may end it (R7).
			return p.askSource(fx), p.refuse("Event", in.Epoch, err.Error())
		}
		return p.drop(proto0500.NewReason(proto0500.CodeStateFailed, err.Error()), 0, fx), nil
	}
	p.att.head = Position{Seq: in.Link.Sequence, Head: in.Link, Hash: in.Hash}
	p.att.state = proto0500.StateRestored
	fx = append(fx, Apply{})
	if state == proto0500.StateSealed {
		fx = append(fx, Disarm{TimerAsk}, Arm{Timer: TimerAttempt, Epoch: in.Epoch})
	}
	return p.match(fx), nil
}

// replay is the orchestrator's question how far the replay is.
func (p *Participant) replay(in Frame, fx []Effect) ([]Effect, error) {
	switch {
	case !p.targetOf(in.Epoch):
		return p.over(in, fx)
	case p.att.state == proto0500.StatePrepared:
		return p.reject(in, proto0500.RejectWrongState, "nothing is restored yet", fx)
	}
	return p.send(in.From, proto0500.ReplayComplete{
		DaemonOrigin: p.cfg.Origin, ReplayedSeq: p.att.head.Seq, TargetHead: p.att.head.Head,
	}, fx), nil
}

// seal remembers the last seal: it counts once exactly that has been replayed, whichever comes first.
func (p *Participant) seal(in Frame, m proto0500.Seal, fx []Effect) ([]Effect, error) {
	seal := Position{Seq: m.Seq, Head: m.Head, Hash: m.HeadHash}
	switch {
	case !p.targetOf(in.Epoch):
		return p.over(in, fx)
	case p.att.hasSeal && m.Seq < p.att.seal.Seq:
		return fx, p.refuse("Seal", in.Epoch, "a later seal is here")
	case p.att.state == proto0500.StateSealed && seal == p.att.head && m.StateDigest == p.att.digest:
		return p.sendAck(fx), nil // doubled
	case p.att.state == proto0500.StateSealed && m.Seq == p.att.head.Seq && seal != p.att.head:
		// Contradicts the seal that was acknowledged; only the source's own word may end it (R7).
		return p.askSource(fx), p.refuse("Seal", in.Epoch, "contradicts the acknowledged seal")
	case p.att.state == proto0500.StateSealed && m.Seq > p.att.head.Seq:
		// The source has thawed, and its events are still to come.
		p.att.state = proto0500.StateRestored
		fx = append(fx, Disarm{TimerAsk}, Arm{Timer: TimerAttempt, Epoch: in.Epoch})
	case p.att.state == proto0500.StateSealed:
		p.att.state = proto0500.StateRestored // the same seal with another digest is checked anew
	}
	p.att.hasSeal, p.att.seal, p.att.digest = true, seal, m.StateDigest
	return p.match(fx), nil
}

// match acknowledges when what was replayed is the last seal. The state is on disk before the ack: R10's half that can be
// done before ActivateTarget comes.
func (p *Participant) match(fx []Effect) []Effect {
	a := &p.att
	switch {
	case a.state != proto0500.StateRestored || !a.hasSeal || a.head.Seq != a.seal.Seq:
		return fx
	case a.head != a.seal:
		return p.drop(proto0500.NewReason(proto0500.CodeStateFailed, "what was replayed is not what was sealed"), 0, fx)
	}
	a.state = proto0500.StateSealed
	fx = p.sendAck(append(fx, Flush{Seq: a.seal.Seq, Digest: a.digest}))
	return append(fx, Disarm{TimerAttempt}, Arm{Timer: TimerAsk, Epoch: p.rec.Epoch})
}

func (p *Participant) sendAck(fx []Effect) []Effect {
	return p.send(p.rec.Peer, proto0500.Ack{
		DaemonOrigin: p.cfg.Origin, Seq: p.att.seal.Seq, Head: p.att.seal.Head,
		HeadHash: p.att.seal.Hash, StateDigest: p.att.digest,
	}, fx)
}

// activateTarget gets a final answer, ActivateAck or MigrationFailed, wherever one can be given. Of a past epoch any
// node gets it: who took part is not recorded any more, and the answer changes nothing here.
func (p *Participant) activateTarget(copy Copy, in Frame, fx []Effect) ([]Effect, error) {
	e := in.Epoch
	present := e == p.rec.Epoch
	answer := Answer{To: in.From, Epoch: e}
	switch {
	case e == 0:
		return p.reject(in, proto0500.RejectMalformed, "belongs to an epoch", fx)
	case p.targetOf(e) && p.att.state == proto0500.StateSealed:
		return p.live(in.From, fx), nil
	case p.targetOf(e):
		return p.notReady(in, fx), nil // does not happen with correct peers (I6)
	case p.rec.LiveEpoch > e && p.weak.Has(weaken.LaterEpochSaysYes):
		return append(fx, Send{To: in.From, Epoch: e, Message: proto0500.ActivateAck{DaemonOrigin: p.cfg.Origin, ReplayedSeq: copy.Seq}}), nil
	case p.rec.LiveEpoch > e, p.rec.Epoch < e:
		// e itself may have been refused here; or the journal was lost.
		return append(fx, answer), nil
	case p.rec.State == RecordServing && !copy.OK:
		return append(fx, answer), nil // neither yes nor no
	case p.rec.LiveEpoch == e:
		return append(fx, Send{To: in.From, Epoch: e, Message: proto0500.ActivateAck{
			DaemonOrigin: p.cfg.Origin, ReplayedSeq: copy.Seq,
		}}), nil
	case present && (p.isSource() || p.rec.State == RecordRetired || p.rec.State == RecordMoved):
		// This node is the source of e: MigrationFailed from it would be over(e), and a lie.
		return append(fx, answer), nil
	}
	return append(fx, Send{To: in.From, Epoch: e, Message: proto0500.MigrationFailed{
		DaemonOrigin: p.cfg.Origin, Reason: proto0500.NewReason(proto0500.CodeStateFailed, "refused: the attempt is over here"),
	}}), nil
}

// live is the commit point: the record is on disk before the first write is accepted and before anybody is told (R10).
func (p *Participant) live(from proto0500.NodeID, fx []Effect) []Effect {
	e, seq := p.rec.Epoch, p.att.head.Seq
	p.rec.State, p.rec.LiveEpoch = RecordServing, e
	p.att = attempt{}
	fx = append(fx, Persist{p.rec}, Activate{Epoch: e})
	fx = p.tell(proto0500.ActivateAck{DaemonOrigin: p.cfg.Origin, ReplayedSeq: seq}, from, fx)
	return append(fx, Disarm{TimerAsk})
}

// drop refuses: the attempt is gone before anybody is told so (R6). also is told too, if it is neither peer nor
// orchestrator.
func (p *Participant) drop(r proto0500.Reason, also proto0500.NodeID, fx []Effect) []Effect {
	if p.weak.Has(weaken.RefusalKeepsAttempt) {
		return p.sendFailed(r, also, fx)
	}
	p.att = attempt{}
	fx = append(fx, DropAttempt{Epoch: p.rec.Epoch}, Disarm{TimerAttempt}, Disarm{TimerAsk})
	return p.sendFailed(r, also, fx)
}

// targetFailed: the attempt is dropped, unless it is sealed: then only on the source's own over(e) (R7).
func (p *Participant) targetFailed(in Frame, r proto0500.Reason, over bool, fx []Effect) []Effect {
	if p.heldBySeal() && !over {
		return p.askSource(fx)
	}
	return p.drop(r, in.From, fx)
}
