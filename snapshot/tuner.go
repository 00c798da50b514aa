package snapshot

import (
	"time"

	"ferry/proto0500"
)

// asItIs is the encoding of a chunk that travels as SnapshotReady; on the wire it has no number.
const asItIs proto0500.Encoding = 0

const (
	// missesMax chunks in a row that did not shrink are taken for more to come.
	missesMax = 4
	// probeIdle: while chunks travel as they are, one of so many is tried all the same; after the first misses more often.
	probeIdle = 17
	// probeBusy: while one codec is in use, the other has one chunk of so many. Both are prime: a state that repeats
	// itself every few chunks must not hide half of it from every try.
	probeBusy = 61

	// A codec must be that much better than the one in use: their costs waver.
	tunerMargin = 0.85
	// What is no more than so many times as slow as the best may have become the best meanwhile.
	tunerNear = 2
	// Of an average, how much the newest measurement counts.
	tunerNewest = 1.0 / 4
	wireNewest  = 1.0 / 16
	// A lane that packs leaves its path idle now and then, which then looks faster than it is for chunks as they are:
	// what is faster than thought counts that much while packing.
	wireIdle = 1.0 / 32

	// sendsMin: the first frames go to buffers, in no time.
	sendsMin = 4

	// What zstd is thought of, by what s2 does, before it was tried.
	zstdCostOfS2  = 5
	zstdRatioOfS2 = 0.6
)

// tuner chooses how a lane's next chunk is packed: the way with the least time for a byte of the state, which is the
// time to pack it and the time that what is left of it takes on the wire. Both are measured, neither by the tuner. Chunks
// that do not shrink count as they are: with the time they took, and nothing saved.
type tuner struct {
	wireBytes, wireNs float64 // what was sent at a time, and how long it took, on average
	sends             int
	s2, zstd          estimate
	use               proto0500.Encoding
	misses            int // chunks tried in a row that did not shrink
	since             int // chunks since another way than the one in use was tried
}

// estimate is what a codec does to this state, on average.
type estimate struct {
	known bool
	cost  float64 // ns a byte of the state
	ratio float64 // bytes sent for a byte of the state
}

// newTuner begins with s2, which pays on all but the fastest paths.
func newTuner() tuner { return tuner{use: proto0500.EncodingS2} }

// pick is for the next chunk.
func (t *tuner) pick() proto0500.Encoding {
	t.since++
	idle := t.use == asItIs || t.misses >= missesMax
	switch {
	case idle && t.since >= t.gap(), !idle && t.since >= probeBusy:
		t.since = 0
		return t.another(idle)
	case idle:
		return asItIs
	}
	return t.use
}

// gap is how many chunks there are for each that is tried, while chunks travel as they are.
func (t *tuner) gap() int {
	if t.use == asItIs {
		return probeIdle
	}
	return min(1<<min(t.misses-missesMax+1, 10), probeIdle)
}

// another is a codec to try for once: one that comes near the best. When nothing has shrunk lately that may be the one in
// use, and zstd before s2: it shrinks what s2 does.
func (t *tuner) another(idle bool) proto0500.Encoding {
	wire, zstd := t.score(asItIs), t.score(proto0500.EncodingZstd)
	near := tunerNear * min(wire, t.score(proto0500.EncodingS2), zstd)
	if t.zstd.known {
		// What it did to other chunks may be long ago; it leaves no more of these than s2.
		zstd = t.zstd.cost + min(t.zstd.ratio, t.s2.ratio)*wire
	}
	switch {
	case (idle || t.use != proto0500.EncodingZstd) && zstd <= near:
		return proto0500.EncodingZstd
	case (idle || t.use != proto0500.EncodingS2) && t.score(proto0500.EncodingS2) <= near:
		return proto0500.EncodingS2
	}
	return t.use
}

// packed tells what became of a chunk of raw bytes: wire bytes were left, or all of them when it did not shrink.
func (t *tuner) packed(e proto0500.Encoding, raw, wire int, took time.Duration) {
	if wire < raw {
		t.misses = 0
	} else {
		t.misses++
	}
	est := &t.s2
	if e == proto0500.EncodingZstd {
		est = &t.zstd
	}
	cost, ratio := float64(took)/float64(raw), float64(wire)/float64(raw)
	if !est.known {
		*est = estimate{known: true, cost: cost, ratio: ratio}
	} else {
		est.cost += (cost - est.cost) * tunerNewest
		est.ratio += (ratio - est.ratio) * tunerNewest
	}
	t.judge()
}

// sent tells how long the wire took for so many bytes.
func (t *tuner) sent(bytes int, took time.Duration) {
	b, ns := float64(bytes), float64(max(took, 0))
	if b == 0 {
		return
	}
	t.sends++
	newest := wireNewest
	if t.use != asItIs && ns*t.wireBytes < t.wireNs*b {
		newest = wireIdle
	}
	t.wireBytes += (b - t.wireBytes) * newest
	t.wireNs += (ns - t.wireNs) * newest
	t.judge()
}

func (t *tuner) judge() {
	if t.sends < sendsMin || !t.s2.known {
		return
	}
	best := t.use
	for _, e := range [...]proto0500.Encoding{asItIs, proto0500.EncodingS2, proto0500.EncodingZstd} {
		if t.score(e) < t.score(best) {
			best = e
		}
	}
	if t.score(best) < t.score(t.use)*tunerMargin {
		t.use = best
	}
}

// score is the time for a byte of the state, in ns. It is 0 for all as long as nothing was sent.
func (t *tuner) score(e proto0500.Encoding) float64 {
	if t.wireBytes == 0 {
		return 0
	}
	wire := t.wireNs / t.wireBytes
	est := t.s2
	switch e {
	case asItIs:
		return wire
	case proto0500.EncodingZstd:
		if est = t.zstd; !est.known {
			est = estimate{cost: t.s2.cost * zstdCostOfS2, ratio: t.s2.ratio * zstdRatioOfS2}
		}
	}
	return est.cost + est.ratio*wire
}
