package fuzz

import (
	"bytes"
	"encoding/binary"
	"io"
	"testing"

	"github.com/cespare/xxhash/v2"

	"ferry/frame"
	"ferry/fuzz/internal/harness"
)

// FuzzFrame: what parses is within the limits, is written again as it was, and leaves its input alone. mend first gives
// the bytes the header that belongs to them.
func FuzzFrame(f *testing.F) { fuzzFrame(f) }

func fuzzFrame(f harness.F) {
	harness.FrameSeeds(f, func(b []byte) {
		f.Add(b, false, false)
		f.Add(append(b[:len(b):len(b)], b...), true, false)
		f.Add(b, true, true)
	})
	f.Fuzz(func(t *testing.T, b []byte, ours, mend bool) {
		lim := harness.LimitsOf(ours)
		if mend {
			b = mendedFrame(b)
		}
		before := bytes.Clone(b)
		var parsed frame.Frame
		var rest []byte
		var err error
		harness.Bounded(t, len(b), func() { parsed, rest, err = frame.Parse(b, &lim) })
		if harness.Canary() && err == nil && parsed.Epoch() == 5 {
			other := bytes.Clone(b[:len(b)-len(rest)])
			other[8] ^= 1 // of the epoch
			parsed, _, _ = frame.Parse(mendedFrame(other), &lim)
		}
		if !bytes.Equal(b, before) {
			t.Fatal("the input was written to")
		}
		if err != nil {
			harness.Typed(t, err, len(b))
			if len(rest) != len(b) {
				t.Fatalf("%d of %d bytes were taken with %v", len(b)-len(rest), len(b), err)
			}
			return
		}
		harness.Accept("frame")
		m := parsed.Message()
		if len(m) == 0 || uint64(len(m)) > uint64(lim.MessageBytesMax) || cap(m) != len(m) {
			t.Fatalf("message of %d bytes, capacity %d", len(m), cap(m))
		}
		sum := xxhash.Sum64(append(bytes.Clone(b[:16]), m...)) // protocol.md, section 3
		if got := binary.LittleEndian.Uint64(b[16:]); got != sum {
			t.Fatalf("checksum %016x passes, not %016x", got, sum)
		}
		again, err := frame.Append(nil, parsed.Epoch(), m, &lim)
		if err != nil || !bytes.Equal(again, b[:len(b)-len(rest)]) {
			t.Fatalf("written again as %x, %v", again, err)
		}
	})
}

// mendedFrame gives b the subprotocol, version, length and checksum of a frame that ends with it.
func mendedFrame(b []byte) []byte {
	if len(b) <= frame.HeaderBytes {
		return b
	}
	b = bytes.Clone(b)
	copy(b, []byte{0x00, 0x05, 1, 0})
	binary.LittleEndian.PutUint32(b[4:], uint32(len(b)-frame.HeaderBytes))
	sum := xxhash.New()
	sum.Write(b[:16])
	sum.Write(b[frame.HeaderBytes:])
	binary.LittleEndian.PutUint64(b[16:], sum.Sum64())
	return b
}

// FuzzFrameStream: a reader finds in a stream, however it comes in pieces, the frames that Parse finds in the whole,
// reads no byte beyond each, and ends with the same verdict.
func FuzzFrameStream(f *testing.F) { fuzzFrameStream(f) }

func fuzzFrameStream(f harness.F) {
	var stream []byte
	harness.FrameSeeds(f, func(b []byte) {
		if stream = append(stream, b...); len(stream) > harness.SeedBytesMax {
			f.Add(stream, []byte{1, 23, 24, 25, 7, 0})
			f.Add(stream[:len(stream)-1], []byte{255})
			stream = nil
		}
	})
	f.Fuzz(func(t *testing.T, stream []byte, cuts []byte) {
		lim := frame.Default()
		in := &pieces{rest: stream, cuts: cuts}
		r := frame.NewReader(in, lim)
		rest := stream
		for n := 0; len(rest) > 0; n++ {
			want, after, wantErr := frame.Parse(rest, &lim)
			if harness.Canary() && n > 2 {
				in.rest = in.rest[min(1, len(in.rest)):] // a byte is lost between two frames
			}
			var got frame.Frame
			var err error
			read := false // a second measurement reads nothing
			harness.Bounded(t, len(stream), func() {
				if !read {
					got, err = r.Next()
					read = true
				}
			})
			if wantErr != nil {
				a, b := harness.Typed(t, err, len(rest)), harness.Typed(t, wantErr, len(rest))
				if frame.ErrorKind(err) != frame.ErrorKind(wantErr) || a.Field != b.Field {
					t.Fatalf("reader: %v; Parse: %v", err, wantErr)
				}
				return
			}
			if err != nil || got.Header() != want.Header() || !bytes.Equal(got.Message(), want.Message()) {
				t.Fatalf("reader: %+v, %v; Parse: %+v", got.Header(), err, want.Header())
			}
			if len(in.rest) != len(after) {
				t.Fatalf("%d bytes are left behind the frame, not %d", len(in.rest), len(after))
			}
			harness.Accept("frame")
			rest = after
		}
		if _, err := r.Next(); err != io.EOF {
			t.Fatalf("at the end: %v", err)
		}
	})
}

// pieces gives as many bytes at a time as cuts say, in turn; 0 is no byte, which a Reader may give. The last ones come
// with io.EOF.
type pieces struct {
	rest []byte
	cuts []byte
	at   int
}

func (p *pieces) Read(b []byte) (int, error) {
	n := len(b)
	if len(p.cuts) > 0 {
		n = int(p.cuts[p.at%len(p.cuts)])
		if p.at++; p.at >= len(p.cuts) {
			n = max(n, 1) // nothing for ever would be no stream
		}
	}
	n = copy(b[:min(n, len(b))], p.rest)
	p.rest = p.rest[n:]
	if len(p.rest) == 0 {
		return n, io.EOF
	}
	return n, nil
}
