package snapshot

import (
	"fmt"
	"io"
	"slices"

	"ferry/frame"
	"ferry/proto0500"
)

// layout is how size bytes lie in chunks: each of chunkBytes, the last one the rest. Nothing at all is one chunk of no
// bytes, as at net-mesh.
type layout struct {
	size       int64
	chunkBytes uint32
	total      uint32
}

// newLayout is the only place where the number of chunks is computed: source and target must agree on it.
func newLayout(size int64, chunkBytes uint32, lim *frame.Limits) (layout, error) {
	if size < 0 {
		return layout{}, fmt.Errorf("%w: a snapshot of %d bytes", frame.ErrValue, size)
	}
	if chunkBytes == 0 || chunkBytes > lim.ChunkBytesMax {
		return layout{}, fmt.Errorf("%w: chunks of %d bytes, of 1 to %d", frame.ErrLimit, chunkBytes, lim.ChunkBytesMax)
	}
	total := max(1, (uint64(size)+uint64(chunkBytes)-1)/uint64(chunkBytes))
	if total > uint64(lim.ChunksMax) {
		return layout{}, fmt.Errorf("%w: %d bytes are %d chunks of %d, at most %d", ErrTooLarge, size, total, chunkBytes, lim.ChunksMax)
	}
	return layout{size: size, chunkBytes: chunkBytes, total: uint32(total)}, nil
}

// chunk is where the chunk index lies.
func (l *layout) chunk(index uint32) (off int64, n int) {
	off = int64(index) * int64(l.chunkBytes)
	return off, int(min(int64(l.chunkBytes), l.size-off))
}

// Chunker cuts a snapshot into SnapshotReady frames. Many lanes may use it at once where the source can be read at
// once.
type Chunker struct {
	layout
	origin     proto0500.Origin
	seqThrough proto0500.Seq
	src        io.ReaderAt
	lim        frame.Limits
}

// NewChunker cuts the size bytes of src every chunkBytes, within lim: what needs more chunks is ErrTooLarge.
func NewChunker(origin proto0500.Origin, seqThrough proto0500.Seq, src io.ReaderAt, size int64, chunkBytes uint32, lim frame.Limits) (*Chunker, error) {
	l, err := newLayout(size, chunkBytes, &lim)
	if err != nil {
		return nil, fmt.Errorf("chunker of daemon %016x: %w", uint64(origin), err)
	}
	return &Chunker{layout: l, origin: origin, seqThrough: seqThrough, src: src, lim: lim}, nil
}

// Total is the number of chunks, at least 1.
func (c *Chunker) Total() uint32 { return c.total }

// ChunkBytes is the length of the payload of the chunk index, which must be below Total.
func (c *Chunker) ChunkBytes(index uint32) int {
	_, n := c.chunk(index)
	return n
}

// FrameBytesMax is the capacity with which AppendFrame never allocates for an empty dst.
func (c *Chunker) FrameBytesMax() int {
	return frame.HeaderBytes + proto0500.ChunkHeaderBytes + int(min(int64(c.chunkBytes), c.size))
}

// AppendFrame appends the frame of the chunk index and returns the digest of its payload. The payload is read from the
// source straight into dst. On error dst is returned as long as it was. An index that is not below Total is a mistake
// of ours, and panics.
func (c *Chunker) AppendFrame(dst []byte, epoch frame.Epoch, index uint32) ([]byte, Digest, error) {
	if index >= c.total {
		panic(fmt.Sprintf("snapshot: chunk %d of %d", index, c.total))
	}
	at := len(dst)
	off, n := c.chunk(index)
	buf := slices.Grow(dst, frame.HeaderBytes+proto0500.ChunkHeaderBytes+n)
	buf = frame.Begin(buf)
	m := proto0500.SnapshotReady{DaemonOrigin: c.origin, SeqThrough: c.seqThrough, ChunkIndex: index, TotalChunks: c.total}
	buf, err := m.AppendChunkHeader(buf, n, &c.lim)
	if err != nil {
		return dst, Digest{}, err
	}
	payload := buf[len(buf) : len(buf)+n]
	buf = buf[:len(buf)+n]
	if err := readFull(c.src, payload, off); err != nil {
		return dst, Digest{}, err
	}
	if err := frame.Finish(buf, at, epoch, &c.lim); err != nil {
		return dst, Digest{}, err
	}
	return buf, DigestOf(payload), nil
}
