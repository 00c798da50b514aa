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

func (s *steward) logWrongPeer(from proto0500.NodeID, e frame.Epoch, m proto0500.Message) {
	s.h.refused.Warn("message of a node that has not this role", identity.NodeID(from).String(), "node", identity.NodeID(from),
		"daemon", s.name, "kind", m.Kind(), "epoch", e)
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

// inboxBytesMax bounds the control messages that wait for all stewards together.
// A session whose message finds no room waits with it, and by flow control the
// peer; stewards take what waits one by one, so that the next is soon there.
const inboxBytesMax = 32 << 20

// reserve waits until a message of so many bytes may wait for a steward, and
// gives how it is put there, to be called once.
func (h *Host) reserve(st *steward, bytes int) (post func(f func()), ok bool) {
	n := min(int64(bytes), inboxBytesMax)
	if h.inbox.Acquire(h.ctx, n) != nil {
		return nil, false
	}
	return func(f func()) { st.postWith(h.ctx, f, func() { h.inbox.Release(n) }) }, true
}

// strangersMax bounds the daemons that this node was asked to take and never
// had: each refusal that is final must be remembered (safety.md, R2), and costs
// a record and some kilobytes. Beyond it nothing is written, and whoever asks is
// told to come back.
const strangersMax = 1024

// tooManyStrangers says whether there is no place for one more.
func (h *Host) tooManyStrangers() bool {
	n := 0
	for _, st := range h.each() {
		if sit := st.now.Load(); sit == nil || sit.report.State == proto0500.StateNone {
			n++
		}
	}
	return n >= strangersMax
}
