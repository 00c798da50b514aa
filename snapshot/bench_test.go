package snapshot

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"ferry/frame"
	"ferry/proto0500"
)

// chunkSizes are net-mesh's, ours where memory is short, and ours.
var chunkSizes = []int{7000, 256 << 10, 1 << 20}

const benchBytes = 16 << 20

// memState is a state in memory, of a fixed size and without a lock: lanes write apart from each other.
type memState []byte

func (s memState) WriteAt(p []byte, off int64) (int, error) { return copy(s[off:], p), nil }

// BenchmarkChunker reads from memory, digests the payload, and sums the frame.
func BenchmarkChunker(b *testing.B) {
	for _, n := range chunkSizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			c, err := NewChunker(1, 1, bytes.NewReader(make([]byte, benchBytes)), benchBytes, uint32(n), frame.Default())
			if err != nil {
				b.Fatal(err)
			}
			buf := make([]byte, 0, c.FrameBytesMax())
			b.SetBytes(int64(n))
			b.ReportAllocs()
			index := uint32(0)
			for b.Loop() {
				if _, _, err := c.AppendFrame(buf, 1, index); err != nil {
					b.Fatal(err)
				}
				if index++; index >= c.Total()-1 { // the last one may be shorter
					index = 0
				}
			}
		})
	}
}

// BenchmarkPlacer digests the payload and writes it to memory.
func BenchmarkPlacer(b *testing.B) {
	for _, n := range chunkSizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			x := newTransfer(b, Version2, benchBytes, uint32(n), nil, nil)
			state := make(memState, benchBytes)
			p := x.placer(b, state)
			m := proto0500.SnapshotReady{DaemonOrigin: x.cfg.Origin, SeqThrough: x.cfg.SeqThrough, TotalChunks: p.Total(), SnapshotBytes: make([]byte, n)}
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				if fresh, err := p.Place(&m); !fresh || err != nil {
					b.Fatal(fresh, err)
				}
				if m.ChunkIndex++; m.ChunkIndex == p.Total()-1 {
					b.StopTimer()
					m.ChunkIndex, p = 0, x.placer(b, state)
					b.StartTimer()
				}
			}
		})
	}
}

// BenchmarkReassembler writes to a real file, which is most of what it costs.
func BenchmarkReassembler(b *testing.B) {
	for _, n := range chunkSizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			file, err := os.Create(filepath.Join(b.TempDir(), "gathering"))
			if err != nil {
				b.Fatal(err)
			}
			defer file.Close()
			lim := frame.NetMesh()
			lim.ChunkBytesMax = uint32(n)
			r := testReassembler(b, ReassemblerConfig{Origin: 1, Limits: lim, SnapshotBytesMax: 2 * benchBytes,
				Create: func(proto0500.Seq) (File, error) { return file, nil }})
			m := proto0500.SnapshotReady{DaemonOrigin: 1, SeqThrough: 1, TotalChunks: uint32(benchBytes / n), SnapshotBytes: make([]byte, n)}
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := r.Add(&m, time.Time{}); err != nil {
					b.Fatal(err)
				}
				m.ChunkIndex = (m.ChunkIndex + 1) % m.TotalChunks
			}
		})
	}
}

// BenchmarkDigest is of one chunk's payload.
func BenchmarkDigest(b *testing.B) {
	for _, n := range chunkSizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			payload := bytes.Repeat([]byte{1}, n)
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				if DigestOf(payload) == (Digest{}) {
					b.Fatal("no digest")
				}
			}
		})
	}
}

// BenchmarkDigests records a chunk's digest, as each lane does for each chunk.
func BenchmarkDigests(b *testing.B) {
	const total = 1 << 12
	d, sum := NewDigests(total), DigestOf([]byte("chunk"))
	b.ReportAllocs()
	for i := uint32(0); b.Loop(); i++ {
		d.Set(i%total, sum)
	}
}

// BenchmarkTransfer takes 16 MiB from memory to memory, on one goroutine and without a network: cut, framed, parsed,
// decoded, placed, verified.
func BenchmarkTransfer(b *testing.B) {
	for _, n := range chunkSizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			h := testHeader(7, Version2, benchBytes)
			src, err := NewSource(h, bytes.NewReader((&splitMix{state: 1}).bytes(benchBytes)), nil, nil)
			if err != nil {
				b.Fatal(err)
			}
			lim := frame.Default()
			c, err := NewChunker(h.ChainLink.OriginHash, 7, src, src.Size(), uint32(n), lim)
			if err != nil {
				b.Fatal(err)
			}
			cfg := PlacerConfig{Origin: h.ChainLink.OriginHash, SeqThrough: 7, Version: Version2, Size: src.Size(), StateSize: benchBytes,
				ChunkBytes: uint32(n), Limits: lim, State: make(memState, benchBytes)}
			buf := make([]byte, 0, c.FrameBytesMax())
			b.SetBytes(benchBytes)
			b.ReportAllocs()
			for b.Loop() {
				p, err := NewPlacer(cfg)
				if err != nil {
					b.Fatal(err)
				}
				digests := NewDigests(c.Total())
				for i := range c.Total() {
					out, sum, err := c.AppendFrame(buf, 1, i)
					if err != nil {
						b.Fatal(err)
					}
					digests.Set(i, sum)
					f, _, err := frame.Parse(out, &lim)
					if err != nil {
						b.Fatal(err)
					}
					var m proto0500.SnapshotReady
					if err := m.Decode(f.Message(), &lim); err != nil {
						b.Fatal(err)
					}
					if _, err := p.Place(&m); err != nil {
						b.Fatal(err)
					}
				}
				if _, err := p.Finish(digests.Sum()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
