package proto0500

import (
	"fmt"

	"ferry/frame"
)

// HelloVersion is the only version of the extensions.
const HelloVersion = 1

// Bits of Hello.Features. The others are sent as 0 and ignored when read.
const (
	// FeatureCDS1v3: the node reads snapshot envelopes of version 3, with lengths of 64 bits.
	FeatureCDS1v3 uint64 = 1 << 0
	// FeatureChunk: the node reads Chunk and Have.
	FeatureChunk uint64 = 1 << 1
	// FeaturePace: the node takes Pace.
	FeaturePace uint64 = 1 << 2
)

// Hello is the first frame in both directions: what the sender reads, and which of its lives this is. It is about no
// daemon.
//
//	off size field
//	  0    1  discriminant             0x80
//	  1    1  version                  1
//	  2    8  features                 unknown bits are ignored
//	 10    4  chunk_bytes_max
//	 14    4  event_payload_bytes_max
//	 18    4  message_bytes_max
//	 22    1  lanes_max
//	 23    8  boot_id
type Hello struct {
	Version              uint8
	Features             uint64
	ChunkBytesMax        uint32
	EventPayloadBytesMax uint32
	MessageBytesMax      uint32
	LanesMax             uint8
	BootID               uint64
}

// Kind is KindHello.
func (m Hello) Kind() Kind { return KindHello }

// Origin is 0.
func (m Hello) Origin() Origin { return 0 }

// Append appends the message. A version other than HelloVersion is an error.
func (m Hello) Append(dst []byte, _ *frame.Limits) ([]byte, error) {
	if m.Version != HelloVersion {
		return dst, encodeError(KindHello, "version", helloVersion(m.Version))
	}
	dst = append(dst, byte(KindHello), m.Version)
	dst = le.AppendUint64(dst, m.Features)
	dst = le.AppendUint32(dst, m.ChunkBytesMax)
	dst = le.AppendUint32(dst, m.EventPayloadBytesMax)
	dst = le.AppendUint32(dst, m.MessageBytesMax)
	dst = append(dst, m.LanesMax)
	return le.AppendUint64(dst, m.BootID), nil
}

// Decode reads the message from b, which must hold nothing else.
func (m *Hello) Decode(b []byte, _ *frame.Limits) error {
	var c frame.Cursor
	c.Reset("Hello", b)
	c.Expect("discriminant", uint8(KindHello))
	m.Version = c.U8("version")
	if m.Version != HelloVersion {
		c.FailAt("version", 1, helloVersion(m.Version))
	}
	m.Features = c.U64("features")
	m.ChunkBytesMax = c.U32("chunk_bytes_max")
	m.EventPayloadBytesMax = c.U32("event_payload_bytes_max")
	m.MessageBytesMax = c.U32("message_bytes_max")
	m.LanesMax = c.U8("lanes_max")
	m.BootID = c.U64("boot_id")
	return c.Done()
}

func helloVersion(v uint8) error { return fmt.Errorf("%w: %d", frame.ErrVersion, v) }
