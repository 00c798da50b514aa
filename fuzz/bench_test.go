package fuzz

import (
	"bytes"
	"testing"

	"ferry/frame"
	"ferry/fuzz/internal/harness"
	"ferry/proto0500"
)

// BenchmarkReplay decodes everything that the targets start from: the vectors, good and bad, and what was found before.
// Each frame is there once more without its last byte.
// An operation is one decode; refusals are in it, and what they cost to explain.
func BenchmarkReplay(b *testing.B) {
	lim := frame.NetMesh()
	b.Run("frames", func(b *testing.B) {
		var inputs [][]byte
		add := func(in []byte) { inputs = append(inputs, bytes.Clone(in)) }
		harness.FrameSeeds(b, func(in []byte) { add(in); add(in[:len(in)-1]) })
		harness.Corpus(b, "FuzzFrame", add)
		replay(b, inputs, func(in []byte) bool { _, _, err := frame.Parse(in, &lim); return err == nil })
	})
	b.Run("messages", func(b *testing.B) {
		var inputs [][]byte
		add := func(in []byte) { inputs = append(inputs, bytes.Clone(in)) }
		harness.MessageSeeds(b, add)
		harness.Corpus(b, "FuzzMessage", add)
		harness.Corpus(b, "FuzzMessageRepaired", add)
		replay(b, inputs, func(in []byte) bool { _, err := proto0500.Decode(in, &lim); return err == nil })
	})
}

func replay(b *testing.B, inputs [][]byte, decode func(in []byte) (accepted bool)) {
	accepted := 0
	for _, in := range inputs {
		if decode(in) {
			accepted++
		}
	}
	if accepted == 0 {
		b.Fatalf("none of %d inputs is accepted", len(inputs))
	}
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		decode(inputs[n%len(inputs)])
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "decodes/s")
	b.ReportMetric(float64(len(inputs)), "inputs")
	b.ReportMetric(100*float64(accepted)/float64(len(inputs)), "%accepted")
}
