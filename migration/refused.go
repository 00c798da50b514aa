package migration

import (
	"fmt"

	"ferry/frame"
	"ferry/proto0500"
)

// Refused is the error of an input that has no place where it came: it changed nothing. Its effects, if any, only tell
// the sender so.
type Refused struct {
	Input  string          // the message's kind, or the input's own name
	Epoch  frame.Epoch     // of the input
	State  proto0500.State // in which it came
	At     frame.Epoch     // the participant's own
	Reason proto0500.RejectReason
	Detail string // why, in words
}

func (r *Refused) Error() string {
	return fmt.Sprintf("%s of epoch %d refused (%v) while %v at %d: %s", r.Input, r.Epoch, r.Reason, r.State, r.At, r.Detail)
}

// refuse is the error for an input of this node's own shell.
func (p *Participant) refuse(input string, e frame.Epoch, detail string) error {
	reason := proto0500.RejectWrongState
	if e != p.rec.Epoch {
		reason = proto0500.RejectStaleEpoch
	}
	return &Refused{Input: input, Epoch: e, State: p.State(), At: p.rec.Epoch, Reason: reason, Detail: detail}
}

// reject refuses a message and tells its sender, unless the message was an answer: two nodes must never answer each
// other's answers for ever.
func (p *Participant) reject(in Frame, reason proto0500.RejectReason, detail string, fx []Effect) ([]Effect, error) {
	kind := in.Message.Kind()
	switch kind {
	case proto0500.KindRejected, proto0500.KindReport, proto0500.KindProgress, proto0500.KindPrepared,
		proto0500.KindRestoreComplete, proto0500.KindReplayComplete, proto0500.KindCleanupComplete, proto0500.KindActivateAck:
	default:
		fx = append(fx, Send{To: in.From, Epoch: in.Epoch, Message: proto0500.Rejected{
			DaemonOrigin: p.cfg.Origin, Refused: kind, Reason: reason, Text: proto0500.Text(detail),
		}})
	}
	return fx, &Refused{
		Input: kind.String(), Epoch: in.Epoch, State: p.State(), At: p.rec.Epoch, Reason: reason, Detail: detail,
	}
}

func (p *Participant) wrongPeer(in Frame, fx []Effect) ([]Effect, error) {
	detail := "not from the node that has this role in this migration"
	if in.Message.Kind() == proto0500.KindBegin && !in.Orchestrator {
		detail = "the sender is not on this node's list of orchestrators"
	}
	return p.reject(in, proto0500.RejectWrongPeer, detail, fx)
}
