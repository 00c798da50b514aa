package proto0500

import "ferry/frame"

// Query asks for a Report about one daemon; origin 0 asks about all.
//
//	off size field
//	  0    1  discriminant   0x88
//	  1    8  daemon_origin
type Query struct {
	DaemonOrigin Origin
}

// Kind is KindQuery.
func (m Query) Kind() Kind { return KindQuery }

// Origin is the daemon's.
func (m Query) Origin() Origin { return m.DaemonOrigin }

// Append appends the message; it cannot fail.
func (m Query) Append(dst []byte, _ *frame.Limits) ([]byte, error) {
	return appendOrigin(dst, KindQuery, m.DaemonOrigin), nil
}

// Decode reads the message from b, which must hold nothing else.
func (m *Query) Decode(b []byte, _ *frame.Limits) error {
	if !exactly(b, KindQuery, originBytes) {
		return misfit(b, KindQuery)
	}
	m.DaemonOrigin = Origin(le.Uint64(b[1:]))
	return nil
}
