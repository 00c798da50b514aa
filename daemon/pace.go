package daemon

import (
	"fmt"

	"ferry/frame"
	"ferry/proto0500"
	"ferry/transport"
)

// RateLimitMin is the lowest rate at which snapshots are sent, in bytes a
// second: a move that is slower looks stuck to the other two nodes.
const RateLimitMin = 64 << 10

// rateLimit is what Pace has said of an attempt. It is kept beside the data
// plane: it may come before it, and outlives its connections.
type rateLimit struct {
	epoch          frame.Epoch
	bytesPerSecond uint64
}

// limitAt is the rate of the attempt e, 0: no limit.
func (s *steward) limitAt(e frame.Epoch) uint64 {
	if s.limit.epoch != e {
		return 0
	}
	return s.limit.bytesPerSecond
}

// pace changes the rate of the attempt that is running from here.
func (s *steward) pace(sess *transport.Session, orchestrator bool, e frame.Epoch, m proto0500.Pace) {
	reject := func(reason proto0500.RejectReason, text string) {
		s.h.refused.Warn("rate limit refused", sess.Peer().String(), "node", sess.Peer(), "daemon", s.name, "epoch", e, "reason", reason, "text", text)
		s.answer(sess, e, proto0500.Rejected{
			DaemonOrigin: s.origin, Refused: m.Kind(), Reason: reason, Text: proto0500.Text(text),
		})
	}
	state := s.p.State()
	open := state == proto0500.StateBegun || state == proto0500.StateCopying || state == proto0500.StateFrozen
	switch {
	case !orchestrator:
		reject(proto0500.RejectWrongPeer, "not from a node that may orchestrate this daemon")
		return
	case m.BytesPerSecond > 0 && m.BytesPerSecond < RateLimitMin:
		reject(proto0500.RejectMalformed, fmt.Sprintf("%d bytes a second, at least %d", m.BytesPerSecond, RateLimitMin))
		return
	case e < s.p.Epoch():
		reject(proto0500.RejectStaleEpoch, "that attempt is over")
		return
	case e != s.p.Epoch() || !open:
		reject(proto0500.RejectWrongState, "nothing is sent from here in that epoch")
		return
	}
	s.limit = rateLimit{e, m.BytesPerSecond}
	if s.out != nil {
		s.out.paced.set(m.BytesPerSecond)
		s.out.stats.set(proto0500.CounterRateLimit, m.BytesPerSecond)
	}
	s.log.Info("rate limit set", "epoch", e, "bytes_per_second", m.BytesPerSecond, "by", sess.Peer())
	// The report alone could be the answer to something else.
	s.answer(sess, e, proto0500.Progress{DaemonOrigin: s.origin, Counters: proto0500.CountersOf(
		proto0500.CounterValue{Counter: proto0500.CounterRateLimit, Value: m.BytesPerSecond},
	)})
	s.answer(sess, e, s.report())
}

// answer sends to who has asked, and not to the other sessions of its node.
func (s *steward) answer(sess *transport.Session, e frame.Epoch, m proto0500.Message) {
	if err := send(sess, e, m); err != nil {
		s.log.Debug("answer not sent", "kind", m.Kind(), "err", err)
	}
}

// SetRateLimit changes Config.RateLimit while the host runs, in bytes a second,
// 0: no limit. What is on its way goes on at the new rate at once.
func (h *Host) SetRateLimit(bytesPerSecond uint64) error {
	if bytesPerSecond > 0 && bytesPerSecond < RateLimitMin {
		return fmt.Errorf("daemon: a rate limit of %d, allowed are %d and more", bytesPerSecond, RateLimitMin)
	}
	h.pacer.set(bytesPerSecond)
	return nil
}
