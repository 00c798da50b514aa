package proto0500

import "ferry/frame"

// Recipient tells the source for which key to seal the daemon's own: what the target has announced in Prepared, passed on
// as it is. It comes before TakeSnapshot.
//
//	off size field
//	  0    1  discriminant   0x91
//	  1    8  daemon_origin
//	  9   32  sealing_key    X25519, the target's for this attempt
//	 41   64  signature      by the target's node key
type Recipient struct {
	DaemonOrigin Origin
	SealingKey   [32]byte
	Signature    [64]byte
}

// Kind is KindRecipient.
func (m Recipient) Kind() Kind { return KindRecipient }

// Origin is the daemon's.
func (m Recipient) Origin() Origin { return m.DaemonOrigin }

// Append appends the message; it cannot fail.
func (m Recipient) Append(dst []byte, _ *frame.Limits) ([]byte, error) {
	dst = append(appendOrigin(dst, KindRecipient, m.DaemonOrigin), m.SealingKey[:]...)
	return append(dst, m.Signature[:]...), nil
}

// Decode reads the message from b, which must hold nothing else.
func (m *Recipient) Decode(b []byte, _ *frame.Limits) error {
	var c frame.Cursor
	c.Reset("Recipient", b)
	c.Expect("discriminant", uint8(KindRecipient))
	m.DaemonOrigin = Origin(c.U64("daemon_origin"))
	m.SealingKey = c.Array32("sealing_key")
	copy(m.Signature[:], c.Bytes("signature", len(m.Signature)))
	return c.Done()
}
