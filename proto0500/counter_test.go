package proto0500_test

import (
	"strings"
	"testing"

	"ferry/proto0500"
)

func TestCounters(t *testing.T) {
	cs := proto0500.CountersOf(
		proto0500.CounterValue{Counter: proto0500.CounterBacklog, Value: 5},
		proto0500.CounterValue{Counter: proto0500.CounterLaneBytes(31), Value: 6},
	)
	if v, ok := cs.Get(proto0500.CounterLaneBytes(31)); v != 6 || !ok {
		t.Errorf("%d, %v", v, ok)
	}
	if v, ok := cs.Get(proto0500.CounterLaneChunks(31)); v != 0 || ok {
		t.Errorf("%d, %v", v, ok)
	}
	names := make(map[string]proto0500.Counter)
	for c := range 256 {
		c := proto0500.Counter(c)
		if other, twice := names[c.String()]; twice {
			t.Errorf("%d and %d are both %v", c, other, c)
		}
		names[c.String()] = c
		known := c >= 1 && c <= 27 || c >= 0x40 && c < 0x80
		if known == strings.HasPrefix(c.String(), "counter(") {
			t.Errorf("%d is %v", c, c)
		}
		if lane, ok := c.LaneBytes(); ok && proto0500.CounterLaneBytes(lane) != c {
			t.Errorf("%v: lane %d", c, lane)
		}
		if lane, ok := c.LaneChunks(); ok && proto0500.CounterLaneChunks(lane) != c {
			t.Errorf("%v: lane %d", c, lane)
		}
	}
}
