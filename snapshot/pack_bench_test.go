package snapshot

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

const (
	packBenchChunk  = 256 << 10
	packBenchChunks = 65 // of which the first and the last are left out
)

// packCase is a state whose chunks all take one form.
type packCase struct {
	name  string
	state func(*rand.Rand, int) []byte
	cfg   func(*packing, testing.TB) PackerConfig
}

func packCases() []packCase {
	tuned := func(t *Tuner) func(*packing, testing.TB) PackerConfig {
		return func(*packing, testing.TB) PackerConfig { return PackerConfig{Tuner: t} }
	}
	zeros := func(_ *rand.Rand, n int) []byte { return make([]byte, n) }
	return []packCase{
		{"plain", noise, func(*packing, testing.TB) PackerConfig { return PackerConfig{Plain: true} }},
		{"raw", noise, tuned(fastPath())}, // with every chunk tried that the tuner lets
		{"zeros", zeros, tuned(fastPath())},
		{"held", noise, func(x *packing, tb testing.TB) PackerConfig {
			return PackerConfig{Have: x.haves(tb, x.base(tb, bytes.NewReader(x.state), len(x.state)))}
		}},
		{"s2", text, tuned(fastPath())},
		{"zstd", text, tuned(slowPath())},
	}
}

func (c packCase) begin(b *testing.B) (*packing, *Packer) {
	x := newPacking(b, Version2, c.state(rand.New(rand.NewPCG(1, 9)), packBenchChunk*packBenchChunks), packBenchChunk, nil)
	return x, NewPacker(x.chunker, c.cfg(x, b))
}

// BenchmarkPack: a chunk from memory to its frame, checksum and digest included; MB/s of what it stands for.
func BenchmarkPack(b *testing.B) {
	for _, c := range packCases() {
		b.Run(c.name, func(b *testing.B) {
			_, p := c.begin(b)
			b.SetBytes(packBenchChunk)
			b.ReportAllocs()
			wire, n := 0, 0
			for i := uint32(1); b.Loop(); {
				f, err := p.Frame(1, i)
				if err != nil {
					b.Fatal(err)
				}
				wire += len(f.Frame)
				n++
				if i++; i == packBenchChunks-1 {
					i = 1
				}
			}
			b.ReportMetric(float64(wire)/float64(n*packBenchChunk), "wire/raw")
		})
	}
}

// BenchmarkUnpack: a chunk's message to its place in memory, its digest included; MB/s of what it stands for.
func BenchmarkUnpack(b *testing.B) {
	for _, c := range packCases() {
		b.Run(c.name, func(b *testing.B) {
			x, packer := c.begin(b)
			var frames []Packed
			for i := uint32(1); i < packBenchChunks-1; i++ {
				f, err := packer.Frame(3, i)
				if err != nil {
					b.Fatal(err)
				}
				f.Frame = bytes.Clone(f.Frame)
				frames = append(frames, f)
			}
			base := x.base(b, bytes.NewReader(x.state), len(x.state))
			state := make(memState, len(x.state))
			u := NewUnpacker(x.placer(b, state, true), base.Find)
			b.SetBytes(packBenchChunk)
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if fresh, err := x.place(u, frames[i]); !fresh || err != nil {
					b.Fatal(fresh, err)
				}
				if i++; i == len(frames) {
					b.StopTimer()
					i, u.p = 0, x.placer(b, state, true)
					b.StartTimer()
				}
			}
		})
	}
}

// BenchmarkBase reads a state of before.
func BenchmarkBase(b *testing.B) {
	x := newPacking(b, Version2, noise(rand.New(rand.NewPCG(1, 9)), benchBytes), packBenchChunk, nil)
	b.SetBytes(benchBytes)
	b.ReportAllocs()
	for b.Loop() {
		x.base(b, bytes.NewReader(x.state), len(x.state))
	}
}
