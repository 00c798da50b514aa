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
	// probeIdle: while chunks travel as they are, one of so many is tried all the same.
	probeIdle = 17
	// probeBusy: while one codec is in use, the other has one chunk of so many. Both are prime: a state that repeats
	// itself every few chunks must not hide half of it from every try.
	probeBusy = 61

	// A codec must be that much better than the one in use: their costs waver.
	tunerMargin = 0.9
	// What is no more than so many times as slow as the best may have become the best meanwhile.
	tunerNear = 2
	// Of an average, how much the newest measurement counts.
	tunerNewest = 1.0 / 4
	wireNewest  = 1.0 / 8

	// What zstd is thought of, by what s2 does, before it was tried.
	zstdCostOfS2  = 3
	zstdRatioOfS2 = 0.6
)

// tuner chooses how a lane's next chunk is packed: the way with the least time for a byte of the state, which is the
// time to pack it and the time that what is left of it takes on the wire. Both are measured, neither by the tuner. Chunks
// that do not shrink count as they are: with the time they took, and nothing saved.
type tuner struct {
	wireBytes, wireNs float64 // sums, in which the old fades
	s2, zstd          estimate
	use               proto0500.Encoding
	misses            int // chunks in a row that did not shrink
	since             int // chunks since another way than the one in use was tried
	turn              int // which one is next
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
	case idle && t.since >= probeIdle, !idle && t.since >= probeBusy:
		t.since = 0
		return t.another(idle)
	case idle:
		return asItIs
	}
	return t.use
}

// another is a codec to try for once: in turn those that come near the best, and when nothing else has shrunk lately also
// the one in use.
func (t *tuner) another(idle bool) proto0500.Encoding {
	t.turn++
	best := min(t.score(asItIs), t.score(proto0500.EncodingS2), t.score(proto0500.EncodingZstd))
	for i := range 2 {
		e := proto0500.EncodingS2
		if (t.turn+i)%2 == 0 {
			e = proto0500.EncodingZstd
		}
		if (idle || e != t.use) && t.score(e) <= tunerNear*best {
			return e
		}
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
	t.wireBytes += float64(bytes) - t.wireBytes*wireNewest
	t.wireNs += float64(max(took, 0)) - t.wireNs*wireNewest
	t.judge()
}

func (t *tuner) judge() {
	if t.wireBytes == 0 || !t.s2.known {
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
