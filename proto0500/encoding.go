package proto0500

import "fmt"

// Encoding is the form in which a Chunk brings the bytes it stands for. A peer that offered FeatureChunk reads all of
// them; a new one needs a feature of its own.
type Encoding uint8

const (
	EncodingZeros Encoding = 1 // nothing: every byte is 0
	EncodingS2    Encoding = 2 // one block of s2
	EncodingZstd  Encoding = 3 // one frame of zstd
	EncodingHeld  Encoding = 4 // the digest of a chunk that the target said it has
)

func (e Encoding) known() bool { return e >= EncodingZeros && e <= EncodingHeld }

func (e Encoding) String() string {
	switch e {
	case EncodingZeros:
		return "zeros"
	case EncodingS2:
		return "s2"
	case EncodingZstd:
		return "zstd"
	case EncodingHeld:
		return "held"
	}
	return fmt.Sprintf("encoding(%d)", uint8(e))
}
