package fuzz

import (
	"bytes"
	"encoding/binary"
	"io"
	"testing"

	"github.com/cespare/xxhash/v2"

	"ferry/frame"
)

// frameSeeds are frames of messages from the vectors, and the frame that was laid out by hand.
func frameSeeds(f testing.TB, add func(b []byte)) {
	annotated(f, "frame/testdata/frame.txt", add)
	lim := frame.NetMesh()
	epoch := frame.Epoch(0)
	vectors(f, "proto0500/testdata/messages.jsonl", "hex", func(b []byte) {
		framed, err := frame.Append(nil, epoch, b, &lim)
		if err != nil {
			f.Fatal(err)
		}
		add(framed)
		epoch++
	})
}

// FuzzFrame: what parses is within the limits, is written again as it was, and leaves its input alone.
func FuzzFrame(f *testing.F) {
	frameSeeds(f, func(b []byte) {
		f.Add(b, false)
		f.Add(append(b[:len(b):len(b)], b...), true)
	})
	f.Fuzz(func(t *testing.T, b []byte, ours bool) {
		lim := limitsOf(ours)
		before := bytes.Clone(b)
		parsed, rest, err := frame.Parse(b, &lim)
		if !bytes.Equal(b, before) {
			t.Fatal("the input was written to")
		}
		if err != nil {
			typed(t, err, len(b))
			if len(rest) != len(b) {
				t.Fatalf("%d of %d bytes were taken with %v", len(b)-len(rest), len(b), err)
			}
			return
		}
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

// FuzzFrameStream: a reader finds in a stream, however it comes in pieces, the frames that Parse finds in the whole,
// reads no byte beyond each, and ends with the same verdict.
func FuzzFrameStream(f *testing.F) {
	var stream []byte
	frameSeeds(f, func(b []byte) {
		if stream = append(stream, b...); len(stream) > seedBytesMax {
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
		for len(rest) > 0 {
			want, after, wantErr := frame.Parse(rest, &lim)
			got, err := r.Next()
			if wantErr != nil {
				a, b := typed(t, err, len(rest)), typed(t, wantErr, len(rest))
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
