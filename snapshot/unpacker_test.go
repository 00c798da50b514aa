package snapshot

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"

	"ferry/frame"
	"ferry/proto0500"
)

func zstdOf(t testing.TB, b []byte, opts ...zstd.EOption) []byte {
	t.Helper()
	e, err := zstd.NewWriter(nil, append(opts, zstd.WithEncoderConcurrency(1))...)
	if err != nil {
		t.Fatal(err)
	}
	return e.EncodeAll(b, nil)
}

// zstdBomb says that it is n bytes, and holds blocks of one repeated byte.
func zstdBomb(says uint64, blocks int) []byte {
	b := []byte{0x28, 0xb5, 0x2f, 0xfd, 0xe0} // magic; 8 bytes of content size, single segment
	b = binary.LittleEndian.AppendUint64(b, says)
	for range blocks {
		b = append(b, 0x02, 0x00, 0x10, 'x') // RLE, 128 KiB, not the last
	}
	return append(b, 0x0b, 0x00, 0x00, 'x') // RLE, 1 byte, the last
}

func TestUnpackRefuses(t *testing.T) {
	const chunkBytes = 1000
	rnd := rand.New(rand.NewPCG(6, 6))
	state := text(rnd, 3*chunkBytes)
	x := newPacking(t, Version2, state, chunkBytes, nil)
	old := bytes.Clone(state)
	base := x.base(t, bytes.NewReader(old), len(old))
	h := int64(headerBytes2)
	raw := state[chunkBytes-h : 2*chunkBytes-h]
	sum := DigestOf(raw)
	gone := errors.New("gone")
	short := func(Digest) (io.ReaderAt, int64, bool) { return bytes.NewReader(old), int64(len(old)) - 5, true }
	broken := func(Digest) (io.ReaderAt, int64, bool) { return &memFile{readErr: gone}, 0, true }
	other := func(Digest) (io.ReaderAt, int64, bool) { return bytes.NewReader(old), 1, true }

	good := proto0500.Chunk{DaemonOrigin: x.cfg.Origin, SeqThrough: x.cfg.SeqThrough, ChunkIndex: 1, TotalChunks: x.chunker.Total(),
		Encoding: proto0500.EncodingS2, RawLen: chunkBytes, Bytes: s2.Encode(nil, raw)}
	as := func(e proto0500.Encoding, b []byte) func(*proto0500.Chunk) {
		return func(m *proto0500.Chunk) { m.Encoding, m.Bytes = e, b }
	}
	flip := func(b []byte, i int) []byte { b = bytes.Clone(b); b[i] ^= 0x55; return b }
	packed2, packedZ := s2.Encode(nil, raw), zstdOf(t, raw)
	skippable := append([]byte{0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4}, packedZ...)
	dict := append([]byte{0x28, 0xb5, 0x2f, 0xfd, 0x61, 9}, packedZ[5:]...) // names a dictionary

	for _, c := range []struct {
		name   string
		change func(*proto0500.Chunk)
		held   Held
		field  string
		err    error
	}{
		{"origin", func(m *proto0500.Chunk) { m.DaemonOrigin++ }, nil, "daemon_origin", ErrMismatch},
		{"newer", func(m *proto0500.Chunk) { m.SeqThrough++ }, nil, "seq_through", ErrMismatch},
		{"total", func(m *proto0500.Chunk) { m.TotalChunks++ }, nil, "total_chunks", ErrMismatch},
		{"index", func(m *proto0500.Chunk) { m.ChunkIndex = m.TotalChunks }, nil, "chunk_index", ErrMismatch},
		{"raw_len below", func(m *proto0500.Chunk) { m.RawLen-- }, nil, "raw_len", ErrMismatch},
		{"raw_len above", func(m *proto0500.Chunk) { m.RawLen++ }, nil, "raw_len", ErrMismatch},
		{"raw_len beyond", func(m *proto0500.Chunk) { m.RawLen = 1<<32 - 1 }, nil, "raw_len", ErrMismatch},
		{"no encoding", as(0, nil), nil, "encoding", frame.ErrUnknown},
		{"unknown encoding", as(9, nil), nil, "encoding", frame.ErrUnknown},
		{"zeros with bytes", as(proto0500.EncodingZeros, []byte{0}), nil, "bytes", frame.ErrValue},
		{"s2 of nothing", as(proto0500.EncodingS2, nil), nil, "bytes", frame.ErrValue},
		{"s2 cut", as(proto0500.EncodingS2, packed2[:len(packed2)-1]), nil, "bytes", frame.ErrValue},
		{"s2 and more", as(proto0500.EncodingS2, append(bytes.Clone(packed2), 1)), nil, "bytes", frame.ErrValue},
		{"s2 of less", as(proto0500.EncodingS2, s2.Encode(nil, raw[1:])), nil, "bytes", frame.ErrValue},
		{"s2 of more", as(proto0500.EncodingS2, s2.Encode(nil, append(bytes.Clone(raw), 1))), nil, "bytes", frame.ErrValue},
		{"s2 bomb", as(proto0500.EncodingS2, s2.Encode(nil, make([]byte, 1<<20))), nil, "bytes", frame.ErrValue},
		{"s2 that says 4 GiB", as(proto0500.EncodingS2, []byte{0xff, 0xff, 0xff, 0xff, 0x0f, 0}), nil, "bytes", frame.ErrValue},
		{"zstd of nothing", as(proto0500.EncodingZstd, nil), nil, "bytes", frame.ErrValue},
		{"zstd cut", as(proto0500.EncodingZstd, packedZ[:len(packedZ)-1]), nil, "bytes", frame.ErrValue},
		{"zstd and more", as(proto0500.EncodingZstd, append(bytes.Clone(packedZ), 1)), nil, "bytes", frame.ErrValue},
		{"zstd twice", as(proto0500.EncodingZstd, append(bytes.Clone(packedZ), packedZ...)), nil, "bytes", frame.ErrValue},
		{"zstd of less", as(proto0500.EncodingZstd, zstdOf(t, raw[1:])), nil, "bytes", frame.ErrValue},
		{"zstd of more", as(proto0500.EncodingZstd, zstdOf(t, append(bytes.Clone(raw), 1))), nil, "bytes", frame.ErrValue},
		{"zstd with another checksum", as(proto0500.EncodingZstd, flip(packedZ, len(packedZ)-1)), nil, "bytes", frame.ErrValue},
		{"zstd behind a skippable frame", as(proto0500.EncodingZstd, skippable), nil, "bytes", frame.ErrValue},
		{"zstd with a dictionary", as(proto0500.EncodingZstd, dict), nil, "bytes", frame.ErrValue},
		{"zstd that says 2^60", as(proto0500.EncodingZstd, zstdBomb(1<<60, 10)), nil, "bytes", frame.ErrValue},
		{"zstd that says it fits", as(proto0500.EncodingZstd, zstdBomb(chunkBytes, 100)), nil, "bytes", frame.ErrValue},
		{"held by nobody", as(proto0500.EncodingHeld, sum[:]), nil, "bytes", ErrNotHeld},
		{"not held", as(proto0500.EncodingHeld, flip(sum[:], 3)), base.Find, "bytes", ErrNotHeld},
		{"held of 15", as(proto0500.EncodingHeld, sum[:15]), base.Find, "bytes", frame.ErrValue},
		{"held, but cut", as(proto0500.EncodingHeld, sum[:]), short, "bytes", ErrNotHeld},
		{"held, but unreadable", as(proto0500.EncodingHeld, sum[:]), broken, "bytes", gone},
		{"held, but other bytes", as(proto0500.EncodingHeld, sum[:]), other, "bytes", ErrNotHeld},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := make(memState, len(state))
			p := x.placer(t, got, true)
			u := NewUnpacker(p, c.held)
			m := good
			c.change(&m)
			fresh, err := u.Place(&m)
			e, ok := errors.AsType[*ChunkError](err)
			if fresh || !ok || e.Field != c.field || !errors.Is(err, c.err) || e.Index != m.ChunkIndex || e.Origin != m.DaemonOrigin {
				t.Errorf("%v, %v", fresh, err)
			}
			if p.ChunksPlaced() != 0 || !allZeros(got) {
				t.Error("a refused chunk left something")
			}
			// What failed spoils nothing for what comes next.
			if fresh, err := u.Place(&good); !fresh || err != nil || !bytes.Equal(got[chunkBytes-h:2*chunkBytes-h], raw) {
				t.Errorf("and then the right one: %v, %v", fresh, err)
			}
		})
	}
}

