package snapshot

import (
	"context"
	"fmt"
	"io"
	"iter"

	"ferry/frame"
	"ferry/proto0500"
)

// Held finds the bytes of a chunk by its digest, for as many at once as ask: they begin at off of r. What it finds is
// read and verified before it counts.
type Held func(d Digest) (r io.ReaderAt, off int64, ok bool)

// BaseConfig says how a base is cut.
type BaseConfig struct {
	StateSize  int64        // of the base, bytes
	ChunkBytes uint32       // of the transfer that is to use it
	Version    uint8        // of that transfer's envelope: its header is as long as the first chunk's place in the state is short
	Limits     frame.Limits // bound ChunkBytes and the number of chunks
	DigestsMax int          // how many it remembers. 0: HaveDigestsMax
}

// Base is a state that the target has from before, found by the digests of its chunks. Chunks are cut from the envelope,
// not from the state, so that those of the base lie where those of the coming snapshot do: chunk i is the state from
// i × ChunkBytes − header bytes on. The first chunk holds the header and the last the trailer; they are never the same,
// and are left out, as are zeros.
type Base struct {
	r       io.ReaderAt
	offsets map[Digest]int64
}

// NewBase reads the whole of r, through one buffer of a chunk. It ends early when ctx does.
func NewBase(ctx context.Context, r io.ReaderAt, cfg BaseConfig) (*Base, error) {
	if cfg.Version != Version2 && cfg.Version != Version3 {
		return nil, fmt.Errorf("base: %w: %d", frame.ErrVersion, cfg.Version)
	}
	if cfg.DigestsMax <= 0 {
		cfg.DigestsMax = HaveDigestsMax
	}
	header := int64(headerBytes(cfg.Version))
	l, err := newLayout(header+max(cfg.StateSize, 0), cfg.ChunkBytes, &cfg.Limits)
	if err != nil {
		return nil, fmt.Errorf("base: %w", err)
	}
	b := &Base{r: r, offsets: make(map[Digest]int64)}
	var buf []byte
	for i := range l.total {
		at, n := l.chunk(i)
		off := at - header
		if off < 0 || n < int(l.chunkBytes) {
			continue
		}
		if err := context.Cause(ctx); err != nil {
			return nil, fmt.Errorf("base: %w", err)
		}
		if buf == nil {
			buf = make([]byte, n)
		}
		if err := readFull(r, buf, off); err != nil {
			return nil, fmt.Errorf("base: %w", err)
		}
		if allZeros(buf) {
			continue
		}
		d := DigestOf(buf)
		if _, twice := b.offsets[d]; twice {
			continue
		}
		if len(b.offsets) >= cfg.DigestsMax {
			break
		}
		b.offsets[d] = off
	}
	return b, nil
}

// Len is the number of chunks that can be found. A nil base has none.
func (b *Base) Len() int {
	if b == nil {
		return 0
	}
	return len(b.offsets)
}

// Find is a Held, also of a nil base.
func (b *Base) Find(d Digest) (r io.ReaderAt, off int64, ok bool) {
	if b == nil {
		return nil, 0, false
	}
	off, ok = b.offsets[d]
	return b.r, off, ok
}

// Digests gives the digests of the chunks that can be found, each once, in no order.
func (b *Base) Digests() iter.Seq[Digest] {
	return func(yield func(Digest) bool) {
		if b == nil {
			return
		}
		for d := range b.offsets {
			if !yield(d) {
				return
			}
		}
	}
}

// Haves gives the messages that tell the source of these chunks; none when there are none. Each owns its digests.
func (b *Base) Haves(origin proto0500.Origin, seqThrough proto0500.Seq) iter.Seq[proto0500.Have] {
	return func(yield func(proto0500.Have) bool) {
		var list [][DigestBytes]byte
		message := func() bool {
			m := proto0500.Have{DaemonOrigin: origin, SeqThrough: seqThrough, Digests: proto0500.ChunkDigestsOf(list...)}
			list = nil
			return yield(m)
		}
		for d := range b.Digests() {
			if list = append(list, d); len(list) == proto0500.HaveDigestsMax && !message() {
				return
			}
		}
		if len(list) > 0 {
			message()
		}
	}
}
