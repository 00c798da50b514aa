package harness

import "testing"

// TestBoundedCanFail: an allocation on a peer's word is seen.
func TestBoundedCanFail(t *testing.T) {
	before := allocated()
	grown := make([]byte, 2*allocSlack)
	if got := allocated() - before; got < uint64(len(grown)) {
		t.Fatalf("%d bytes allocated, %d seen", len(grown), got)
	}
}
