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
	dst = m.Head.Append(appendPair(dst, KindSeal, m.DaemonOrigin, uint64(m.Seq)))
	return le.AppendUint64(le.AppendUint64(dst, m.HeadHash), m.StateDigest), nil
}

// Decode reads the message from b, which must hold nothing else.
func (m *Seal) Decode(b []byte, _ *frame.Limits) error {
	var c frame.Cursor
	c.Reset("Seal", b)
	c.Expect("discriminant", uint8(KindSeal))
	m.DaemonOrigin = Origin(c.U64("daemon_origin"))
	m.Seq = Seq(c.U64("seq"))
	m.Head = linkOf(c.Bytes("head", LinkBytes))
	m.HeadHash = c.U64("head_hash")
	m.StateDigest = c.U64("state_digest")
	return c.Done()
}
