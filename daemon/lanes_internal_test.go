package daemon

import "testing"

// TestLanesEach: together the moves have no more lanes than one has, or one each.
func TestLanesEach(t *testing.T) {
	for moves, want := range map[int32]int{0: 32, 1: 32, 2: 4, 3: 2, 8: 1, 100: 1} {
		if got := lanesEach(moves); got != want {
			t.Errorf("%d moves: %d lanes each, not %d", moves, got, want)
		}
	}
}
