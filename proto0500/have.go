package proto0500

import (
	"iter"
	"slices"

	"ferry/frame"
)

// HaveDigestsMax is the number of digests in one Have.
const HaveDigestsMax = 4096

// ChunkDigests are digests of chunks: of a message, read as they are asked for, or a list to be sent. The zero value is
// none.
type ChunkDigests struct {
	raw  []byte
	list [][ChunkDigestBytes]byte
}

// ChunkDigestsOf is a list to be sent, which it borrows.
func ChunkDigestsOf(ds ...[ChunkDigestBytes]byte) ChunkDigests { return ChunkDigests{list: ds} }

// Len is the number of digests.
func (d ChunkDigests) Len() int { return len(d.raw)/ChunkDigestBytes + len(d.list) }

// All yields the digests in the order they were sent.
func (d ChunkDigests) All() iter.Seq[[ChunkDigestBytes]byte] {
	return func(yield func([ChunkDigestBytes]byte) bool) {
		for _, v := range d.list {
			if !yield(v) {
				return
			}
		}
		for raw := d.raw; len(raw) > 0; raw = raw[ChunkDigestBytes:] {
			if !yield([ChunkDigestBytes]byte(raw)) {
				return
			}
		}
	}
}

// Clone returns digests that own their bytes.
func (d ChunkDigests) Clone() ChunkDigests {
	return ChunkDigests{raw: clone(d.raw), list: slices.Clone(d.list)}
}

// Equal compares digests by what they put on the wire.
func (d ChunkDigests) Equal(o ChunkDigests) bool {
	return slices.Equal(slices.Collect(d.All()), slices.Collect(o.All()))
}

// Have tells the source of chunks that the target has from an earlier attempt, or from an earlier stay of the daemon:
// such a chunk need not travel, see EncodingHeld. Any number of Have come before the TransferStatus that answers
// Transfer. Order means nothing, and a digest may come twice.
//
//	off size field
//	  0    1  discriminant   0x8f
//	  1    8  daemon_origin
//	  9    8  seq_through    of the snapshot that was announced
//	 17    4  count          0..4096
//	 21    …  digests        count × 16 bytes
type Have struct {
	DaemonOrigin Origin
	SeqThrough   Seq
	Digests      ChunkDigests // borrowed in a decoded message
}

// Kind is KindHave.
func (m Have) Kind() Kind { return KindHave }

// Origin is the daemon's.
func (m Have) Origin() Origin { return m.DaemonOrigin }

// Append appends the message. More digests than HaveDigestsMax are an error.
func (m Have) Append(dst []byte, _ *frame.Limits) ([]byte, error) {
	n := m.Digests.Len()
	if n > HaveDigestsMax {
		return dst, overLimit(KindHave, "count", uint64(n), HaveDigestsMax)
	}
	dst = appendPair(dst, KindHave, m.DaemonOrigin, uint64(m.SeqThrough))
	dst = le.AppendUint32(dst, uint32(n))
	dst = append(dst, m.Digests.raw...)
	for i := range m.Digests.list {
		dst = append(dst, m.Digests.list[i][:]...)
	}
	return dst, nil
}

// Decode reads the message from b, which must hold nothing else. The digests borrow from b.
func (m *Have) Decode(b []byte, _ *frame.Limits) error {
	var c frame.Cursor
	c.Reset("Have", b)
	c.Expect("discriminant", uint8(KindHave))
	m.DaemonOrigin = Origin(c.U64("daemon_origin"))
	m.SeqThrough = Seq(c.U64("seq_through"))
	m.Digests = ChunkDigests{}
	count := c.U32("count")
	switch {
	case count > HaveDigestsMax:
		c.FailAt("count", 17, frame.OverLimit(uint64(count), HaveDigestsMax))
	case int(count) > c.Remaining()/ChunkDigestBytes:
		c.FailAt("count", 17, errCountOverBytes)
	case count > 0:
		m.Digests.raw = c.Bytes("digests", int(count)*ChunkDigestBytes)
	}
	return c.Done()
}
