package proto0500

import "ferry/frame"

// Ack is the target's answer to a Seal: the same fields, of what the target has flushed. Ack(seal) is what the source waits
// for.
//
//	off size field
//	  0    1  discriminant   0x87
//	  1    8  daemon_origin
//	  9    8  seq            the last accepted event
//	 17   32  head           its Link
//	 49    8  head_hash      XXH3-64 of that link and its payload
//	 57    8  state_digest   0: none
type Ack struct {
	DaemonOrigin Origin
	Seq          Seq
	Head         Link
	HeadHash     uint64
	StateDigest  uint64
}

// Kind is KindAck.
func (m Ack) Kind() Kind { return KindAck }

// Origin is the daemon's.
func (m Ack) Origin() Origin { return m.DaemonOrigin }

// Append appends the message; it cannot fail.
func (m Ack) Append(dst []byte, _ *frame.Limits) ([]byte, error) {
	return (*Seal)(&m).append(dst, KindAck), nil
}

// Decode reads the message from b, which must hold nothing else.
func (m *Ack) Decode(b []byte, _ *frame.Limits) error { return (*Seal)(m).decode(b, KindAck) }
