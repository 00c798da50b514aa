package fuzz

import (
	"runtime/metrics"
	"testing"
)

// What a decoder may allocate for n bytes: allocPerByte for each, and allocSlack. The slack is what the runtime counts at
// a time, and an error with its text.
const (
	allocPerByte = 4
	allocSlack   = 64 << 10
)

// bounded runs decode, which has n bytes to look at, and holds it to what may be allocated for them: never on the word
// of a length or a count in them. Others allocate meanwhile, so only what it does every time counts.
func bounded(t *testing.T, n int, decode func()) {
	t.Helper()
	most := uint64(allocSlack + allocPerByte*n)
	var bytes uint64
	for range 5 {
		before := allocated()
		decode()
		if bytes = allocated() - before; bytes <= most {
			return
		}
	}
	t.Fatalf("%d bytes are allocated for %d that arrived", bytes, n)
}

func allocated() uint64 {
	sample := [1]metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample[:])
	return sample[0].Value.Uint64()
}

// TestBoundedCanFail: an allocation on a peer's word is seen.
func TestBoundedCanFail(t *testing.T) {
	before := allocated()
	grown := make([]byte, 2*allocSlack)
	if got := allocated() - before; got < uint64(len(grown)) {
		t.Fatalf("%d bytes allocated, %d seen", len(grown), got)
	}
}