// TestUnpackTakesEveryEncoder: any level, with or without a checksum, in one block or several.
func TestUnpackTakesEveryEncoder(t *testing.T) {
	const chunkBytes = 300 << 10
	state := text(rand.New(rand.NewPCG(6, 6)), 2*chunkBytes)
	x := newPacking(t, Version2, state, chunkBytes, nil)
	raw := state[chunkBytes-headerBytes2 : 2*chunkBytes-headerBytes2]
	m := proto0500.Chunk{DaemonOrigin: x.cfg.Origin, SeqThrough: x.cfg.SeqThrough, ChunkIndex: 1, TotalChunks: x.chunker.Total(), RawLen: chunkBytes}
	try := func(e proto0500.Encoding, b []byte) {
		t.Helper()
		got := make(memState, len(state))
		m.Encoding, m.Bytes = e, b
		if fresh, err := NewUnpacker(x.placer(t, got, true), nil).Place(&m); !fresh || err != nil {
			t.Errorf("%v of %d bytes: %v, %v", e, len(b), fresh, err)
		}
		if !bytes.Equal(got[chunkBytes-headerBytes2:2*chunkBytes-headerBytes2], raw) {
			t.Errorf("%v: wrong bytes", e)
		}
	}
	try(proto0500.EncodingS2, s2.Encode(nil, raw))
	try(proto0500.EncodingS2, s2.EncodeBest(nil, raw))
	try(proto0500.EncodingS2, s2.EncodeSnappy(nil, raw))
	for _, level := range []zstd.EncoderLevel{zstd.SpeedFastest, zstd.SpeedDefault, zstd.SpeedBetterCompression, zstd.SpeedBestCompression} {
		for _, crc := range []bool{false, true} {
			try(proto0500.EncodingZstd, zstdOf(t, raw, zstd.WithEncoderLevel(level), zstd.WithEncoderCRC(crc)))
		}
		try(proto0500.EncodingZstd, zstdOf(t, raw, zstd.WithEncoderLevel(level), zstd.WithWindowSize(8<<20)))
		try(proto0500.EncodingZstd, zstdOf(t, raw, zstd.WithEncoderLevel(level), zstd.WithWindowSize(1<<10)))
	}
}

