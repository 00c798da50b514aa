package proto0500

import "ferry/frame"

// CutoverNotify tells the source to stop accepting writes (phase 4).
//
//	off size field
//	  0    1  discriminant   4
//	  1    8  daemon_origin
//	  9    8  target_node
type CutoverNotify struct {
	DaemonOrigin Origin
	TargetNode   NodeID
}

// Kind is KindCutoverNotify.
func (m CutoverNotify) Kind() Kind { return KindCutoverNotify }

// Origin is the daemon's.
func (m CutoverNotify) Origin() Origin { return m.DaemonOrigin }

// Append appends the message; it cannot fail.
func (m CutoverNotify) Append(dst []byte, _ *frame.Limits) ([]byte, error) {
	return appendPair(dst, KindCutoverNotify, m.DaemonOrigin, uint64(m.TargetNode)), nil
}

// Decode reads the message from b, which must hold nothing else.
func (m *CutoverNotify) Decode(b []byte, _ *frame.Limits) error {
	if !exactly(b, KindCutoverNotify, pairBytes) {
		return misfit(b, KindCutoverNotify, sizedField{"target_node", 8})
	}
	m.DaemonOrigin, m.TargetNode = Origin(le.Uint64(b[1:])), NodeID(le.Uint64(b[9:]))
	return nil
}
