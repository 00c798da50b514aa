package daemon

import (
	"errors"
	"fmt"

	"ferry/frame"
	"ferry/identity"
	"ferry/migration"
	"ferry/proto0500"
)

// Refused is how often this node has refused what others said or sent, by kind,
// since it started: messages, streams and prepares here, and connections at its
// endpoint. Each kind is logged once per peer and interval.
func (h *Host) Refused() map[string]uint64 {
	counts := h.ep.Refused()
	for what, n := range h.refused.Counts() {
		counts[what] += n
	}
	return counts
}

// hasPart says whether a node has a part in the attempt that the record names.
func (s *steward) hasPart(node proto0500.NodeID) bool {
	rec := s.p.Record()
	return node == rec.Peer || node == rec.Orchestrator || s.out != nil && node == s.out.target || s.in != nil && node == s.in.source
}

// wrongPeer refuses a message about the data plane, which the core does not see,
// from a node that has no part in the attempt. It says whether it was one.
func (s *steward) wrongPeer(from proto0500.NodeID, e frame.Epoch, m proto0500.Message) bool {
	if s.hasPart(from) {
		return false
	}
	s.logWrongPeer(from, e, m)
	if m.Kind() != proto0500.KindRejected { // which nobody answers
		s.send(from, e, proto0500.Rejected{DaemonOrigin: s.origin, Refused: m.Kind(), Reason: proto0500.RejectWrongPeer})
	}
	return true
}

// notOrchestrator is why an order is refused of a node that may not give any.
const notOrchestrator = "it is not on this node's list of orchestrators"

func (s *steward) logWrongPeer(from proto0500.NodeID, e frame.Epoch, m proto0500.Message) {
	cause := "it has no part in this move"
	if m.Kind() == proto0500.KindBegin && !s.h.cfg.Orchestrators.Allows(identity.NodeID(from)) {
		cause = notOrchestrator
	}
	s.h.refused.Warn("message of a node that has not this role", identity.NodeID(from).String(), "node", identity.NodeID(from),
		"name", s.h.ep.NameOf(identity.NodeID(from)), "daemon", s.name, "kind", m.Kind(), "epoch", e, "cause", cause)
}

// logRefusal logs what the core has refused. That it came too late or too early
// is daily business; that it came from the wrong node is not.
func (s *steward) logRefusal(in migration.Input, err error) {
	no, refused := errors.AsType[*migration.Refused](err)
	f, said := in.(migration.Frame)
	if refused && said && (no.Reason == proto0500.RejectWrongPeer || !f.Orchestrator && !s.hasPart(f.From)) {
		s.logWrongPeer(f.From, f.Epoch, f.Message)
		return
	}
	s.log.Debug("refused", "input", fmt.Sprintf("%T", in), "err", err)
}