// TestBombsAllocateNothing: what a peer says of lengths decides on no memory.
func TestBombsAllocateNothing(t *testing.T) {
	const chunkBytes = 64 << 10
	x := newPacking(t, Version2, text(rand.New(rand.NewPCG(6, 6)), 4*chunkBytes), chunkBytes, nil)
	u := NewUnpacker(x.placer(t, sink{}, true), nil)
	m := proto0500.Chunk{DaemonOrigin: x.cfg.Origin, SeqThrough: x.cfg.SeqThrough, ChunkIndex: 1, TotalChunks: x.chunker.Total(), RawLen: chunkBytes}
	bombs := []struct {
		e proto0500.Encoding
		b []byte
	}{
		{proto0500.EncodingS2, s2.Encode(nil, make([]byte, 64<<20))},
		{proto0500.EncodingZstd, zstdBomb(1<<40, 1000)},
		{proto0500.EncodingZstd, zstdBomb(chunkBytes, 1000)},
		{proto0500.EncodingZstd, zstdBomb(chunkBytes-1, 1000)},
		{proto0500.EncodingZstd, zstdOf(t, make([]byte, 64<<20))},
	}
	all := func() {
		for _, bomb := range bombs {
			m.Encoding, m.Bytes = bomb.e, bomb.b
			if _, err := u.Place(&m); !errors.Is(err, frame.ErrValue) {
				t.Errorf("%v of %d bytes: %v", bomb.e, len(bomb.b), err)
			}
		}
	}
	all() // its buffer and decoder are made
	const rounds = 10
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range rounds {
		all()
	}
	runtime.ReadMemStats(&after)
	// A block that oversteps the room for a chunk moves the output once before it is seen.
	if n := (after.TotalAlloc - before.TotalAlloc) / rounds; n > 4*(chunkBytes+128<<10) {
		t.Errorf("%d bytes allocated for %d bombs", n, len(bombs))
	}
}

// tearing fails its first write half way.
type tearing struct {
	memState
	torn bool
}

