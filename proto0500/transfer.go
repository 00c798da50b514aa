package proto0500

import "ferry/frame"

// Transfer opens the transfer of a snapshot, and ends it when final. The answer to an opening one is TransferStatus.
//
//	off size field
//	  0    1  discriminant   0x84
//	  1    8  daemon_origin
//	  9    8  seq_through    the last event in the snapshot
//	 17    8  head_hash      XXH3-64 of that event's link and payload
//	 25    8  size           of the CDS1 envelope, bytes
//	 33    8  state_size     of the state in it, bytes
//	 41    4  chunk_size     bytes
//	 45   16  digest         XXH3-128 over the chunk digests; zeros while not known yet
//	 61    1  final          0 opens, 1 ends
type Transfer struct {
	DaemonOrigin Origin
	SeqThrough   Seq
	HeadHash     uint64
	Size         uint64
	StateSize    uint64
	ChunkSize    uint32
	Digest       [16]byte
	Final        bool
}

// Kind is KindTransfer.
func (m Transfer) Kind() Kind { return KindTransfer }

// Origin is the daemon's.
func (m Transfer) Origin() Origin { return m.DaemonOrigin }

// Append appends the message; it cannot fail.
func (m Transfer) Append(dst []byte, _ *frame.Limits) ([]byte, error) {
	dst = appendPair(dst, KindTransfer, m.DaemonOrigin, uint64(m.SeqThrough))
	dst = le.AppendUint64(dst, m.HeadHash)
	dst = le.AppendUint64(dst, m.Size)
	dst = le.AppendUint64(dst, m.StateSize)
	dst = le.AppendUint32(dst, m.ChunkSize)
	dst = append(dst, m.Digest[:]...)
	return appendFlag(dst, m.Final), nil
}

// Decode reads the message from b, which must hold nothing else.
func (m *Transfer) Decode(b []byte, _ *frame.Limits) error {
	var c frame.Cursor
	c.Reset("Transfer", b)
	c.Expect("discriminant", uint8(KindTransfer))
	m.DaemonOrigin = Origin(c.U64("daemon_origin"))
	m.SeqThrough = Seq(c.U64("seq_through"))
	m.HeadHash = c.U64("head_hash")
	m.Size = c.U64("size")
	m.StateSize = c.U64("state_size")
	m.ChunkSize = c.U32("chunk_size")
	copy(m.Digest[:], c.Bytes("digest", len(m.Digest)))
	m.Final = flag(&c, "final")
	return c.Done()
}
