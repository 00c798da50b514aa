package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/s2"
)

// TestStateIsOneState: whatever part is read, and from wherever, it is the same; and a file of it is.
func TestStateIsOneState(t *testing.T) {
	for name, s := range map[string]stateSpec{
		"random": {Bytes: 3*pageBytes + 17, Seed: 1}, "log": {Bytes: 3*pageBytes + 17, Seed: 1, Log: true},
	} {
		t.Run(name, func(t *testing.T) {
			whole, err := io.ReadAll(io.NewSectionReader(s, 0, s.Bytes+5))
			if err != nil || int64(len(whole)) != s.Bytes {
				t.Fatalf("%d bytes, %v", len(whole), err)
			}
			for off := range s.Bytes {
				part := make([]byte, 50)
				n, err := s.ReadAt(part, off)
				if (err == io.EOF) != (off+50 > s.Bytes) || !bytes.Equal(part[:n], whole[off:min(off+50, s.Bytes)]) {
					t.Fatalf("at %d: %d, %v", off, n, err)
				}
			}
			path := filepath.Join(t.TempDir(), stateName)
			if err := s.write(path); err != nil {
				t.Fatal(err)
			}
			if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, whole) {
				t.Errorf("the file: %d bytes, %v", len(got), err)
			}
		})
	}
}

// TestNoPageTwice: else a transfer could leave out what is "already there", and be fast for nothing.
func TestNoPageTwice(t *testing.T) {
	seen := make(map[[pageBytes]byte]stateSpec)
	for _, s := range []stateSpec{{Seed: 1}, {Seed: 2}, {Seed: 1, Log: true}, {Seed: 2, Log: true}} {
		s.Bytes = 1 << 40
		for _, off := range []int64{0, pageBytes, blockBytes, 2 * blockBytes, 1 << 33} {
			var page [pageBytes]byte
			if _, err := s.ReadAt(page[:], off); err != nil {
				t.Fatal(err)
			}
			if other, twice := seen[page]; twice {
				t.Errorf("%+v has at %d a page of %+v", s, off, other)
			}
			seen[page] = s
		}
	}
}

// TestCompressible: a state like a log shrinks as logs do, a random one does not.
func TestCompressible(t *testing.T) {
	const chunk = 256 << 10
	for _, c := range []struct {
		s        stateSpec
		from, to float64
	}{{stateSpec{Bytes: chunk, Seed: 1}, 0.99, 1.01}, {stateSpec{Bytes: chunk, Seed: 1, Log: true}, 0.1, 0.6}} {
		b, err := io.ReadAll(io.NewSectionReader(c.s, 0, chunk))
		if err != nil {
			t.Fatal(err)
		}
		if ratio := float64(len(s2.Encode(nil, b))) / chunk; ratio < c.from || ratio > c.to {
			t.Errorf("%+v: s2 makes it %.2f of its size", c.s, ratio)
		}
	}
}
