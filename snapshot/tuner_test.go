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
	wantMostly      proto0500.Encoding
	wantTriedAtMost float64 // of all chunks with another than that; 0: 1 of 20
}

func (c course) run(t *tuner, chunks int) (used map[proto0500.Encoding]int, ns float64) {
	const raw = 1 << 20
	used = make(map[proto0500.Encoding]int)
	for i := range chunks {
		e := t.pick()
		used[e]++
		spent, left := c.cost(e, i)
		if e != asItIs {
			t.packed(e, raw, int(left*raw), time.Duration(spent*raw))
		}
		t.sent(int(left*raw), time.Duration(left*raw*c.wire))
		ns += raw * (spent + left*c.wire)
	}
	return used, ns
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
	"a slow path, text":         {wire: 50, s2: 1.5, s2Ratio: .3, zstd: 4, zstdRatio: .15, wantMostly: proto0500.EncodingZstd},
	"a lane on loopback, text":  {wire: 10, s2: 1.5, s2Ratio: .3, zstd: 4, zstdRatio: .2, wantMostly: proto0500.EncodingS2},
	"a path without limits":     {wire: .1, s2: 1.5, s2Ratio: .3, zstd: 4, zstdRatio: .15, wantMostly: asItIs},
	"a path that takes no time": {wire: 0, s2: 1.5, s2Ratio: .3, zstd: 4, zstdRatio: .15, wantMostly: asItIs},
	"a slow path, noise":        {wire: 50, s2: .3, s2Ratio: 1, zstd: 1, zstdRatio: 1, wantMostly: asItIs, wantTriedAtMost: .1},
	"a fast path, noise":        {wire: 4, s2: .3, s2Ratio: 1, zstd: 1, zstdRatio: 1, wantMostly: asItIs, wantTriedAtMost: .1},
	// Digits in base64: nothing repeats, but few letters are used.
	"a slow path, what only zstd shrinks": {wire: 50, s2: .3, s2Ratio: 1, zstd: 3, zstdRatio: .75, wantMostly: proto0500.EncodingZstd},
	"every other chunk is noise": {wire: 50, s2: 1, s2Ratio: .5, zstd: 3, zstdRatio: .15, wantMostly: proto0500.EncodingZstd,
		wantTriedAtMost: .15, shrinks: func(i int) bool { return i%2 == 0 }},
}

func TestTunerFindsTheBest(t *testing.T) {
	const chunks = 2000
	for name, c := range courses {
		tu := newTuner()
		used, ns := c.run(&tu, chunks)
		others := c.wantTriedAtMost
		if others == 0 {
			others = .05
		}
		if used[c.wantMostly] < int(chunks*(1-others)) {
			t.Errorf("%s: %v, not %v", name, used, c.wantMostly)
		}
		best := ns
		for e := asItIs; e <= proto0500.EncodingZstd; e++ {
			if e == proto0500.EncodingZeros {
				continue
			}
			sum := 0.0
			for i := range chunks {
				spent, left := c.cost(e, i)
				sum += (1 << 20) * (spent + left*c.wire)
			}
			best = min(best, sum)
		}
		if c.wire > 1 && ns > 1.03*best {
			t.Errorf("%s: %.3f times as long as the best way", name, ns/best)
		}
	}
}

// TestTunerFollows: a path that gets slower or faster, and a state that changes, on one and the same lane.
func TestTunerFollows(t *testing.T) {
	for from, a := range courses {
		for to, b := range courses {
			tu := newTuner()
			a.run(&tu, 500)
			b.run(&tu, 1000) // to get there
			if used, _ := b.run(&tu, 500); used[b.wantMostly] < 440 {
				t.Errorf("from %s to %s: %v, not %v", from, to, used, b.wantMostly)
			}
		}
	}
}

// TestTunerBeforeAnythingIsKnown: s2, and nothing divides by zero.
func TestTunerBeforeAnythingIsKnown(t *testing.T) {
	tu := newTuner()
	tu.sent(0, 0)
	tu.sent(1000, -time.Second)
	tu = newTuner()
	for range 3 * probeBusy {
		if e := tu.pick(); e == asItIs {
			t.Fatal("as it is, before anything was sent")
		}
		tu.packed(proto0500.EncodingS2, 1000, 500, 0)
	}
}

// TestTunerIsNotFooledByBuffers: the first frames take no time, and neither do those that a busy lane puts on a path that
// waits for it.
func TestTunerIsNotFooledByBuffers(t *testing.T) {
	const raw = 1 << 20
	tu := newTuner()
	for range sendsMin - 1 {
		tu.packed(tu.pick(), raw, raw/3, raw)
		tu.sent(raw/3, 0)
	}
	if tu.use != proto0500.EncodingS2 {
		t.Errorf("%v after the first frames", tu.use)
	}
	tu = newTuner()
	for range 20 {
		tu.packed(tu.pick(), raw, raw/3, raw)
		tu.sent(raw/3, 10*raw/3)
	}
	for range 45 {
		tu.packed(tu.pick(), raw, raw/3, raw)
		tu.sent(raw/3, 0)
	}
	if tu.use != proto0500.EncodingS2 {
		t.Errorf("%v after a moment of an idle path", tu.use)
	}
	for range 500 {
		tu.packed(proto0500.EncodingS2, raw, raw/3, raw)
		tu.sent(raw/3, 0)
	}
	if tu.use != asItIs {
		t.Errorf("%v on a path that takes no time", tu.use)
	}
}

// TestShortNoiseIsPassedOver: a stretch of noise of a few chunks does not cost many of the text behind it.
func TestShortNoiseIsPassedOver(t *testing.T) {
	const raw = 1 << 20
	tu := newTuner()
	missed := 0
	for i := range 600 {
		noise := i%20 < missesMax+1
		e := tu.pick()
		left := raw
		if e != asItIs && !noise {
			left = raw / 4
		}
		if e != asItIs {
			tu.packed(e, raw, left, raw)
		} else if !noise {
			missed++
		}
		tu.sent(left, time.Duration(20*left))
	}
	if missed > 600/20*3 {
		t.Errorf("%d chunks of text were not tried", missed)
	}
}
