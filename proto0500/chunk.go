package proto0500

import (
	"fmt"

	"ferry/frame"
)

// EncodedChunkHeaderBytes is what stands before the bytes of a Chunk.
const EncodedChunkHeaderBytes = 34

// ChunkDigestBytes is the size of a chunk's digest: XXH3-128 of its bytes, high half first, big endian.
const ChunkDigestBytes = 16

// Chunk is one chunk of a snapshot in another form than its bytes, in place of SnapshotReady: only to peers with
// FeatureChunk. A chunk that would not get smaller travels as SnapshotReady.
//
//	off size field
//	  0    1  discriminant   0x8e
//	  1    8  daemon_origin
//	  9    8  seq_through    the last event in the snapshot
//	 17    4  chunk_index    below total_chunks
//	 21    4  total_chunks   1..ChunksMax
//	 25    1  encoding       1 zeros, 2 s2, 3 zstd, 4 held
//	 26    4  raw_len        of the chunk it stands for, 1..ChunkBytesMax
//	 30    4  len            zeros: 0; held: 16; s2 and zstd: 1..raw_len-1
//	 34  len  bytes
type Chunk struct {
	DaemonOrigin Origin
	SeqThrough   Seq
	ChunkIndex   uint32
	TotalChunks  uint32
	Encoding     Encoding
	RawLen       uint32
	Bytes        []byte // borrowed in a decoded message
}

var _ = [1]struct{}{}[EncodedChunkHeaderBytes-(1+8+8+4+4+1+4+4)]

// Kind is KindChunk.
func (m Chunk) Kind() Kind { return KindChunk }

// Origin is the daemon's.
func (m Chunk) Origin() Origin { return m.DaemonOrigin }

// Append appends the message. Numbers and lengths that Decode would refuse are an error.
func (m Chunk) Append(dst []byte, lim *frame.Limits) ([]byte, error) {
	out, err := m.AppendChunkHeader(dst, len(m.Bytes), lim)
	if err != nil {
		return dst, err
	}
	return append(out, m.Bytes...), nil
}

// AppendChunkHeader appends the 34 bytes that stand before n bytes, which the caller puts behind them, or has put there
// already: nothing behind the header is written to. Bytes is not looked at. On error dst is returned as it was.
func (m Chunk) AppendChunkHeader(dst []byte, n int, lim *frame.Limits) ([]byte, error) {
	if f := m.check(uint64(n), lim); f.err != nil {
		return dst, encodeError(KindChunk, f.name, f.err)
	}
	var b [EncodedChunkHeaderBytes]byte
	b[0] = byte(KindChunk)
	le.PutUint64(b[1:], uint64(m.DaemonOrigin))
	le.PutUint64(b[9:], uint64(m.SeqThrough))
	le.PutUint32(b[17:], m.ChunkIndex)
	le.PutUint32(b[21:], m.TotalChunks)
	b[25] = byte(m.Encoding)
	le.PutUint32(b[26:], m.RawLen)
	le.PutUint32(b[30:], uint32(n))
	return append(dst, b[:]...), nil
}

// Decode reads the message from b, which must hold nothing else. Bytes borrows from b. What s2 and zstd make of them is
// not looked at.
func (m *Chunk) Decode(b []byte, lim *frame.Limits) error {
	var c frame.Cursor
	c.Reset("Chunk", b)
	c.Expect("discriminant", uint8(KindChunk))
	m.DaemonOrigin = Origin(c.U64("daemon_origin"))
	m.SeqThrough = Seq(c.U64("seq_through"))
	m.ChunkIndex = c.U32("chunk_index")
	m.TotalChunks = c.U32("total_chunks")
	m.Encoding = Encoding(c.U8("encoding"))
	m.RawLen = c.U32("raw_len")
	m.Bytes = nil
	n := c.U32("len")
	if c.Err() == nil {
		if f := m.check(uint64(n), lim); f.err != nil {
			c.FailAt(f.name, f.offset, f.err)
		}
	}
	m.Bytes = c.Bytes("bytes", int(n))
	return c.Done()
}

// badField is a field that is wrong, where it stands, and why.
type badField struct {
	name   string
	offset int
	err    error
}

// check finds the first field that may not be as it is, in a chunk of n bytes.
func (m *Chunk) check(n uint64, lim *frame.Limits) badField {
	switch {
	case m.TotalChunks == 0:
		return badField{"total_chunks", 21, fmt.Errorf("%w: 0", frame.ErrValue)}
	case m.TotalChunks > lim.ChunksMax:
		return badField{"total_chunks", 21, frame.OverLimit(uint64(m.TotalChunks), uint64(lim.ChunksMax))}
	case m.ChunkIndex >= m.TotalChunks:
		return badField{"chunk_index", 17, chunkOutside(m.ChunkIndex, m.TotalChunks)}
	case !m.Encoding.known():
		return badField{"encoding", 25, fmt.Errorf("%w: %v", frame.ErrUnknown, m.Encoding)}
	case m.RawLen == 0:
		return badField{"raw_len", 26, fmt.Errorf("%w: 0", frame.ErrValue)}
	case m.RawLen > lim.ChunkBytesMax:
		return badField{"raw_len", 26, frame.OverLimit(uint64(m.RawLen), uint64(lim.ChunkBytesMax))}
	}
	var fits bool
	switch m.Encoding {
	case EncodingZeros:
		fits = n == 0
	case EncodingHeld:
		fits = n == ChunkDigestBytes
	default:
		fits = n > 0 && n < uint64(m.RawLen)
	}
	if !fits {
		return badField{"len", 30, fmt.Errorf("%w: %d bytes of %v for a chunk of %d", frame.ErrValue, n, m.Encoding, m.RawLen)}
	}
	return badField{}
}
