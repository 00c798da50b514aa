package proto0500

import "ferry/frame"

// Release tells the source to drop its copy once it has the target's own word; answered by a Report.
//
//	off size field
//	  0    1  discriminant   0x8a
//	  1    8  daemon_origin
type Release struct {
	DaemonOrigin Origin
}

// Kind is KindRelease.
func (m Release) Kind() Kind { return KindRelease }

// Origin is the daemon's.
func (m Release) Origin() Origin { return m.DaemonOrigin }

// Append appends the message; it cannot fail.
func (m Release) Append(dst []byte, _ *frame.Limits) ([]byte, error) {
	return appendOrigin(dst, KindRelease, m.DaemonOrigin), nil
}

// Decode reads the message from b, which must hold nothing else.
func (m *Release) Decode(b []byte, _ *frame.Limits) error {
	if !exactly(b, KindRelease, originBytes) {
		return misfit(b, KindRelease)
	}
	m.DaemonOrigin = Origin(le.Uint64(b[1:]))
	return nil
}
