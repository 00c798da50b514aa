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
	var c frame.Cursor
	c.Reset("Begin", b)
	c.Expect("discriminant", uint8(KindBegin))
	m.DaemonOrigin = Origin(c.U64("daemon_origin"))
	m.TargetNode = NodeID(c.U64("target_node"))
	m.Floor = frame.Epoch(c.U64("floor"))
	return c.Done()
}
