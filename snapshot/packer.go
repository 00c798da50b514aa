package snapshot

import (
	"fmt"

	"github.com/klauspost/compress/s2"

	"ferry/frame"
	"ferry/proto0500"
)

const (
	// A chunk that does not get below that much of its length travels as it is: decoding it costs more than it saves.
	shrinkNum, shrinkDen = 9, 10
	// packBytesMin: what is shorter is not worth a try.
	packBytesMin = 256
	// zstdWindow is what an encoder remembers; its memory is about twice that.
	zstdWindow = 256 << 10
)

// PackerConfig says what may be done to chunks.
type PackerConfig struct {
	// Plain: the peer has no FeatureChunk, every chunk travels as SnapshotReady.
	Plain bool
	// Have are the chunks that the target has. nil: none.
	Have *HaveSet
	// Tuner chooses how chunks are compressed; the lanes of a transfer share it. nil: none is.
	Tuner *Tuner
}

// Packed is a chunk ready to be sent.
type Packed struct {
	Frame    []byte             // the packer's, good until it is asked for the next one
	Digest   Digest             // of the chunk's bytes, whatever their form
	Encoding proto0500.Encoding // 0: as it is, a SnapshotReady
	RawBytes int                // that it stands for
}

// Packer makes the frames of a Chunker's chunks in the form that gets them to the target in the least time: as a header
// where all is zeros or the target has it, compressed where that pays, or as they are. It belongs to one lane; many may
// share a Chunker.
//
// It holds a buffer of a chunk, and one more as long as the last chunk is a compressed one. What it gives is where it
// was read or compressed to: nothing is copied. After the first chunk of a kind nothing is allocated.
type Packer struct {
	c     *Chunker
	cfg   PackerConfig
	zeros zeroDigests
	raw   []byte // frame header, chunk header, and the chunk read behind them
	out   []byte // the same for a Chunk with a chunk compressed; nil: none
	small [packedAt + DigestBytes]byte
}

// NewPacker is for one lane.
func NewPacker(c *Chunker, cfg PackerConfig) *Packer {
	return &Packer{c: c, cfg: cfg, zeros: newZeroDigests(&c.layout), raw: make([]byte, c.FrameBytesMax())}
}

const (
	rawAt    = frame.HeaderBytes + proto0500.ChunkHeaderBytes
	packedAt = frame.HeaderBytes + proto0500.EncodedChunkHeaderBytes
)

// Frame makes the frame of the chunk index. A lane asks for the next one when its path, or a rate limit, has let the last
// one go. An index that is not below the chunker's Total is a mistake of ours, and panics.
func (p *Packer) Frame(epoch frame.Epoch, index uint32) (Packed, error) {
	f, err := p.pack(epoch, index)
	if err == nil && p.cfg.Tuner != nil {
		p.cfg.Tuner.made(f.RawBytes, len(f.Frame))
	}
	return f, err
}

func (p *Packer) pack(epoch frame.Epoch, index uint32) (Packed, error) {
	p.drop()
	raw, err := p.read(index)
	if err != nil {
		return Packed{}, err
	}
	f := Packed{RawBytes: len(raw)}
	if len(raw) == 0 || p.cfg.Plain {
		f.Digest = DigestOf(raw)
		return p.asItIs(f, epoch, index)
	}
	if allZeros(raw) {
		f.Digest, f.Encoding = p.zeros.of(len(raw)), proto0500.EncodingZeros
		return p.chunk(f, epoch, index, p.small[:packedAt])
	}
	f.Digest = DigestOf(raw)
	if p.cfg.Have.Has(f.Digest) {
		f.Encoding = proto0500.EncodingHeld
		copy(p.small[packedAt:], f.Digest[:])
		return p.chunk(f, epoch, index, p.small[:])
	}
	if e, n := p.compress(raw); n > 0 {
		f.Encoding = e
		return p.chunk(f, epoch, index, p.out[:packedAt+n])
	}
	p.drop()
	return p.asItIs(f, epoch, index)
}

// Digest is that of the chunk index, for one that need not be sent. It reads the chunk.
func (p *Packer) Digest(index uint32) (Digest, error) {
	raw, err := p.read(index)
	if err != nil {
		return Digest{}, err
	}
	return DigestOf(raw), nil
}

func (p *Packer) read(index uint32) ([]byte, error) {
	if index >= p.c.total {
		panic(fmt.Sprintf("snapshot: chunk %d of %d", index, p.c.total))
	}
	off, n := p.c.chunk(index)
	raw := p.raw[rawAt : rawAt+n]
	return raw, readFull(p.c.src, raw, off)
}

// compress puts the chunk behind where its headers go, and gives its length there: 0 when it should travel as it is.
func (p *Packer) compress(raw []byte) (proto0500.Encoding, int) {
	if p.cfg.Tuner == nil || len(raw) < packBytesMin {
		return asItIs, 0
	}
	e := p.cfg.Tuner.pick()
	if e == asItIs {
		return asItIs, 0
	}
	var packed []byte
	if e == proto0500.EncodingZstd {
		enc := zstdEncoder()
		// It tries before it gives up on a block, and needs more room for that than for what it gives.
		p.out = scratch.take(packedAt + enc.MaxEncodedSize(len(raw)) + len(raw)/4 + packBytesMin)
		packed = enc.EncodeAll(raw, p.out[packedAt:packedAt])
	} else {
		p.out = scratch.take(packedAt + s2.MaxEncodedLen(len(raw)))
		packed = s2.Encode(p.out[packedAt:packedAt], raw)
	}
	n := len(packed)
	// An encoder that found the room too small has made its own, for what is longer than the chunk.
	if n > len(raw)*shrinkNum/shrinkDen || &packed[0] != &p.out[packedAt] {
		n = len(raw)
	}
	p.cfg.Tuner.tried(n < len(raw))
	if n == len(raw) {
		return asItIs, 0
	}
	return e, n
}

// drop gives back what the last chunk was compressed to.
func (p *Packer) drop() {
	scratch.give(p.out)
	p.out = nil
}

// chunk puts the headers of a Chunk before the bytes that buf has from packedAt on.
func (p *Packer) chunk(f Packed, epoch frame.Epoch, index uint32, buf []byte) (Packed, error) {
	m := proto0500.Chunk{DaemonOrigin: p.c.origin, SeqThrough: p.c.seqThrough, ChunkIndex: index, TotalChunks: p.c.total,
		Encoding: f.Encoding, RawLen: uint32(f.RawBytes)}
	n := len(buf) - packedAt
	head, err := m.AppendChunkHeader(frame.Begin(buf[:0]), n, &p.c.lim)
	if err != nil {
		return Packed{}, err
	}
	f.Frame = head[:len(head)+n]
	return f, frame.Finish(f.Frame, 0, epoch, &p.c.lim)
}

func (p *Packer) asItIs(f Packed, epoch frame.Epoch, index uint32) (Packed, error) {
	m := proto0500.SnapshotReady{DaemonOrigin: p.c.origin, SeqThrough: p.c.seqThrough, ChunkIndex: index, TotalChunks: p.c.total}
	buf, err := m.AppendChunkHeader(frame.Begin(p.raw[:0]), f.RawBytes, &p.c.lim)
	if err != nil {
		return Packed{}, err
	}
	f.Frame = buf[:len(buf)+f.RawBytes]
	return f, frame.Finish(f.Frame, 0, epoch, &p.c.lim)
}
