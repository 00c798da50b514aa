package snapshot

import (
	"testing"
	"time"

	"ferry/proto0500"
)

// course is a path and a state: what a byte of it costs.
type course struct {
	wire            float64 // ns a byte sent
	s2, s2Ratio     float64 // ns a byte packed, bytes left of one
	zstd, zstdRatio float64
	shrinks         func(chunk int) bool // nil: all do
	want            proto0500.Encoding   // mostly
}

func (c course) run(t *tuner, chunks int) map[proto0500.Encoding]int {
	const raw = 1 << 20
	used := make(map[proto0500.Encoding]int)
	for i := range chunks {
		e := t.pick()
		used[e]++
		spent, left := c.cost(e, i)
		if e != asItIs {
			t.packed(raw, int(left*raw), time.Duration(spent*raw))
		}
		t.sent(time.Duration(left * raw * c.wire))
	}
	return used
}

func (c course) cost(e proto0500.Encoding, chunk int) (spent, left float64) {
	switch e {
	case proto0500.EncodingS2:
		spent, left = c.s2, c.s2Ratio
	case proto0500.EncodingZstd:
		spent, left = c.zstd, c.zstdRatio
	default:
		return 0, 1
	}
	if c.shrinks != nil && !c.shrinks(chunk) {
		left = 1
	}
	return spent, left
}

var courses = map[string]course{
	"a slow path, text":         {wire: 50, s2: 1.5, s2Ratio: .3, zstd: 4, zstdRatio: .15, want: proto0500.EncodingZstd},
	"a lane on loopback, text":  {wire: 10, s2: 1.5, s2Ratio: .3, zstd: 4, zstdRatio: .2, want: proto0500.EncodingS2},
	"a path without limits":     {wire: .1, s2: 1.5, s2Ratio: .3, zstd: 4, zstdRatio: .15, want: proto0500.EncodingS2},
	"a path that takes no time": {wire: 0, s2: 1.5, s2Ratio: .3, zstd: 4, zstdRatio: .15, want: proto0500.EncodingS2},
	"a slow path, noise":        {wire: 50, s2: .3, s2Ratio: 1, zstd: 1, zstdRatio: 1, want: asItIs},
	"a fast path, noise":        {wire: 4, s2: .3, s2Ratio: 1, zstd: 1, zstdRatio: 1, want: asItIs},
	// Digits in base64: nothing repeats, but few letters are used.
	"a slow path, what only zstd shrinks": {wire: 50, s2: .3, s2Ratio: 1, zstd: 3, zstdRatio: .75, want: proto0500.EncodingZstd},
	"every other chunk is noise": {wire: 50, s2: 1, s2Ratio: .5, zstd: 3, zstdRatio: .15, want: proto0500.EncodingZstd,
		shrinks: func(i int) bool { return i%2 == 0 }},
}

func TestTunerFindsTheBest(t *testing.T) {
	const chunks = 1000
	for name, c := range courses {
		tu := newTuner()
		if used := c.run(&tu, chunks); used[c.want] < chunks*9/10 {
			t.Errorf("%s: %v, not %v", name, used, c.want)
		}
	}
}

// TestTunerFollows: a path that gets slower or faster, and a state that changes, on one and the same lane.
func TestTunerFollows(t *testing.T) {
	for from, a := range courses {
		for to, b := range courses {
			tu := newTuner()
			a.run(&tu, 500)
			b.run(&tu, 200) // to get there
			if used := b.run(&tu, 500); used[b.want] < 440 {
				t.Errorf("from %s to %s: %v, not %v", from, to, used, b.want)
			}
		}
	}
}

// TestTunerStays: between the two bounds a lane keeps what it has, whichever that is.
func TestTunerStays(t *testing.T) {
	between := course{wire: 10, s2: 2, s2Ratio: .5, zstd: 4, zstdRatio: .4}
	for _, e := range []proto0500.Encoding{proto0500.EncodingS2, proto0500.EncodingZstd} {
		tu := newTuner()
		tu.use = e
		if used := between.run(&tu, 500); used[e] != 500 {
			t.Errorf("began with %v: %v", e, used)
		}
	}
}

// TestTunerBeforeAnythingIsKnown: s2, and neither clocks that stand still nor those that go back matter.
func TestTunerBeforeAnythingIsKnown(t *testing.T) {
	tu := newTuner()
	for range 3 * settleChunks {
		if e := tu.pick(); e != proto0500.EncodingS2 {
			t.Fatalf("%v before anything was sent", e)
		}
		tu.packed(1000, 500, -time.Second)
		tu.sent(-time.Second)
	}
}

// TestShortNoiseIsPassedOver: a stretch of noise of a few chunks does not cost many of the text behind it.
func TestShortNoiseIsPassedOver(t *testing.T) {
	const raw = 1 << 20
	tu := newTuner()
	missed := 0
	for i := range 600 {
		noise := i%60 < missesMax+1
		e := tu.pick()
		left := raw
		if e != asItIs && !noise {
			left = raw / 4
		}
		if e != asItIs {
			tu.packed(raw, left, raw)
		} else if !noise {
			missed++
		}
		tu.sent(time.Duration(20 * left))
	}
	if missed > 600/60*probeGap {
		t.Errorf("%d chunks of text were not tried", missed)
	}
}
