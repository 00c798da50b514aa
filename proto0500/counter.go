package proto0500

import (
	"fmt"
	"iter"
	"slices"
)

// Counter says what a value of a Progress counts. A counter that is not known is passed on, not refused.
type Counter uint8

const (
	CounterStateBytes     Counter = 1
	CounterBytesDone      Counter = 2
	CounterBytesWire      Counter = 3
	CounterChunksDone     Counter = 4
	CounterEventsSent     Counter = 5
	CounterBacklog        Counter = 6
	CounterFreezeNs       Counter = 7
	CounterTailNs         Counter = 8
	CounterFlushNs        Counter = 9
	CounterRetireNs       Counter = 10
	CounterLiveNs         Counter = 11
	CounterBlackoutNs     Counter = 12
	CounterRestoreNs      Counter = 13
	CounterEventsReplayed Counter = 14
	CounterAckNs          Counter = 15
	CounterActivateNs     Counter = 16
	CounterRateLimit      Counter = 17 // bytes a second, 0: none; it does not only grow
	CounterResumes        Counter = 18 // sessions that took the place of a broken one
	CounterChunksResent   Counter = 19 // of those below, not counted there again
	CounterBytesResent    Counter = 20
	CounterEventsResent   Counter = 21
	CounterBytesLanes     Counter = 22 // frames of chunks, as they went out
	CounterBytesZeros     Counter = 23 // of the snapshot's bytes, those that went as zeros
	CounterBytesS2        Counter = 24 // compressed by s2, before it
	CounterBytesZstd      Counter = 25 // compressed by zstd, before it
	CounterBytesHeld      Counter = 26 // that the target had from an earlier attempt or stay
	CounterBaseBytes      Counter = 27 // read at the target, to find what it has

	counterLaneBytes  Counter = 0x40
	counterLaneChunks Counter = 0x60
)

// LanesMax is the number of lanes that have counters.
const LanesMax = 32

// CounterLaneBytes is the counter of a lane's bytes; lane is below LanesMax.
func CounterLaneBytes(lane uint8) Counter { return counterLaneBytes + Counter(lane%LanesMax) }

// CounterLaneChunks is the counter of a lane's chunks; lane is below LanesMax.
func CounterLaneChunks(lane uint8) Counter { return counterLaneChunks + Counter(lane%LanesMax) }

// LaneBytes is the lane whose bytes c counts.
func (c Counter) LaneBytes() (lane uint8, ok bool) {
	return uint8(c - counterLaneBytes), c >= counterLaneBytes && c < counterLaneBytes+LanesMax
}

// LaneChunks is the lane whose chunks c counts.
func (c Counter) LaneChunks() (lane uint8, ok bool) {
	return uint8(c - counterLaneChunks), c >= counterLaneChunks && c < counterLaneChunks+LanesMax
}

func (c Counter) String() string {
	switch c {
	case CounterStateBytes:
		return "state_bytes"
	case CounterBytesDone:
		return "bytes_done"
	case CounterBytesWire:
		return "bytes_wire"
	case CounterChunksDone:
		return "chunks_done"
	case CounterEventsSent:
		return "events_sent"
	case CounterBacklog:
		return "backlog"
	case CounterFreezeNs:
		return "freeze_ns"
	case CounterTailNs:
		return "tail_ns"
	case CounterFlushNs:
		return "flush_ns"
	case CounterRetireNs:
		return "retire_ns"
	case CounterLiveNs:
		return "live_ns"
	case CounterBlackoutNs:
		return "blackout_ns"
	case CounterRestoreNs:
		return "restore_ns"
	case CounterEventsReplayed:
		return "events_replayed"
	case CounterAckNs:
		return "ack_ns"
	case CounterActivateNs:
		return "activate_ns"
	case CounterRateLimit:
		return "rate_limit"
	case CounterResumes:
		return "resumes"
	case CounterChunksResent:
		return "chunks_resent"
	case CounterBytesResent:
		return "bytes_resent"
	case CounterEventsResent:
		return "events_resent"
	case CounterBytesLanes:
		return "bytes_lanes"
	case CounterBytesZeros:
		return "bytes_zeros"
	case CounterBytesS2:
		return "bytes_s2"
	case CounterBytesZstd:
		return "bytes_zstd"
	case CounterBytesHeld:
		return "bytes_held"
	case CounterBaseBytes:
		return "base_bytes"
	}
	if lane, ok := c.LaneBytes(); ok {
		return fmt.Sprintf("lane_%d_bytes", lane)
	}
	if lane, ok := c.LaneChunks(); ok {
		return fmt.Sprintf("lane_%d_chunks", lane)
	}
	return fmt.Sprintf("counter(%d)", uint8(c))
}

// CounterValue is a counter and its value.
//
//	off size field
//	  0    1  counter
//	  1    8  value
type CounterValue struct {
	Counter Counter
	Value   uint64
}

const counterBytes = 9

// Counters are the counters of a message, read as they are asked for, or a list to be sent. The zero value is none.
type Counters struct {
	raw  []byte
	list []CounterValue
}

// CountersOf is a list to be sent, which it borrows.
func CountersOf(cs ...CounterValue) Counters { return Counters{list: cs} }

// Len is the number of counters.
func (c Counters) Len() int { return len(c.raw)/counterBytes + len(c.list) }

// All yields the counters in the order they were sent.
func (c Counters) All() iter.Seq[CounterValue] {
	return func(yield func(CounterValue) bool) {
		for _, v := range c.list {
			if !yield(v) {
				return
			}
		}
		for raw := c.raw; len(raw) > 0; raw = raw[counterBytes:] {
			if !yield(CounterValue{Counter: Counter(raw[0]), Value: le.Uint64(raw[1:])}) {
				return
			}
		}
	}
}

// Get is the first value of a counter.
func (c Counters) Get(counter Counter) (value uint64, ok bool) {
	for v := range c.All() {
		if v.Counter == counter {
			return v.Value, true
		}
	}
	return 0, false
}

// Clone returns counters that own their bytes.
func (c Counters) Clone() Counters { return Counters{raw: clone(c.raw), list: slices.Clone(c.list)} }

// Equal compares counters by what they put on the wire.
func (c Counters) Equal(o Counters) bool {
	return slices.Equal(slices.Collect(c.All()), slices.Collect(o.All()))
}
