package proto0500

import "ferry/frame"

// Seal is what the source has at its freeze, and what the target must have, exactly, to acknowledge it.
//
//	off size field
//	  0    1  discriminant   0x86
//	  1    8  daemon_origin
//	  9    8  seq            the last accepted event
//	 17   32  head           its Link
//	 49    8  head_hash      XXH3-64 of that link and its payload
//	 57    8  state_digest   0: none
type Seal struct {
	DaemonOrigin Origin
	Seq          Seq
	Head         Link
	HeadHash     uint64
	StateDigest  uint64
}

// Kind is KindSeal.
func (m Seal) Kind() Kind { return KindSeal }

// Origin is the daemon's.
func (m Seal) Origin() Origin { return m.DaemonOrigin }

// Append appends the message; it cannot fail.
func (m Seal) Append(dst []byte, _ *frame.Limits) ([]byte, error) {
	return m.append(dst, KindSeal), nil
}

// Decode reads the message from b, which must hold nothing else.
func (m *Seal) Decode(b []byte, _ *frame.Limits) error { return m.decode(b, KindSeal) }

// Seal and Ack have the same fields.

func (m *Seal) append(dst []byte, k Kind) []byte {
	dst = m.Head.Append(appendPair(dst, k, m.DaemonOrigin, uint64(m.Seq)))
	return le.AppendUint64(le.AppendUint64(dst, m.HeadHash), m.StateDigest)
}

func (m *Seal) decode(b []byte, k Kind) error {
	if !exactly(b, k, pairBytes+LinkBytes+8+8) {
		return misfit(b, k, sizedField{"seq", 8}, sizedField{"head", LinkBytes}, sizedField{"head_hash", 8}, sizedField{"state_digest", 8})
	}
	m.DaemonOrigin = Origin(le.Uint64(b[1:]))
	m.Seq = Seq(le.Uint64(b[9:]))
	m.Head = LinkFrom(b[17:])
	m.HeadHash = le.Uint64(b[49:])
	m.StateDigest = le.Uint64(b[57:])
	return nil
}