func (s *tearing) WriteAt(p []byte, off int64) (int, error) {
	if !s.torn {
		s.torn = true
		n, _ := s.memState.WriteAt(p[:len(p)/2], off)
		return n, io.ErrShortWrite
	}
	return s.memState.WriteAt(p, off)
}

// TestZerosAfterATornWrite: where a write left half a chunk, zeros are written.
func TestZerosAfterATornWrite(t *testing.T) {
	const chunkBytes = 1000
	x := newPacking(t, Version2, make([]byte, 5*chunkBytes), chunkBytes, nil)
	state := &tearing{memState: make(memState, 5*chunkBytes)}
	p := x.placer(t, state, true)
	m := proto0500.SnapshotReady{DaemonOrigin: x.cfg.Origin, SeqThrough: x.cfg.SeqThrough, ChunkIndex: 2, TotalChunks: p.Total(),
		SnapshotBytes: bytes.Repeat([]byte{7}, chunkBytes)}
	if fresh, err := p.Place(&m); fresh || !errors.Is(err, io.ErrShortWrite) {
		t.Fatal(fresh, err)
	}
	if allZeros(state.memState) {
		t.Fatal("the write was not torn")
	}
	if fresh, err := p.PlaceZeros(2); !fresh || err != nil {
		t.Fatal(fresh, err)
	}
	if !allZeros(state.memState) {
		t.Error("half a chunk is still there")
	}
	if fresh, err := p.Place(&m); fresh || !errors.Is(err, ErrConflict) {
		t.Errorf("another chunk after zeros: %v, %v", fresh, err)
	}
	if fresh, err := p.PlaceZeros(2); fresh || err != nil {
		t.Errorf("zeros again: %v, %v", fresh, err)
	}
	if _, err := p.PlaceZeros(p.Total()); !errors.Is(err, ErrMismatch) {
		t.Errorf("zeros behind the last chunk: %v", err)
	}
}

func TestAllZeros(t *testing.T) {
	b := make([]byte, 3*comparePage+5)
	for _, n := range []int{0, 1, comparePage, comparePage + 1, len(b)} {
		if !allZeros(b[:n]) {
			t.Errorf("%d zeros are none", n)
		}
		for _, i := range []int{0, 1, n / 2, n - 2, n - 1} {
			if i < 0 || i >= n {
				continue
			}
			b[i] = 1
			if allZeros(b[:n]) {
				t.Errorf("%d zeros with a 1 at %d", n, i)
			}
			b[i] = 0
		}
	}
	for _, n := range []int{0, 1, 7000, 64 << 10, 64<<10 + 1, 1 << 20} {
		if digestOfZeros(n) != DigestOf(make([]byte, n)) {
			t.Errorf("digest of %d zeros", n)
		}
	}
}

func TestHaveSet(t *testing.T) {
	var none *HaveSet
	if none.Has(Digest{}) || none.Len() != 0 {
		t.Error("a nil set has something")
	}
	h := NewHaveSet(3)
	m := proto0500.Have{Digests: proto0500.ChunkDigestsOf([16]byte{1}, [16]byte{2}, [16]byte{2})}
	h.Add(&m)
	m.Digests = proto0500.ChunkDigestsOf([16]byte{3}, [16]byte{4})
	h.Add(&m)
	if h.Len() != 3 || !h.Has(Digest{1}) || !h.Has(Digest{2}) || !h.Has(Digest{3}) || h.Has(Digest{4}) || h.Has(Digest{}) {
		t.Errorf("%d digests", h.Len())
	}
}

