package proto0500

import "ferry/frame"

// ReplayComplete tells the orchestrator that the target has caught up (phase 3→4). The crate does not insist that
// target_head.sequence is replayed_seq, so decoding does not.
//
//	off size field
//	  0    1  discriminant   3
//	  1    8  daemon_origin
//	  9    8  replayed_seq
//	 17   32  target_head    the target's real chain head, a Link
type ReplayComplete struct {
	DaemonOrigin Origin
	ReplayedSeq  Seq
	TargetHead   Link
}

// Kind is KindReplayComplete.
func (m ReplayComplete) Kind() Kind { return KindReplayComplete }

// Origin is the daemon's.
func (m ReplayComplete) Origin() Origin { return m.DaemonOrigin }

// Append appends the message; it cannot fail.
func (m ReplayComplete) Append(dst []byte, _ *frame.Limits) ([]byte, error) {
	return m.TargetHead.Append(appendPair(dst, KindReplayComplete, m.DaemonOrigin, uint64(m.ReplayedSeq))), nil
}

// Decode reads the message from b, which must hold nothing else.
func (m *ReplayComplete) Decode(b []byte, _ *frame.Limits) error {
	if !exactly(b, KindReplayComplete, pairBytes+LinkBytes) {
		return misfit(b, KindReplayComplete, sizedField{"replayed_seq", 8}, sizedField{"target_head", LinkBytes})
	}
	m.DaemonOrigin = Origin(le.Uint64(b[1:]))
	m.ReplayedSeq = Seq(le.Uint64(b[9:]))
	m.TargetHead = LinkFrom(b[17:])
	return nil
}
