package migration

import (
	"slices"

	"ferry/proto0500"
)

// Deputy is a move that its source drives itself, for an orchestrator that has only the ten messages: the chief. It is a
// Move on the source's node, so that source and target keep every rule they have, epochs, seal and journal included;
// what the chief says is turned into wishes, and what has come about is told to it:
//
//	chief ─▶ TakeSnapshot      the move begins
//	      ◀─ RestoreComplete   the target has restored
//	      ◀─ ReplayComplete    the target has caught up, once
//	chief ─▶ CutoverNotify     the source may freeze, as soon as the target has caught up
//	      ◀─ CleanupComplete   the source has retired: only forward
//	chief ─▶ MigrationFailed   a wish to cancel, as any orchestrator's
//	      ◀─ MigrationFailed   the source serves on
//
// ActivateTarget decides nothing: a retired source asks its target itself. So one that is stale, which without an epoch
// nobody could tell, does no harm; the target answers it by Participant.AnswerPlain.
//
// A Deputy is a value: an assignment clones it, == compares it.
type Deputy struct {
	chief  proto0500.NodeID
	target proto0500.NodeID
	origin proto0500.Origin
	move   Move

	restored, caughtUp, cleaned bool // what the chief has been told
	at                          CaughtUp
}

// NewDeputy is a move of the daemon from self to target for chief, that has not begun. The first input is Start.
func NewDeputy(self, chief, target proto0500.NodeID, o proto0500.Origin) Deputy {
	return Deputy{chief: chief, target: target, origin: o, move: NewMove(MoveConfig{
		Self: self, Source: self, Target: target, Origin: o, Held: true,
	})}
}

// FromChief is a message of the chief.
type FromChief struct{ Message proto0500.Message }

func (FromChief) moveInput() {}

// Chief is for whom the move is driven.
func (d *Deputy) Chief() proto0500.NodeID { return d.chief }

// Move is the move that is driven, as it stands.
func (d *Deputy) Move() Move { return d.move }

// Check tells whether the move's invariants hold.
func (d *Deputy) Check() error { return d.move.Check() }

// Step tells d something and appends to fx what is to be done, in order. Messages to the chief have epoch 0. An error is a
// *Refused: d is what it was. PersistMove need not be carried out: nothing rests on it, and a restart of the source's node
// ends the attempt.
func (d *Deputy) Step(in MoveInput, fx []MoveEffect) ([]MoveEffect, error) {
	switch f := in.(type) {
	case FromChief:
		return d.wish(f, fx)
	case Reconnected:
		if f.Peer == d.chief {
			return d.again(fx), nil
		}
	}
	return d.step(in, fx)
}

// step lets the move go on, and tells the chief.
func (d *Deputy) step(in MoveInput, fx []MoveEffect) ([]MoveEffect, error) {
	before := len(fx)
	fx, err := d.move.Step(in, fx)
	done := slices.Clone(fx[before:])
	fx = fx[:before]
	for _, e := range done {
		fx = append(d.tell(e, fx), e) // before Done, which is the last
	}
	return fx, err
}

// wish is what the chief wants. What it says twice, or of a move that is over, changes nothing.
func (d *Deputy) wish(in FromChief, fx []MoveEffect) ([]MoveEffect, error) {
	refuse := func(reason proto0500.RejectReason, detail string) ([]MoveEffect, error) {
		kind := "message"
		if in.Message != nil {
			kind = in.Message.Kind().String()
		}
		return fx, &Refused{Input: kind, At: d.move.rec.Epoch, Reason: reason, Detail: detail}
	}
	if in.Message == nil || in.Message.Origin() != d.origin {
		return refuse(proto0500.RejectUnknownDaemon, "of another daemon")
	}
	switch m := in.Message.(type) {
	case proto0500.TakeSnapshot:
		if m.TargetNode != d.target {
			return refuse(proto0500.RejectMalformed, "names another target")
		}
		return fx, nil
	case proto0500.CutoverNotify:
		if m.TargetNode != d.target {
			return refuse(proto0500.RejectMalformed, "names another target")
		}
		return d.step(Cutover{}, fx)
	case proto0500.MigrationFailed:
		return d.step(Cancel{}, fx)
	}
	return refuse(proto0500.RejectUnsupported, "a source takes no such message of an orchestrator")
}

// tell says what an effect of the move means in one of the ten messages.
func (d *Deputy) tell(e MoveEffect, fx []MoveEffect) []MoveEffect {
	switch e := e.(type) {
	case Progress:
		switch {
		case e.Phase == PhaseReplay && !d.restored:
			d.restored = true
			return d.sayRestored(fx)
		case e.Phase == PhaseComplete && !d.cleaned:
			d.cleaned = true
			return d.say(proto0500.CleanupComplete{DaemonOrigin: d.origin}, fx)
		}
	case CaughtUp:
		if !d.caughtUp {
			d.caughtUp, d.at = true, e
			return d.sayCaughtUp(fx)
		}
	case Done:
		if e.Result.Outcome == OutcomeRolledBack || e.Result.Outcome == OutcomeRefused {
			return d.say(proto0500.MigrationFailed{DaemonOrigin: d.origin, Reason: e.Result.Reason}, fx)
		}
	}
	return fx
}

// again says the last that was said: a session that broke may have lost it.
func (d *Deputy) again(fx []MoveEffect) []MoveEffect {
	switch {
	case d.cleaned:
		return d.say(proto0500.CleanupComplete{DaemonOrigin: d.origin}, fx)
	case d.caughtUp:
		return d.sayCaughtUp(fx)
	case d.restored:
		return d.sayRestored(fx)
	}
	return fx
}

func (d *Deputy) sayRestored(fx []MoveEffect) []MoveEffect {
	return d.say(proto0500.RestoreComplete{DaemonOrigin: d.origin, RestoredSeq: d.move.restored}, fx)
}

func (d *Deputy) sayCaughtUp(fx []MoveEffect) []MoveEffect {
	return d.say(proto0500.ReplayComplete{DaemonOrigin: d.origin, ReplayedSeq: d.at.Seq, TargetHead: d.at.Head}, fx)
}

func (d *Deputy) say(m proto0500.Message, fx []MoveEffect) []MoveEffect {
	return append(fx, Send{To: d.chief, Message: m})
}

// AnswerPlain answers an ActivateTarget that has no epoch, of an orchestrator with only the ten messages. It changes
// nothing: whether this node goes live is between it and the source, whose ActivateTarget has one. ActivateAck says that
// this node is the authority by a move; NotReady, which promises nothing, says all else.
func (p *Participant) AnswerPlain(copy Copy) proto0500.Message {
	r := p.rec
	if r.State == RecordServing && r.LiveEpoch == r.Epoch && r.Epoch != 0 && copy.OK {
		return proto0500.ActivateAck{DaemonOrigin: p.cfg.Origin, ReplayedSeq: copy.Seq}
	}
	return proto0500.MigrationFailed{
		DaemonOrigin: p.cfg.Origin, Reason: proto0500.NewReason(proto0500.CodeNotReady, ""),
	}
}
