package proto0500

import "ferry/frame"

// ActivateTarget tells the target to go live (phase 5→6).
//
//	off size field
//	  0    1  discriminant   8
//	  1    8  daemon_origin
type ActivateTarget struct {
	DaemonOrigin Origin
}

// Kind is KindActivateTarget.
func (m ActivateTarget) Kind() Kind { return KindActivateTarget }

// Origin is the daemon's.
func (m ActivateTarget) Origin() Origin { return m.DaemonOrigin }

// Append appends the message; it cannot fail.
func (m ActivateTarget) Append(dst []byte, _ *frame.Limits) ([]byte, error) {
	return appendOrigin(dst, KindActivateTarget, m.DaemonOrigin), nil
}

// Decode reads the message from b, which must hold nothing else.
func (m *ActivateTarget) Decode(b []byte, _ *frame.Limits) error {
	if !exactly(b, KindActivateTarget, originBytes) {
		return misfit(b, KindActivateTarget)
	}
	m.DaemonOrigin = Origin(le.Uint64(b[1:]))
	return nil
}
