package proto0500

import "ferry/frame"

// Progress is how far a node is with a migration. It decides nothing.
//
//	off size field
//	  0    1  discriminant   0x8b
//	  1    8  daemon_origin
//	  9    1  count          0..255
//	 10    …  counters       count × CounterValue
type Progress struct {
	DaemonOrigin Origin
	Counters     Counters // borrowed in a decoded message
}

// Kind is KindProgress.
func (m Progress) Kind() Kind { return KindProgress }

// Origin is the daemon's.
func (m Progress) Origin() Origin { return m.DaemonOrigin }

// Append appends the message. More than 255 counters are an error.
func (m Progress) Append(dst []byte, _ *frame.Limits) ([]byte, error) {
	n := m.Counters.Len()
	if n > 255 {
		return dst, overLimit(KindProgress, "count", uint64(n), 255)
	}
	dst = append(appendOrigin(dst, KindProgress, m.DaemonOrigin), byte(n))
	for v := range m.Counters.All() {
		dst = le.AppendUint64(append(dst, byte(v.Counter)), v.Value)
	}
	return dst, nil
}

// Decode reads the message from b, which must hold nothing else. The counters borrow from b.
func (m *Progress) Decode(b []byte, _ *frame.Limits) error {
	var c frame.Cursor
	c.Reset("Progress", b)
	c.Expect("discriminant", uint8(KindProgress))
	m.DaemonOrigin = Origin(c.U64("daemon_origin"))
	m.Counters = Counters{}
	if n := int(c.U8("count")); n > 0 {
		m.Counters.raw = c.Bytes("counters", n*counterBytes)
	}
	return c.Done()
}
