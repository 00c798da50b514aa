package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/zeebo/xxh3"

	"ferry/identity"
)

// writeBytes is how much is written, and read, at a time: what ferry has in a chunk.
const writeBytes = 256 << 10

// send brings a pattern of n bytes over one stream, and waits for the receiver's digest of what came:
//
//	off size field
//	  0    8  n, little endian
//	  8    n  the bytes
//
// and back, 8 bytes of XXH3-64.
func send(rw io.ReadWriter, n int64) (s Sample, err error) {
	began := time.Now()
	var head [8]byte
	binary.LittleEndian.PutUint64(head[:], uint64(n))
	if _, err := rw.Write(head[:]); err != nil {
		return s, err
	}
	var h xxh3.Hasher
	state, buf := pattern(n), make([]byte, writeBytes)
	for off := int64(0); off < n; {
		got, err := state.ReadAt(buf, off)
		if err != nil && err != io.EOF {
			return s, err
		}
		h.Write(buf[:got])
		if _, err := rw.Write(buf[:got]); err != nil {
			return s, err
		}
		off += int64(got)
	}
	if _, err := io.ReadFull(rw, head[:]); err != nil {
		return s, err
	}
	if sum := binary.LittleEndian.Uint64(head[:]); sum != h.Sum64() {
		return s, fmt.Errorf("the receiver has %016x, not %016x", sum, h.Sum64())
	}
	return Sample{Bytes: n, Seconds: time.Since(began).Seconds()}, nil
}

// receive answers sends until the stream ends.
func receive(rw io.ReadWriter) error {
	buf := make([]byte, writeBytes)
	for {
		var head [8]byte
		if _, err := io.ReadFull(rw, head[:]); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		var h xxh3.Hasher
		in := io.LimitReader(rw, int64(binary.LittleEndian.Uint64(head[:])))
		if _, err := io.CopyBuffer(struct{ io.Writer }{&h}, struct{ io.Reader }{in}, buf); err != nil {
			return err
		}
		binary.LittleEndian.PutUint64(head[:], h.Sum64())
		if _, err := rw.Write(head[:]); err != nil {
			return err
		}
	}
}

// keyOf is the key of a role. It keeps no secret: it is there so that every contender does the same TLS.
func keyOf(role string) *identity.Key {
	var seed [32]byte
	copy(seed[:], role)
	return identity.KeyFromSeed(seed)
}

var errNoOrder = errors.New("no such order for this part")
