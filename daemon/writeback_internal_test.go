package daemon

import (
	"slices"
	"sync"
	"testing"
)

// TestWriteback: what is begun is waited for, oldest first, as soon as there is
// more than the bound, by whoever writes then.
func TestWriteback(t *testing.T) {
	var begun, waited []int64
	w := &writeback{
		start: func(off, n int64) { begun = append(begun, off/n) },
		wait:  func(off, n int64) { waited = append(waited, off/n) },
	}
	const n = dirtyBytesMax / 4
	for i := range int64(7) {
		w.wrote(i*n, n)
	}
	if !slices.Equal(begun, []int64{0, 1, 2, 3, 4, 5, 6}) || !slices.Equal(waited, []int64{0, 1, 2}) {
		t.Errorf("begun %v, waited for %v", begun, waited)
	}
	w.wrote(0, 2*dirtyBytesMax)
	if w.bytes != 0 || len(w.pending) != 0 {
		t.Errorf("%d bytes in %v are pending", w.bytes, w.pending)
	}
}

// TestWritebackFromMany: no more than the bound is ever pending, and nobody
// waits with the lock held.
func TestWritebackFromMany(t *testing.T) {
	var w *writeback
	nop := func(int64, int64) {}
	w = &writeback{start: nop, wait: func(int64, int64) {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.bytes > dirtyBytesMax {
			t.Errorf("%d bytes are pending", w.bytes)
		}
	}}
	var work sync.WaitGroup
	for lane := range int64(4) {
		work.Go(func() {
			for i := range int64(1000) {
				w.wrote((lane*1000+i)<<18, 1<<18)
			}
		})
	}
	work.Wait()
	if w.bytes != dirtyBytesMax {
		t.Errorf("%d bytes are pending at the end", w.bytes)
	}
}
