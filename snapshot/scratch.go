package snapshot

import (
	"fmt"
	"runtime"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// What compression needs beside the chunks themselves belongs to the process, not to a lane: however many moves there
// are, no more chunks are packed or unpacked at a time than there are processors.

// scratchKept is how many buffers are kept for the next chunk; what is beyond it is the garbage collector's.
const scratchKept = 4

// scratchPool keeps buffers. A sync.Pool would lose them at every collection, of which a long transfer sees many.
type scratchPool struct {
	mu   sync.Mutex
	free [][]byte
}

var scratch scratchPool

// take gives a buffer of n bytes, with the bytes of whoever had it.
func (s *scratchPool) take(n int) []byte {
	s.mu.Lock()
	for len(s.free) > 0 {
		last := len(s.free) - 1
		b := s.free[last]
		s.free[last] = nil
		s.free = s.free[:last]
		if cap(b) >= n {
			s.mu.Unlock()
			return b[:n]
		}
		// It is of a transfer with smaller chunks.
	}
	s.mu.Unlock()
	return make([]byte, n)
}

// give takes a buffer back; nil is none.
func (s *scratchPool) give(b []byte) {
	if b == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.free) < scratchKept {
		s.free = append(s.free, b)
	}
}

// zstdAtOnce is how many chunks are in zstd's hands at a time; each takes some 600 KiB to pack, and 200 KiB to unpack.
func zstdAtOnce() int { return min(runtime.GOMAXPROCS(0), scratchKept) }

// zstdEncoder and zstdDecoder are made when they are first needed. EncodeAll and DecodeAll have no goroutine, and wait for
// their turn.
var (
	zstdEncoder = sync.OnceValue(newZstdEncoder)
	zstdDecoder = sync.OnceValue(newZstdDecoder)
)

func newZstdEncoder() *zstd.Encoder {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(zstdAtOnce()),
		zstd.WithLowerEncoderMem(true), zstd.WithWindowSize(zstdWindow),
		zstd.WithEncoderCRC(false)) // the frame has a checksum, and the chunk a digest
	if err != nil {
		panic(fmt.Sprintf("snapshot: zstd: %v", err))
	}
	return enc
}

func newZstdDecoder() *zstd.Decoder {
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(zstdAtOnce()), zstd.WithDecoderLowmem(true),
		zstd.WithDecodeAllCapLimit(true), zstd.WithDecoderMaxMemory(zstdWindowMost), zstd.WithDecoderMaxWindow(zstdWindowMost))
	if err != nil {
		panic(fmt.Sprintf("snapshot: zstd: %v", err))
	}
	return dec
}
