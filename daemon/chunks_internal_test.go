package daemon

import "testing"

// TestChunkBytes: small chunks, until there would be too many.
func TestChunkBytes(t *testing.T) {
	for size, want := range map[int64]uint32{0: 128 << 10, 16 << 30: 128 << 10, 16<<30 + 1: 256 << 10, 64 << 30: 512 << 10, 1 << 40: 1 << 20} {
		if got := new(Config).chunkBytes(size); got != want {
			t.Errorf("%d bytes: chunks of %d, not %d", size, got, want)
		}
	}
	if got := (&Config{ChunkBytes: 7000}).chunkBytes(1 << 30); got != 7000 {
		t.Errorf("asked for 7000, got %d", got)
	}
}

// TestLanesEach: together the moves have no more lanes than one has, or one each.
func TestLanesEach(t *testing.T) {
	for moves, want := range map[int32]int{0: 32, 1: 32, 2: 4, 3: 2, 8: 1, 100: 1} {
		if got := lanesEach(moves); got != want {
			t.Errorf("%d moves: %d lanes each, not %d", moves, got, want)
		}
	}
}
