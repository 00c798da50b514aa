package proto0500

import "ferry/frame"

// RestoreComplete tells the orchestrator that the target has restored the snapshot (phase 2→3).
//
//	off size field
//	  0    1  discriminant   2
//	  1    8  daemon_origin
//	  9    8  restored_seq
type RestoreComplete struct {
	DaemonOrigin Origin
	RestoredSeq  Seq
}

// Kind is KindRestoreComplete.
func (m RestoreComplete) Kind() Kind { return KindRestoreComplete }

// Origin is the daemon's.
func (m RestoreComplete) Origin() Origin { return m.DaemonOrigin }

// Append appends the message; it cannot fail.
func (m RestoreComplete) Append(dst []byte, _ *frame.Limits) ([]byte, error) {
	return appendPair(dst, KindRestoreComplete, m.DaemonOrigin, uint64(m.RestoredSeq)), nil
}

// Decode reads the message from b, which must hold nothing else.
func (m *RestoreComplete) Decode(b []byte, _ *frame.Limits) error {
	if !exactly(b, KindRestoreComplete, pairBytes) {
		return misfit(b, KindRestoreComplete, sizedField{"restored_seq", 8})
	}
	m.DaemonOrigin, m.RestoredSeq = Origin(le.Uint64(b[1:])), Seq(le.Uint64(b[9:]))
	return nil
}
