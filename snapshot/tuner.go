package snapshot

import (
	"time"

	"ferry/proto0500"
)

// asItIs is the encoding of a chunk that travels as SnapshotReady; on the wire it has no number.
const asItIs proto0500.Encoding = 0

const (
	// missesMax chunks in a row that did not shrink are taken for more to come: from then on only one of probeGap is
	// tried. It is prime: a state that repeats itself every few chunks must not hide half of it from every try.
	missesMax = 4
	probeGap  = 17

	// A lane that its path keeps for more than pathBound of the time has time for zstd. One that packs so slowly that its
	// path waits for it more than the rest of cpuBound goes back to s2. Between the two it stays as it is.
	pathBound = 0.85
	cpuBound  = 0.40

	// settleChunks is for how many chunks a lane stays with what it has changed to.
	settleChunks = 16
	// newest is how much of an average the last chunk makes.
	newest = 1.0 / 8
)

// tuner chooses how a lane's next chunk is packed. What shrinks is always packed: a byte that is not sent saves both ends
// more than s2 takes of either. zstd leaves less than s2, at several times the cost, which pays where the lane waits for
// its path anyway. So all that is measured is for how much of its time it does; on the machine that carries both ends of
// the path, the path waits for the same processor, and the share stays below pathBound.
type tuner struct {
	use    proto0500.Encoding // s2 or zstd
	misses int                // chunks tried in a row that did not shrink
	since  int                // chunks since one was tried, while they are not
	chunks int                // since use has changed

	busy, held float64 // ns a chunk, on average: in the codec, and by the path
}

// newTuner begins with s2.
func newTuner() tuner { return tuner{use: proto0500.EncodingS2} }

// pick is for the next chunk.
func (t *tuner) pick() proto0500.Encoding {
	if t.misses >= missesMax {
		if t.since++; t.since < probeGap {
			return asItIs
		}
	}
	t.since = 0
	return t.use
}

// packed tells what became of a chunk of raw bytes: wire bytes were left, or all of them when it did not shrink.
func (t *tuner) packed(raw, wire int, took time.Duration) {
	if wire < raw {
		t.misses = 0
	} else {
		t.misses++
	}
	average(&t.busy, took)
}

// sent tells for how long the path kept a chunk.
func (t *tuner) sent(took time.Duration) {
	average(&t.held, took)
	if t.chunks++; t.chunks < settleChunks {
		return
	}
	share := t.held / max(t.held+t.busy, 1)
	switch {
	case t.use == proto0500.EncodingS2 && share > pathBound:
		t.change(proto0500.EncodingZstd)
	case t.use == proto0500.EncodingZstd && share < cpuBound:
		t.change(proto0500.EncodingS2)
	}
}

func (t *tuner) change(to proto0500.Encoding) {
	t.use, t.chunks, t.busy, t.held = to, 0, 0, 0
}

// average takes the first value as it is.
func average(of *float64, v time.Duration) {
	ns := float64(max(v, 0))
	if *of == 0 {
		*of = ns
	}
	*of += (ns - *of) * newest
}
