package state

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"

	"ferry/frame"
	"ferry/fuzz/internal/harness"
	"ferry/identity"
	"ferry/proto0500"
	"ferry/snapshot"
)

// memory is a state in memory, of a fixed size.
type memory []byte

func (m memory) WriteAt(p []byte, off int64) (int, error) {
	if off < 0 || off+int64(len(p)) > int64(len(m)) {
		return 0, io.ErrShortWrite
	}
	return copy(m[off:], p), nil
}

// stateHeader is the header of a state of stateLen bytes, of the daemon whose key is all zeros.
func stateHeader(stateLen int) snapshot.Header {
	h := snapshot.Header{Version: snapshot.Version2, ThroughSeq: 7, StateLen: uint64(stateLen)}
	h.ChainLink = proto0500.Link{OriginHash: proto0500.Origin(identity.OriginOf(h.EntityID[:])), Sequence: h.ThroughSeq}
	return h
}

// FuzzPack: a state, packed in whatever way the path asks for and against whatever base, comes as it was.
func FuzzPack(f *testing.F) { fuzzPack(f) }

func fuzzPack(f harness.F) {
	text := bytes.Repeat([]byte(`{"account":17,"amount":4}`), 30)
	f.Add(text, text[:600], uint16(300), uint16(1)) // small ones: a large input that does something new is shrunk for a minute
	f.Add(make([]byte, 700), []byte{}, uint16(512), uint16(50))
	f.Add(append(make([]byte, 600), text...), text, uint16(260), uint16(5000))
	f.Fuzz(func(t *testing.T, state, old []byte, chunkBytes, nsPerByte uint16) {
		if chunkBytes == 0 {
			return
		}
		lim := frame.Default()
		h := stateHeader(len(state))
		src, err := snapshot.NewSource(h, bytes.NewReader(state), nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		chunker, err := snapshot.NewChunker(h.ChainLink.OriginHash, h.ThroughSeq, src, src.Size(), uint32(chunkBytes), lim)
		if err != nil {
			t.Fatal(err)
		}
		base, err := snapshot.NewBase(context.Background(), bytes.NewReader(old), snapshot.BaseConfig{
			StateSize: int64(len(old)), ChunkBytes: uint32(chunkBytes), Version: h.Version, Limits: lim})
		if err != nil {
			t.Fatal(err)
		}
		have := snapshot.NewHaveSet(0)
		for m := range base.Haves(h.ChainLink.OriginHash, h.ThroughSeq) {
			have.Add(&m)
		}
		got := make(memory, len(state))
		placer, err := snapshot.NewPlacer(snapshot.PlacerConfig{Origin: h.ChainLink.OriginHash, SeqThrough: h.ThroughSeq, Version: h.Version,
			Size: src.Size(), StateSize: int64(len(state)), ChunkBytes: uint32(chunkBytes), Limits: lim, State: got, StateZeroed: true})
		if err != nil {
			t.Fatal(err)
		}
		var now time.Time
		packer := snapshot.NewPacker(chunker, snapshot.PackerConfig{Have: have, Tuner: snapshot.NewTuner(func() time.Time {
			now = now.Add(time.Duration(nsPerByte) * time.Millisecond)
			return now
		})})
		unpacker := snapshot.NewUnpacker(placer, base.Find)
		digests := snapshot.NewDigests(chunker.Total())
		for i := range chunker.Total() {
			p, err := packer.Frame(1, i)
			if err != nil {
				t.Fatal(err)
			}
			digests.Set(i, p.Digest)
			parsed, _, err := frame.Parse(p.Frame, &lim)
			if err != nil {
				t.Fatal(err)
			}
			m, err := proto0500.Decode(parsed.Message(), &lim)
			if err != nil {
				t.Fatal(err)
			}
			fresh := false
			switch m := m.(type) {
			case proto0500.Chunk:
				fresh, err = unpacker.Place(&m)
			case proto0500.SnapshotReady:
				fresh, err = placer.Place(&m)
			}
			if !fresh || err != nil {
				t.Fatalf("chunk %d of %d: %v, %v", i, chunker.Total(), fresh, err)
			}
		}
		harness.Accept("state")
		if harness.Canary() && len(got) > 800 {
			got[len(got)-1] ^= 1
		}
		if _, err := placer.Finish(digests.Sum()); err != nil || !bytes.Equal(got, state) {
			t.Fatalf("another state came, %v", err)
		}
	})
}

// FuzzUnpack: whatever bytes a peer calls a chunk, they are placed as a chunk of the right length or refused by name, and
// what is refused leaves nothing behind.
func FuzzUnpack(f *testing.F) { fuzzUnpack(f) }

func fuzzUnpack(f harness.F) {
	const chunkBytes, chunks = 1000, 3
	raw := bytes.Repeat([]byte("0123456789"), chunkBytes/10)
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		f.Fatal(err)
	}
	sum := snapshot.DigestOf(raw)
	f.Add(uint8(proto0500.EncodingZeros), uint32(chunkBytes), []byte{})
	f.Add(uint8(proto0500.EncodingS2), uint32(chunkBytes), s2.Encode(nil, raw))
	f.Add(uint8(proto0500.EncodingZstd), uint32(chunkBytes), enc.EncodeAll(raw, nil))
	f.Add(uint8(proto0500.EncodingHeld), uint32(chunkBytes), sum[:])
	f.Add(uint8(proto0500.EncodingS2), uint32(chunkBytes), s2.Encode(nil, make([]byte, 1<<20)))
	f.Add(uint8(proto0500.EncodingZstd), uint32(chunkBytes), enc.EncodeAll(make([]byte, 1<<20), nil))
	held := func(d snapshot.Digest) (io.ReaderAt, int64, bool) {
		return bytes.NewReader(raw), 0, d == sum || d == snapshot.Digest{}
	}
	f.Fuzz(func(t *testing.T, encoding uint8, rawLen uint32, b []byte) {
		lim := frame.Default()
		h := stateHeader(chunks * chunkBytes)
		src, err := snapshot.NewSource(h, bytes.NewReader(nil), nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		state := bytes.Repeat([]byte{0xaa}, chunks*chunkBytes)
		placer, err := snapshot.NewPlacer(snapshot.PlacerConfig{Origin: h.ChainLink.OriginHash, SeqThrough: h.ThroughSeq, Version: h.Version,
			Size: src.Size(), StateSize: int64(len(state)), ChunkBytes: chunkBytes, Limits: lim, State: memory(state)})
		if err != nil {
			t.Fatal(err)
		}
		m := proto0500.Chunk{DaemonOrigin: h.ChainLink.OriginHash, SeqThrough: h.ThroughSeq, ChunkIndex: 1, TotalChunks: placer.Total(),
			Encoding: proto0500.Encoding(encoding), RawLen: rawLen, Bytes: b}
		before := bytes.Clone(b)
		fresh, err := snapshot.NewUnpacker(placer, held).Place(&m)
		if harness.Canary() && err != nil && m.Encoding == proto0500.EncodingS2 {
			state[5] = 0 // a part of what is refused is written
		}
		if !bytes.Equal(b, before) {
			t.Fatal("the input was written to")
		}
		if err == nil {
			harness.Accept("chunk")
			if !fresh || rawLen != chunkBytes || placer.BytesPlaced() != chunkBytes {
				t.Fatalf("placed %d bytes of %d, fresh %v", placer.BytesPlaced(), rawLen, fresh)
			}
			return
		}
		e, ok := errors.AsType[*snapshot.ChunkError](err)
		if !ok || e.Index != 1 || e.Field == "" || frame.ErrorKind(err) == "" && !errors.Is(err, snapshot.ErrNotHeld) {
			t.Fatalf("%T: %v", err, err)
		}
		if fresh || placer.ChunksPlaced() != 0 || bytes.Count(state, []byte{0xaa}) != len(state) {
			t.Fatalf("refused, but something was placed: %v", err)
		}
	})
}
