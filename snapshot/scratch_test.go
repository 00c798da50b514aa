package snapshot

import "testing"

// TestScratch: what is given back is given out again, if it is long enough, and no more is kept than is said.
func TestScratch(t *testing.T) {
	var s scratchPool
	s.give(nil)
	a := s.take(100)
	s.give(a)
	if b := s.take(50); len(b) != 50 || &b[0] != &a[0] {
		t.Errorf("another buffer, of %d bytes", len(b))
	}
	s.give(a)
	if b := s.take(101); len(b) != 101 || &b[0] == &a[0] || len(s.free) != 0 {
		t.Errorf("%d bytes, %d kept", len(b), len(s.free))
	}
	for range 2 * scratchKept {
		s.give(make([]byte, 1))
	}
	if len(s.free) != scratchKept {
		t.Errorf("%d buffers kept", len(s.free))
	}
}
