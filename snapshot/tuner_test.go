package snapshot

import (
	"testing"
	"time"

	"ferry/proto0500"
)

// course is a path and a state, with one lane that does one thing after the other: what a byte costs there.
type course struct {
	wire            float64 // ns a byte sent
	s2, s2Ratio     float64 // ns a byte packed, bytes left of one
	zstd, zstdRatio float64
	shrinks         func(chunk int) bool // nil: all do
	want            proto0500.Encoding   // mostly
}

type courseClock struct{ now time.Time }

func (c *courseClock) spend(ns float64) { c.now = c.now.Add(time.Duration(ns)) }

func (c course) run(t *Tuner, clock *courseClock, chunks int) map[proto0500.Encoding]int {
	const raw = 1 << 20
	used := make(map[proto0500.Encoding]int)
	for i := range chunks {
		e := t.pick()
		used[e]++
		spent, left := c.cost(e, i)
		clock.spend(spent * raw)
		if e != asItIs {
			t.tried(left < 1)
		}
		t.made(raw, int(left*raw))
		clock.spend(left * raw * c.wire)
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
	"loopback, text":            {wire: 4, s2: 1.5, s2Ratio: .3, zstd: 4, zstdRatio: .2, want: proto0500.EncodingS2},
	"a slow machine":            {wire: 20, s2: 9, s2Ratio: .4, zstd: 40, zstdRatio: .3, want: proto0500.EncodingS2},
	"a path without limits":     {wire: .1, s2: 1.5, s2Ratio: .3, zstd: 4, zstdRatio: .15, want: proto0500.EncodingS2},
	"a path that takes no time": {wire: 0, s2: 0, s2Ratio: .3, zstd: 4, zstdRatio: .15, want: proto0500.EncodingS2},
	"a slow path, noise":        {wire: 50, s2: .3, s2Ratio: 1, zstd: 1, zstdRatio: 1, want: asItIs},
	"a fast path, noise":        {wire: 2, s2: .3, s2Ratio: 1, zstd: 1, zstdRatio: 1, want: asItIs},
	// Digits in base64: nothing repeats, but few letters are used.
	"a slow path, what only zstd shrinks": {wire: 50, s2: .3, s2Ratio: 1, zstd: 3, zstdRatio: .7, want: proto0500.EncodingZstd},
	"every other chunk is noise": {wire: 50, s2: 1, s2Ratio: .8, zstd: 3, zstdRatio: .15, want: proto0500.EncodingZstd,
		shrinks: func(i int) bool { return i%2 == 0 }},
}

func TestTunerFindsTheBest(t *testing.T) {
	const chunks = 4000
	for name, c := range courses {
		clock := new(courseClock)
		tu := NewTuner(func() time.Time { return clock.now })
		if used := c.run(tu, clock, chunks); used[c.want] < chunks*9/10 {
			t.Errorf("%s: %v, not %v", name, used, c.want)
		}
	}
}

// TestTunerFollows: a path that gets slower or faster, and a state that changes, in one and the same transfer.
func TestTunerFollows(t *testing.T) {
	for from, a := range courses {
		for to, b := range courses {
			clock := new(courseClock)
			tu := NewTuner(func() time.Time { return clock.now })
			a.run(tu, clock, 500)
			b.run(tu, clock, 2000) // to get there
			if used := b.run(tu, clock, 1000); used[b.want] < 850 {
				t.Errorf("from %s to %s: %v, not %v", from, to, used, b.want)
			}
		}
	}
}

// TestTunerTriesLess: a path that is slow for another reason than its bytes has fewer and fewer trials of zstd.
func TestTunerTriesLess(t *testing.T) {
	clock := new(courseClock)
	tu := NewTuner(func() time.Time { return clock.now })
	slow := course{wire: 20, s2: 9, s2Ratio: .4, zstd: 40, zstdRatio: .3}
	first := slow.run(tu, clock, 1000)[proto0500.EncodingZstd]
	slow.run(tu, clock, 10*windowChunks*trialsApart)
	later := slow.run(tu, clock, windowChunks*trialsApart)[proto0500.EncodingZstd]
	if first < windowChunks || later > windowChunks {
		t.Errorf("%d of the first 1000, later %d of %d", first, later, windowChunks*trialsApart)
	}
}

// TestShortNoiseIsPassedOver: a stretch of noise of a few chunks does not cost many of the text behind it.
func TestShortNoiseIsPassedOver(t *testing.T) {
	tu := fastPath()
	missed := 0
	for i := range 600 {
		noise := i%60 < missesMax+1
		e := tu.pick()
		if e != asItIs {
			tu.tried(!noise)
		} else if !noise {
			missed++
		}
	}
	if missed > 600/60*probeGap {
		t.Errorf("%d chunks of text were not tried", missed)
	}
}
