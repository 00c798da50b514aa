package proto0500

import "ferry/frame"

// Begin asks the authority of a daemon for a new epoch. Its frame has epoch 0; the answer is a Report.
//
//	off size field
//	  0    1  discriminant   0x81
//	  1    8  daemon_origin
//	  9    8  target_node
//	 17    8  floor          an epoch the target says it has seen, or 0
type Begin struct {
	DaemonOrigin Origin
	TargetNode   NodeID
	Floor        frame.Epoch
}

// Kind is KindBegin.
func (m Begin) Kind() Kind { return KindBegin }

// Origin is the daemon's.
func (m Begin) Origin() Origin { return m.DaemonOrigin }

// Append appends the message; it cannot fail.
func (m Begin) Append(dst []byte, _ *frame.Limits) ([]byte, error) {
	return le.AppendUint64(appendPair(dst, KindBegin, m.DaemonOrigin, uint64(m.TargetNode)), uint64(m.Floor)), nil
}

// Decode reads the message from b, which must hold nothing else.
func (m *Begin) Decode(b []byte, _ *frame.Limits) error {
	if !exactly(b, KindBegin, pairBytes+8) {
		return misfit(b, KindBegin, sizedField{"target_node", 8}, sizedField{"floor", 8})
	}
	m.DaemonOrigin = Origin(le.Uint64(b[1:]))
	m.TargetNode = NodeID(le.Uint64(b[9:]))
	m.Floor = frame.Epoch(le.Uint64(b[17:]))
	return nil
}
