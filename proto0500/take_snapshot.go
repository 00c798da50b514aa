package proto0500

import "ferry/frame"

// TakeSnapshot asks the source for a snapshot, which goes to target_node (phase 0→1).
//
//	off size field
//	  0    1  discriminant   0
//	  1    8  daemon_origin
//	  9    8  target_node
type TakeSnapshot struct {
	DaemonOrigin Origin
	TargetNode   NodeID
}

// Kind is KindTakeSnapshot.
func (m TakeSnapshot) Kind() Kind { return KindTakeSnapshot }

// Origin is the daemon's.
func (m TakeSnapshot) Origin() Origin { return m.DaemonOrigin }

// Append appends the message; it cannot fail.
func (m TakeSnapshot) Append(dst []byte, _ *frame.Limits) ([]byte, error) {
	return appendPair(dst, KindTakeSnapshot, m.DaemonOrigin, uint64(m.TargetNode)), nil
}

// Decode reads the message from b, which must hold nothing else.
func (m *TakeSnapshot) Decode(b []byte, _ *frame.Limits) error {
	if !exactly(b, KindTakeSnapshot, pairBytes) {
		return misfit(b, KindTakeSnapshot, sizedField{"target_node", 8})
	}
	m.DaemonOrigin, m.TargetNode = Origin(le.Uint64(b[1:])), NodeID(le.Uint64(b[9:]))
	return nil
}
