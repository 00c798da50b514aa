package daemon

import "sync"

// writeback keeps what a state's file has not on disk yet below a bound. A
// gigabyte of dirty pages would stand before every sync of the authority's own
// on the same disk, for seconds. Who writes further waits for what was written
// long before, and with it, by flow control, the source.
type writeback struct {
	start func(off, n int64) // begins bringing a range to disk
	wait  func(off, n int64) // returns when it is there

	mu      sync.Mutex
	bytes   int64       // of ranges
	pending []fileRange // begun and not waited for, oldest first
}

type fileRange struct{ off, n int64 }

// dirtyBytesMax bounds what is written and not yet on disk, of one snapshot.
const dirtyBytesMax = 32 << 20

// wrote is called by whoever has written n bytes at off; many may at once.
func (w *writeback) wrote(off, n int64) {
	w.start(off, n)
	w.mu.Lock()
	w.pending = append(w.pending, fileRange{off, n})
	w.bytes += n
	var old []fileRange
	for w.bytes > dirtyBytesMax {
		old = append(old, w.pending[0])
		w.bytes -= w.pending[0].n
		w.pending = w.pending[1:]
	}
	w.mu.Unlock()
	for _, r := range old {
		w.wait(r.off, r.n)
	}
}