// TestBase: chunks lie where the coming snapshot's do, whatever its header, and only whole ones count.
func TestBase(t *testing.T) {
	const chunkBytes = 1000
	state := noise(rand.New(rand.NewPCG(2, 2)), 5500)
	copy(state[1911:2911], state[911:1911]) // one chunk twice
	clear(state[2911:3911])                 // and one of zeros
	lim := frame.Default()
	cfg := BaseConfig{StateSize: int64(len(state)), ChunkBytes: chunkBytes, Version: Version2, Limits: lim}
	b, err := NewBase(t.Context(), bytes.NewReader(state), cfg)
	if err != nil {
		t.Fatal(err)
	}
	for off, want := range map[int]bool{911: true, 2911: false, 3911: true, 0: false, 907: false} {
		r, at, ok := b.Find(DigestOf(state[off : off+chunkBytes]))
		if ok != want || ok && (int(at) != off || r == nil) {
			t.Errorf("chunk at %d: %v, at %d", off, ok, at)
		}
	}
	if b.Len() != 2 { // 911 once, 3911; from 4911 on there is no whole one
		t.Errorf("%d chunks", b.Len())
	}
	cfg.Version = Version3
	if b, err = NewBase(t.Context(), bytes.NewReader(state), cfg); err != nil || b.Len() != 5-1 {
		t.Errorf("%d chunks, %v", b.Len(), err)
	}
	if _, _, ok := b.Find(DigestOf(state[907 : 907+chunkBytes])); !ok {
		t.Error("the first chunk of version 3 is not found")
	}
	cfg.DigestsMax = 2
	if b, err = NewBase(t.Context(), bytes.NewReader(state), cfg); err != nil || b.Len() != 2 {
		t.Errorf("%d chunks of at most 2, %v", b.Len(), err)
	}

	var none *Base
	if _, _, ok := none.Find(Digest{}); ok || none.Len() != 0 {
		t.Error("a nil base has something")
	}
	for range none.Haves(1, 2) {
		t.Error("a nil base has a message")
	}

	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("why")
	cancel(why)
	if _, err := NewBase(ctx, bytes.NewReader(state), cfg); !errors.Is(err, why) {
		t.Errorf("canceled: %v", err)
	}
	cfg.StateSize = 1 << 20
	if _, err := NewBase(t.Context(), &memFile{b: state[:1500]}, cfg); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a base that is short: %v", err)
	}
	cfg.StateSize, cfg.Version = 0, Version2
	if b, err := NewBase(t.Context(), nil, cfg); err != nil || b.Len() != 0 {
		t.Errorf("an empty base: %v", err)
	}
	cfg.Version = 9
	if _, err := NewBase(t.Context(), nil, cfg); !errors.Is(err, frame.ErrVersion) {
		t.Errorf("version 9: %v", err)
	}
	cfg.Version, cfg.ChunkBytes = Version2, 0
	if _, err := NewBase(t.Context(), nil, cfg); !errors.Is(err, frame.ErrLimit) {
		t.Errorf("chunks of nothing: %v", err)
	}
}

// TestHavesMessages: as many as are needed, and every digest once.
func TestHavesMessages(t *testing.T) {
	const chunks = proto0500.HaveDigestsMax + 10
	state := noise(rand.New(rand.NewPCG(2, 2)), 100*chunks)
	x := newPacking(t, Version2, state, 100, nil)
	b := x.base(t, bytes.NewReader(state), len(state))
	n := 0
	for m := range b.Haves(1, 2) {
		n++
		if m.DaemonOrigin != 1 || m.SeqThrough != 2 || m.Digests.Len() == 0 || m.Digests.Len() > proto0500.HaveDigestsMax {
			t.Errorf("%d digests", m.Digests.Len())
		}
	}
	if have := x.haves(t, b); n != 2 || have.Len() != b.Len() || b.Len() < chunks-3 {
		t.Errorf("%d messages, %d of %d digests", n, have.Len(), b.Len())
	}
	for range b.Haves(1, 2) {
		break
	}
	for range b.Digests() {
		break
	}
}

// TestPackerPassesErrorsOn: of the source, and of limits.
func TestPackerPassesErrorsOn(t *testing.T) {
	x := newPacking(t, Version2, make([]byte, 5000), 1000, nil)
	gone := errors.New("gone")
	x.chunker.src = &memFile{readErr: gone}
	p := NewPacker(x.chunker, PackerConfig{})
	if _, err := p.Frame(3, 1); !errors.Is(err, gone) {
		t.Error(err)
	}
	if _, err := p.Digest(1); !errors.Is(err, gone) {
		t.Error(err)
	}
	x = newPacking(t, Version2, make([]byte, 5000), 1000, nil)
	x.chunker.lim.MessageBytesMax = 20
	if _, err := NewPacker(x.chunker, PackerConfig{}).Frame(3, 1); !errors.Is(err, frame.ErrLimit) {
		t.Errorf("zeros: %v", err)
	}
	if _, err := NewPacker(x.chunker, PackerConfig{Plain: true}).Frame(3, 1); !errors.Is(err, frame.ErrLimit) {
		t.Errorf("as it is: %v", err)
	}
}
