package proto0500

import "ferry/frame"

// Pace changes how fast the source may send the snapshot of a move that is running. The answer is a Progress with
// CounterRateLimit, and its Report; or Rejected.
//
//	off size field
//	  0    1  discriminant      0x90
//	  1    8  daemon_origin
//	  9    8  bytes_per_second  0: no limit
type Pace struct {
	DaemonOrigin   Origin
	BytesPerSecond uint64
}

// Kind is KindPace.
func (m Pace) Kind() Kind { return KindPace }

// Origin is the daemon's.
func (m Pace) Origin() Origin { return m.DaemonOrigin }

// Append appends the message; it cannot fail.
func (m Pace) Append(dst []byte, _ *frame.Limits) ([]byte, error) {
	return appendPair(dst, KindPace, m.DaemonOrigin, m.BytesPerSecond), nil
}

// Decode reads the message from b, which must hold nothing else.
func (m *Pace) Decode(b []byte, _ *frame.Limits) error {
	if !exactly(b, KindPace, pairBytes) {
		return misfit(b, KindPace, sizedField{"bytes_per_second", 8})
	}
	m.DaemonOrigin, m.BytesPerSecond = Origin(le.Uint64(b[1:])), le.Uint64(b[9:])
	return nil
}
