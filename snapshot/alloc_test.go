package snapshot

import "testing"

// sink is a state that is nowhere.
type sink struct{}

func (sink) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }

func TestAllocs(t *testing.T) {
	const chunkBytes = 4096
	x := newTransfer(t, Version3, 600*chunkBytes, chunkBytes, nil, nil)
	buf := make([]byte, 0, x.chunker.FrameBytesMax())
	index := uint32(0)
	if n := testing.AllocsPerRun(500, func() {
		out, sum, err := x.chunker.AppendFrame(buf, 1, index%x.chunker.Total())
		if err != nil || len(out) == 0 || sum == (Digest{}) {
			t.Error(err)
		}
		index++
	}); n != 0 {
		t.Errorf("AppendFrame allocates %v times", n)
	}

	p := x.placer(t, sink{})
	m, _ := x.chunk(t, nil, 1)
	m.ChunkIndex = 0 // 500 fresh chunks that are not the last
	if n := testing.AllocsPerRun(500, func() {
		m.ChunkIndex++
		if fresh, err := p.Place(&m); !fresh || err != nil {
			t.Error(fresh, err)
		}
	}); n != 0 {
		t.Errorf("Place allocates %v times", n)
	}
	if n := testing.AllocsPerRun(500, func() {
		if fresh, err := p.Place(&m); fresh || err != nil {
			t.Error(fresh, err)
		}
	}); n != 0 {
		t.Errorf("Place of a doubled chunk allocates %v times", n)
	}
}
