package harness

import (
	"flag"
	"runtime/metrics"
	"sync"
	"testing"
)

// What a decoder may allocate for n bytes: allocPerByte for each, and allocSlack. The slack is what the runtime counts at
// a time, and an error with its text.
const (
	allocPerByte = 4
	allocSlack   = 64 << 10
)

// inWorker says whether this process is go's fuzzer at work. There only every eighth decode is measured, because a
// measurement takes longer than many a decode; an input found or committed is measured whenever it is run as a test.
var inWorker = sync.OnceValue(func() bool {
	f := flag.Lookup("test.fuzzworker")
	return f != nil && f.Value.String() == "true"
})

var decodes int // decodes in this worker in all, measured ones too

// Bounded runs decode, which has n bytes to look at, and holds it to what may be allocated for them: never on the word
// of a length or a count in them. decode may run more than once. Others allocate meanwhile, so only what it does every time counts.
func Bounded(t *testing.T, n int, decode func()) {
	if inWorker() {
		if decodes++; decodes%8 != 0 {
			decode()
			return
		}
	}
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
