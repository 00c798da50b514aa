package snapshot

import (
	"fmt"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"

	"ferry/frame"
	"ferry/proto0500"
)

// zstdWindowMost is the most that a peer's zstd frame may say of its window. Nothing is allocated for it: a chunk is
// decoded where it is needed.
const zstdWindowMost = 8 << 20

// decodeSlack behind a chunk lets the decoder copy whole words at its end.
const decodeSlack = 32

// Unpacker puts Chunks in their places. It belongs to one lane; many may share a Placer.
//
// It holds a buffer of a chunk while it places one that came compressed or by digest. What a peer says decides on
// nothing: no more is decoded than the chunk's place takes.
type Unpacker struct {
	p    *Placer
	held Held
	buf  []byte // a chunk and decodeSlack; nil: none
}

// NewUnpacker is for one lane. held may be nil: then the source was told of no chunks.
func NewUnpacker(p *Placer, held Held) *Unpacker { return &Unpacker{p: p, held: held} }

// Place puts the chunk that m stands for where it belongs, as Placer.Place does. A chunk that is none of this transfer,
// or stands for another length than its index says, is ErrMismatch; bytes that are no such chunk are frame.ErrValue; a
// digest that is not held here, or no longer, is ErrNotHeld. All are *ChunkError and change nothing.
func (u *Unpacker) Place(m *proto0500.Chunk) (fresh bool, err error) {
	r := proto0500.SnapshotReady{DaemonOrigin: m.DaemonOrigin, SeqThrough: m.SeqThrough, ChunkIndex: m.ChunkIndex, TotalChunks: m.TotalChunks}
	if err := u.p.identify(&r); err != nil {
		return false, err
	}
	_, n := u.p.chunk(m.ChunkIndex)
	if uint64(m.RawLen) != uint64(n) {
		return false, refuse(&r, "raw_len", fmt.Errorf("%w: %d bytes, not %d", ErrMismatch, m.RawLen, n))
	}
	defer u.drop()
	switch m.Encoding {
	case proto0500.EncodingZeros:
		if len(m.Bytes) > 0 {
			return false, refuse(&r, "bytes", fmt.Errorf("%w: %d bytes of zeros", frame.ErrValue, len(m.Bytes)))
		}
		return u.p.PlaceZeros(m.ChunkIndex)
	case proto0500.EncodingS2:
		r.SnapshotBytes, err = u.fromS2(m.Bytes, n)
	case proto0500.EncodingZstd:
		r.SnapshotBytes, err = u.fromZstd(m.Bytes, n)
	case proto0500.EncodingHeld:
		r.SnapshotBytes, err = u.fromHeld(m.Bytes, n)
	default:
		return false, refuse(&r, "encoding", fmt.Errorf("%w: %v", frame.ErrUnknown, m.Encoding))
	}
	if err != nil {
		return false, refuse(&r, "bytes", err)
	}
	return u.p.Place(&r)
}

// room is where n bytes go; no chunk of the transfer is longer than the first.
func (u *Unpacker) room(n int) []byte {
	if u.buf == nil {
		_, most := u.p.chunk(0)
		u.buf = scratch.take(most + decodeSlack)
	}
	return u.buf[:n:len(u.buf)]
}

func (u *Unpacker) drop() {
	scratch.give(u.buf)
	u.buf = nil
}

func (u *Unpacker) fromS2(b []byte, n int) ([]byte, error) {
	got, err := s2.DecodedLen(b)
	if err != nil {
		return nil, fmt.Errorf("%w: s2: %w", frame.ErrValue, err)
	}
	if got != n {
		return nil, fmt.Errorf("%w: s2 of %d bytes, not %d", frame.ErrValue, got, n)
	}
	raw, err := s2.Decode(u.room(n), b)
	if err != nil {
		return nil, fmt.Errorf("%w: s2: %w", frame.ErrValue, err)
	}
	return raw, nil
}

func (u *Unpacker) fromZstd(b []byte, n int) ([]byte, error) {
	// A frame that does not say its length is refused: by the length a bomb is known before it is opened.
	var h zstd.Header
	if err := h.Decode(b); err != nil {
		return nil, fmt.Errorf("%w: zstd: %w", frame.ErrValue, err)
	}
	if h.Skippable || !h.HasFCS || h.FrameContentSize != uint64(n) {
		return nil, fmt.Errorf("%w: zstd of %d bytes, not %d", frame.ErrValue, h.FrameContentSize, n)
	}
	raw, err := zstdDecoder().DecodeAll(b, u.room(0))
	if err != nil {
		return nil, fmt.Errorf("%w: zstd: %w", frame.ErrValue, err)
	}
	if len(raw) != n {
		return nil, fmt.Errorf("%w: zstd of %d bytes, not %d", frame.ErrValue, len(raw), n)
	}
	return raw, nil
}

func (u *Unpacker) fromHeld(b []byte, n int) ([]byte, error) {
	if len(b) != DigestBytes {
		return nil, fmt.Errorf("%w: digest of %d bytes", frame.ErrValue, len(b))
	}
	d := Digest(b)
	if u.held == nil {
		return nil, fmt.Errorf("%w: %v", ErrNotHeld, d)
	}
	r, off, ok := u.held(d)
	if !ok {
		return nil, fmt.Errorf("%w: %v", ErrNotHeld, d)
	}
	raw := u.room(n)
	if err := readFull(r, raw, off); err != nil {
		return nil, fmt.Errorf("%w: %v: %w", ErrNotHeld, d, err)
	}
	if got := DigestOf(raw); got != d {
		return nil, fmt.Errorf("%w: %v: at byte %d lies %v", ErrNotHeld, d, off, got)
	}
	return raw, nil
}
