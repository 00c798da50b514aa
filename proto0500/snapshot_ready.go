package proto0500

import (
	"fmt"

	"ferry/frame"
)

// ChunkHeaderBytes is what stands before the bytes of a chunk in a SnapshotReady.
const ChunkHeaderBytes = 29

// SnapshotReady is one chunk of a snapshot (phase 1→2). Chunks 0..total_chunks must all arrive before the snapshot is
// read; a snapshot in one chunk is chunk 0 of 1. An empty chunk decodes, as it does in the crate; who puts chunks
// together refuses it.
//
//	off size field
//	  0    1  discriminant   1
//	  1    8  daemon_origin
//	  9    8  seq_through    the last event in the snapshot
//	 17    4  chunk_index    below total_chunks
//	 21    4  total_chunks   1..ChunksMax
//	 25    4  len            0..ChunkBytesMax
//	 29  len  snapshot_bytes
type SnapshotReady struct {
	DaemonOrigin  Origin
	SeqThrough    Seq
	ChunkIndex    uint32
	TotalChunks   uint32
	SnapshotBytes []byte // borrowed in a decoded message
}

var _ = [1]struct{}{}[ChunkHeaderBytes-(1+8+8+4+4+4)]

// Kind is KindSnapshotReady.
func (m SnapshotReady) Kind() Kind { return KindSnapshotReady }

// Origin is the daemon's.
func (m SnapshotReady) Origin() Origin { return m.DaemonOrigin }

// Append appends the message. Numbers and lengths that Decode would refuse are an error.
func (m SnapshotReady) Append(dst []byte, lim *frame.Limits) ([]byte, error) {
	out, err := m.AppendChunkHeader(dst, len(m.SnapshotBytes), lim)
	if err != nil {
		return dst, err
	}
	return append(out, m.SnapshotBytes...), nil
}

// AppendChunkHeader appends the 29 bytes that stand before a chunk of n bytes, which the caller puts behind them or
// sends after them. SnapshotBytes is not looked at. On error dst is returned as it was.
func (m SnapshotReady) AppendChunkHeader(dst []byte, n int, lim *frame.Limits) ([]byte, error) {
	switch {
	case m.TotalChunks == 0:
		return dst, encodeError(KindSnapshotReady, "total_chunks", fmt.Errorf("%w: 0", frame.ErrValue))
	case m.TotalChunks > lim.ChunksMax:
		return dst, overLimit(KindSnapshotReady, "total_chunks", uint64(m.TotalChunks), uint64(lim.ChunksMax))
	case m.ChunkIndex >= m.TotalChunks:
		return dst, encodeError(KindSnapshotReady, "chunk_index", chunkOutside(m.ChunkIndex, m.TotalChunks))
	case uint64(n) > uint64(lim.ChunkBytesMax):
		return dst, overLimit(KindSnapshotReady, "len", uint64(n), uint64(lim.ChunkBytesMax))
	}
	var b [ChunkHeaderBytes]byte
	b[0] = byte(KindSnapshotReady)
	le.PutUint64(b[1:], uint64(m.DaemonOrigin))
	le.PutUint64(b[9:], uint64(m.SeqThrough))
	le.PutUint32(b[17:], m.ChunkIndex)
	le.PutUint32(b[21:], m.TotalChunks)
	le.PutUint32(b[25:], uint32(n))
	return append(dst, b[:]...), nil
}

// Decode reads the message from b, which must hold nothing else. SnapshotBytes borrows from b.
func (m *SnapshotReady) Decode(b []byte, lim *frame.Limits) error {
	var c frame.Cursor
	c.Reset("SnapshotReady", b)
	c.Expect("discriminant", uint8(KindSnapshotReady))
	n := m.readHeader(&c, lim)
	m.SnapshotBytes = c.Bytes("snapshot_bytes", n)
	return c.Done()
}

// DecodeChunkHeader reads the first 29 bytes of the message, which b must hold alone, and returns the length of the
// chunk that follows them: so it can be read to its own place. SnapshotBytes is set to nil.
func (m *SnapshotReady) DecodeChunkHeader(b []byte, lim *frame.Limits) (n int, err error) {
	var c frame.Cursor
	c.Reset("SnapshotReady", b)
	c.Expect("discriminant", uint8(KindSnapshotReady))
	n = m.readHeader(&c, lim)
	return n, c.Done()
}

// readHeader judges the numbers in the crate's order, len before looking whether its bytes are there.
func (m *SnapshotReady) readHeader(c *frame.Cursor, lim *frame.Limits) int {
	m.DaemonOrigin = Origin(c.U64("daemon_origin"))
	m.SeqThrough = Seq(c.U64("seq_through"))
	m.ChunkIndex = c.U32("chunk_index")
	m.TotalChunks = c.U32("total_chunks")
	m.SnapshotBytes = nil
	n := c.U32("len")
	switch {
	case c.Err() != nil:
		return 0
	case m.TotalChunks == 0:
		c.FailAt("total_chunks", 21, fmt.Errorf("%w: 0", frame.ErrValue))
	case m.TotalChunks > lim.ChunksMax:
		c.FailAt("total_chunks", 21, frame.OverLimit(uint64(m.TotalChunks), uint64(lim.ChunksMax)))
	case m.ChunkIndex >= m.TotalChunks:
		c.FailAt("chunk_index", 17, chunkOutside(m.ChunkIndex, m.TotalChunks))
	case n > lim.ChunkBytesMax:
		c.FailAt("len", 25, frame.OverLimit(uint64(n), uint64(lim.ChunkBytesMax)))
	default:
		return int(n)
	}
	return 0
}

func chunkOutside(index, total uint32) error {
	return fmt.Errorf("%w: chunk %d of %d", frame.ErrValue, index, total)
}
