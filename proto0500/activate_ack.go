package proto0500

import "ferry/frame"

// ActivateAck tells orchestrator and source that the target is the authority (phase 6).
//
//	off size field
//	  0    1  discriminant   9
//	  1    8  daemon_origin
//	  9    8  replayed_seq
type ActivateAck struct {
	DaemonOrigin Origin
	ReplayedSeq  Seq
}

// Kind is KindActivateAck.
func (m ActivateAck) Kind() Kind { return KindActivateAck }

// Origin is the daemon's.
func (m ActivateAck) Origin() Origin { return m.DaemonOrigin }

// Append appends the message; it cannot fail.
func (m ActivateAck) Append(dst []byte, _ *frame.Limits) ([]byte, error) {
	return appendPair(dst, KindActivateAck, m.DaemonOrigin, uint64(m.ReplayedSeq)), nil
}

// Decode reads the message from b, which must hold nothing else.
func (m *ActivateAck) Decode(b []byte, _ *frame.Limits) error {
	if !exactly(b, KindActivateAck, pairBytes) {
		return misfit(b, KindActivateAck, sizedField{"replayed_seq", 8})
	}
	m.DaemonOrigin, m.ReplayedSeq = Origin(le.Uint64(b[1:])), Seq(le.Uint64(b[9:]))
	return nil
}
