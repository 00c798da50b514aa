package main

import (
	"io"
	"math/rand/v2"
	"sync"
)

// patternBytes repeat in a pattern: more than caches hold, and more than a compressor looks back.
const patternBytes = 16 << 20

// block is the seeded, incompressible content of every pattern.
var block = sync.OnceValue(func() []byte {
	b := make([]byte, patternBytes)
	_, _ = rand.NewChaCha8([32]byte{'f', 'e', 'r', 'r', 'y'}).Read(b) // it never fails
	return b
})

// pattern is a state of so many bytes that takes no memory. It is a daemon.Snapshot.
type pattern int64

func (p pattern) Size() int64 { return int64(p) }

func (p pattern) Close() error { return nil }

func (p pattern) ReadAt(b []byte, off int64) (n int, err error) {
	for n < len(b) {
		at := off + int64(n)
		if at >= int64(p) {
			return n, io.EOF
		}
		part := b[n:min(int64(len(b)), int64(n)+int64(p)-at)]
		n += copy(part, block()[at%patternBytes:])
	}
	return n, nil
}
