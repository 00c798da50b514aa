package snapshot

import (
	"sync"
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

	// windowChunks is over how many chunks a rate is measured.
	windowChunks = 48
	// zstdBelow is the rate of the path, bytes a second, below which zstd is worth a trial: it packs some 200 MB/s on a
	// core, and leaves about three quarters of what s2 leaves.
	zstdBelow = 80e6
	// zstdGain is by how much the state must travel faster with it, or the trial is over; the next one comes after twice
	// as many windows as the last, trialsApart at most.
	zstdGain    = 1.1
	trialsApart = 64
	// zstdFor is after how many windows of zstd s2 has one again: the path may have become another.
	zstdFor = 16
)

// Tuner chooses how the chunks of one transfer are packed; its lanes share it. What shrinks is always packed: a byte that
// is not sent saves both ends more than s2 takes of either. zstd leaves less, at several times the cost. That pays on a
// slow path only, and whether this is one is not guessed but tried: the state must get on faster.
type Tuner struct {
	now func() time.Time

	mu     sync.Mutex
	use    proto0500.Encoding // s2 or zstd
	misses int                // chunks tried in a row that did not shrink
	since  int                // chunks since one was tried, while they are not

	began     time.Time // of the window; zero: the first is to come
	chunks    int       // in it
	raw, wire int64
	before    float64 // bytes of the state a second, in the last window without zstd
	stayed    int     // windows with zstd, since the last without
	wait      int     // windows to the next trial
	apart     int     // that were waited for the last one
}

// NewTuner begins with s2. now is a clock.
func NewTuner(now func() time.Time) *Tuner { return &Tuner{now: now, use: proto0500.EncodingS2} }

// pick is for the next chunk.
func (t *Tuner) pick() proto0500.Encoding {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.misses >= missesMax {
		if t.since++; t.since < probeGap {
			return asItIs
		}
	}
	t.since = 0
	return t.use
}

// tried tells whether a chunk shrank.
func (t *Tuner) tried(shrank bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.misses++
	if shrank {
		t.misses = 0
	}
}

// made tells of a frame of wire bytes for a chunk of raw ones. A lane makes its next frame when its path has taken the
// last: so frames are made as fast as they travel.
func (t *Tuner) made(raw, wire int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.began.IsZero() {
		t.began = t.now()
		return
	}
	t.raw, t.wire = t.raw+int64(raw), t.wire+int64(wire)
	if t.chunks++; t.chunks < windowChunks {
		return
	}
	now := t.now()
	took := max(now.Sub(t.began), 1).Seconds()
	t.judge(float64(t.raw)/took, float64(t.wire)/took)
	t.began, t.chunks, t.raw, t.wire = now, 0, 0, 0
}

// judge takes the rates of a window, of the state and of the path.
func (t *Tuner) judge(state, path float64) {
	if t.use == proto0500.EncodingZstd {
		t.stayed++
		switch {
		case state < t.before*zstdGain:
			t.use = proto0500.EncodingS2
			t.apart = min(max(2*t.apart, 2), trialsApart)
			t.wait = t.apart
		case t.stayed >= zstdFor:
			t.use, t.apart = proto0500.EncodingS2, 0
		}
		return
	}
	t.before, t.stayed = state, 0
	if t.wait > 0 {
		t.wait--
	} else if path < zstdBelow {
		t.use = proto0500.EncodingZstd
	}
}
