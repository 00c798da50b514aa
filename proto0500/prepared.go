package proto0500

import "ferry/frame"

// Prepared is the target's yes to Prepare, with what it will take.
//
//	off size field
//	  0    1  discriminant          0x83
//	  1    8  daemon_origin
//	  9    4  chunk_bytes           of one chunk at most
//	 13    4  event_payload_bytes   of one payload at most
//	 17    8  credit_bytes          in flight at most
//	 25    1  lanes                 at most
//	 26   32  sealing_key           X25519, made for this attempt: the daemon's key is sealed for it
//	 58   64  signature             by the target's node key: see identity.Recipient
type Prepared struct {
	DaemonOrigin      Origin
	ChunkBytes        uint32
	EventPayloadBytes uint32
	CreditBytes       uint64
	Lanes             uint8
	SealingKey        [32]byte
	Signature         [64]byte
}

// Kind is KindPrepared.
func (m Prepared) Kind() Kind { return KindPrepared }

// Origin is the daemon's.
func (m Prepared) Origin() Origin { return m.DaemonOrigin }

// Append appends the message; it cannot fail.
func (m Prepared) Append(dst []byte, _ *frame.Limits) ([]byte, error) {
	dst = appendOrigin(dst, KindPrepared, m.DaemonOrigin)
	dst = le.AppendUint32(dst, m.ChunkBytes)
	dst = le.AppendUint32(dst, m.EventPayloadBytes)
	dst = le.AppendUint64(dst, m.CreditBytes)
	dst = append(append(dst, m.Lanes), m.SealingKey[:]...)
	return append(dst, m.Signature[:]...), nil
}

// Decode reads the message from b, which must hold nothing else.
func (m *Prepared) Decode(b []byte, _ *frame.Limits) error {
	var c frame.Cursor
	c.Reset("Prepared", b)
	c.Expect("discriminant", uint8(KindPrepared))
	m.DaemonOrigin = Origin(c.U64("daemon_origin"))
	m.ChunkBytes = c.U32("chunk_bytes")
	m.EventPayloadBytes = c.U32("event_payload_bytes")
	m.CreditBytes = c.U64("credit_bytes")
	m.Lanes = c.U8("lanes")
	m.SealingKey = c.Array32("sealing_key")
	copy(m.Signature[:], c.Bytes("signature", len(m.Signature)))
	return c.Done()
}
