package main

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// latency is what a histogram comes to, in milliseconds.
type latency struct {
	Count                    int64
	P50, P90, P99, P999, Max float64
	// Curve has the value at each of curveNines.
	Curve []float64
}

// curveNines are where a latency is drawn: 1 in so many is slower.
var curveNines = []float64{1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5}

// newHistogram holds 1 µs to 2 minutes with three digits.
func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, (2 * time.Minute).Microseconds(), 3)
}

// record takes a duration, and the longest one for one that is longer.
func record(h *hdrhistogram.Histogram, d time.Duration) {
	_ = h.RecordValue(min(max(d.Microseconds(), 1), h.HighestTrackableValue()))
}

func summary(h *hdrhistogram.Histogram) latency {
	at := func(p float64) float64 { return float64(h.ValueAtQuantile(p)) / 1000 }
	l := latency{Count: h.TotalCount(), P50: at(50), P90: at(90), P99: at(99), P999: at(99.9), Max: float64(h.Max()) / 1000}
	for _, n := range curveNines {
		if n > float64(l.Count) {
			break
		}
		l.Curve = append(l.Curve, at(100-100/n))
	}
	return l
}
