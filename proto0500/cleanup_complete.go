package proto0500

import "ferry/frame"

// CleanupComplete tells the orchestrator that the source has let go (phase 5).
//
//	off size field
//	  0    1  discriminant   5
//	  1    8  daemon_origin
type CleanupComplete struct {
	DaemonOrigin Origin
}

// Kind is KindCleanupComplete.
func (m CleanupComplete) Kind() Kind { return KindCleanupComplete }

// Origin is the daemon's.
func (m CleanupComplete) Origin() Origin { return m.DaemonOrigin }

// Append appends the message; it cannot fail.
func (m CleanupComplete) Append(dst []byte, _ *frame.Limits) ([]byte, error) {
	return appendOrigin(dst, KindCleanupComplete, m.DaemonOrigin), nil
}

// Decode reads the message from b, which must hold nothing else.
func (m *CleanupComplete) Decode(b []byte, _ *frame.Limits) error {
	if !exactly(b, KindCleanupComplete, originBytes) {
		return misfit(b, KindCleanupComplete)
	}
	m.DaemonOrigin = Origin(le.Uint64(b[1:]))
	return nil
}
