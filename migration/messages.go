package migration

import (
	"ferry/frame"
	"ferry/internal/weaken"
	"ferry/proto0500"
)

// frame takes a message to the role that it concerns.
func (p *Participant) frame(copy Copy, in Frame, fx []Effect) ([]Effect, error) {
	if in.Message == nil {
		return fx, p.refuse("Frame", in.Epoch, "without a message")
	}
	_, query := in.Message.(proto0500.Query)
	o, r := in.Message.Origin(), roleOf(in.Message)
	switch {
	case r == 0:
		return p.reject(in, proto0500.RejectUnsupported, "no participant takes it", fx)
	case o != p.cfg.Origin && !(query && o == 0):
		return p.reject(in, proto0500.RejectUnknownDaemon, "of another daemon", fx)
	case !p.mayTell(in, r):
		return p.wrongPeer(in, fx)
	}
	switch m := in.Message.(type) {
	case proto0500.Begin:
		return p.begin(copy, in, m, fx)
	case proto0500.TakeSnapshot:
		return p.takeSnapshot(in, m, fx)
	case proto0500.Recipient:
		return p.recipient(in, m, fx)
	case proto0500.CutoverNotify:
		return p.cutoverNotify(in, m, fx)
	case proto0500.Ack:
		return p.ack(in, m, fx)
	case proto0500.ActivateAck:
		return p.activateAck(in, fx)
	case proto0500.Release:
		return p.release(in, fx)
	case proto0500.Prepare:
		return p.prepare(in, m, fx)
	case proto0500.BufferedEvents:
		if m.Events.Len() == 0 {
			return p.replay(in, fx)
		}
		return p.fromSource(in, fx)
	case proto0500.SnapshotReady, proto0500.Chunk, proto0500.Transfer:
		return p.fromSource(in, fx)
	case proto0500.TransferStatus, proto0500.Have:
		return p.fromTarget(in, fx)
	case proto0500.Seal:
		return p.seal(in, m, fx)
	case proto0500.ActivateTarget:
		return p.activateTarget(copy, in, fx)
	case proto0500.MigrationFailed:
		return p.migrationFailed(copy, in, m, fx)
	case proto0500.Query:
		return p.query(in, fx)
	case proto0500.Report:
		return p.report(in, m, fx)
	case proto0500.Force:
		return p.force(copy, in, m, fx)
	}
	panic("migration: a message with a role and no place: " + in.Message.Kind().String())
}

// over answers a frame of an attempt that is not open here: what is known of it is in the report.
func (p *Participant) over(in Frame, fx []Effect) ([]Effect, error) {
	if in.Epoch > p.rec.Epoch {
		return p.reject(in, proto0500.RejectWrongState, "this epoch has not been seen here", fx)
	}
	if !p.knows(in) {
		return p.wrongPeer(in, fx)
	}
	return append(fx, Answer{To: in.From, Epoch: in.Epoch}), nil
}

// knows tells whether the sender may be answered. Of an epoch that is past nobody's role is recorded any more; its former
// peer must be answered all the same, or it waits for ever (L1), and a report changes nothing.
func (p *Participant) knows(in Frame) bool {
	past := in.Epoch != 0 && in.Epoch != p.rec.Epoch
	return past || in.Orchestrator || in.From == p.rec.Peer || in.From == p.rec.Orchestrator
}

func (p *Participant) query(in Frame, fx []Effect) ([]Effect, error) {
	if !p.knows(in) {
		return p.wrongPeer(in, fx)
	}
	return append(fx, Answer{To: in.From, Epoch: in.Epoch}), nil
}

// migrationFailed is a promise of the other side, or an orchestrator's wish (safety.md, section 4). A node may be both,
// to this daemon; it must then wish with NotReady, which never is a promise.
func (p *Participant) migrationFailed(copy Copy, in Frame, m proto0500.MigrationFailed, fx []Effect) ([]Effect, error) {
	peer := in.From == p.rec.Peer && in.Epoch == p.rec.Epoch
	switch {
	case p.sourceOf(in.Epoch):
		return p.abort(m.Reason, in.From, fx), nil
	case p.retiredAt(in.Epoch):
		return p.retiredFailed(copy, in, peer && !m.Reason.Retriable(), fx)
	case p.targetOf(in.Epoch):
		return p.targetFailed(in, m.Reason, peer && !(m.Reason.Retriable() && in.Orchestrator), fx), nil
	}
	return p.over(in, fx)
}

// report is the other side's own word where one is awaited. Its facts do not age: epochs only grow.
func (p *Participant) report(in Frame, m proto0500.Report, fx []Effect) ([]Effect, error) {
	e := p.rec.Epoch
	switch {
	case in.From != p.rec.Peer:
		return p.wrongPeer(in, fx)
	case p.rec.State == RecordRetired && m.LiveEpoch > e && p.weak.Has(weaken.OnlyPresentEpoch):
		return fx, nil
	case p.rec.State == RecordRetired && m.LiveEpoch >= e:
		return p.targetsWord(fx), nil
	case p.isTarget() && saysOver(m, e):
		return p.drop(proto0500.NewReason(proto0500.CodeStateFailed, "the source serves on"), 0, fx), nil
	}
	return p.reject(in, proto0500.RejectWrongState, "says nothing that is awaited", fx)
}

// saysOver tells whether a report of the source is its over(e).
func saysOver(m proto0500.Report, e frame.Epoch) bool {
	return m.Epoch > e || m.Epoch == e && m.State == proto0500.StateServing && m.Copy
}
