package daemon

import (
	"sync/atomic"
	"time"

	"ferry/proto0500"
)

// moveStats counts what one attempt did at one side. The data plane counts,
// the steward times; both sides report to the orchestrator, which adds up.
type moveStats struct {
	counters [256]atomic.Uint64 // by proto0500.Counter
}

func (s *moveStats) set(c proto0500.Counter, v uint64) { s.counters[c].Store(v) }
func (s *moveStats) get(c proto0500.Counter) uint64    { return s.counters[c].Load() }

// add gives the new value.
func (s *moveStats) add(c proto0500.Counter, v uint64) uint64 { return s.counters[c].Add(v) }

func (s *moveStats) took(c proto0500.Counter, d time.Duration) {
	s.set(c, uint64(max(d, 1)))
}

func (s *moveStats) lane(lane uint8, bytes uint64) {
	s.add(proto0500.CounterLaneBytes(lane), bytes)
	s.add(proto0500.CounterLaneChunks(lane), 1)
}

// values are the counters that are not zero, in ascending order.
func (s *moveStats) values() proto0500.Counters {
	var list []proto0500.CounterValue
	for i := range s.counters {
		if v := s.counters[i].Load(); v != 0 {
			list = append(list, proto0500.CounterValue{Counter: proto0500.Counter(i), Value: v})
		}
	}
	return proto0500.CountersOf(list...)
}
