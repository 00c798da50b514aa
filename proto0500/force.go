package proto0500

import "ferry/frame"

// Force is an operator's order: end the attempt of the frame's epoch without the node DeadNode, which is its other side
// and can never be asked again. It rests on a person's word that this node stays dead (safety.md, R12), so that it names
// it; answered by a Report, or Rejected where the receiver is not at that point with that node.
//
//	off size field
//	  0    1  discriminant   0x8d
//	  1    8  daemon_origin
//	  9    8  dead_node
type Force struct {
	DaemonOrigin Origin
	DeadNode     NodeID
}

// Kind is KindForce.
func (m Force) Kind() Kind { return KindForce }

// Origin is the daemon's.
func (m Force) Origin() Origin { return m.DaemonOrigin }

// Append appends the message; it cannot fail.
func (m Force) Append(dst []byte, _ *frame.Limits) ([]byte, error) {
	return appendPair(dst, KindForce, m.DaemonOrigin, uint64(m.DeadNode)), nil
}

// Decode reads the message from b, which must hold nothing else.
func (m *Force) Decode(b []byte, _ *frame.Limits) error {
	if !exactly(b, KindForce, pairBytes) {
		return misfit(b, KindForce, sizedField{"dead_node", 8})
	}
	m.DaemonOrigin, m.DeadNode = Origin(le.Uint64(b[1:])), NodeID(le.Uint64(b[9:]))
	return nil
}
