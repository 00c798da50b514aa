package transport

import (
	"testing"
	"time"
)

const (
	testRTT  = 20 * time.Millisecond
	megabyte = 1e6
)

// A path is what it carries, and how long a round trip is then, by the number of lanes.
func TestClimb(t *testing.T) {
	perLane := func(each, all float64) func(int) step {
		return func(lanes int) step {
			s := step{lanes: lanes, rate: min(float64(lanes)*each, all), rtt: testRTT, minRTT: testRTT}
			if s.rate == all {
				s.rtt *= 3 // its queue is full
			}
			return s
		}
	}
	shallow := func(each, all float64) func(int) step {
		return func(lanes int) step { return step{lanes, min(float64(lanes)*each, all), testRTT, testRTT} }
	}
	for _, c := range []struct {
		name string
		path func(lanes int) step
		max  int
		want int
	}{
		{"every lane is as slow as the others", perLane(5*megabyte, 1e12), 32, 32},
		{"no more than max", perLane(5*megabyte, 1e12), 20, 20},
		{"fewer than it begins with", perLane(5*megabyte, 1e12), 4, 4},
		{"the link is full at once", perLane(500*megabyte, 500*megabyte), 32, 4},
		{"the link is full with 8", perLane(10*megabyte, 60*megabyte), 32, 8},
		{"it drops instead of queueing, full at once", shallow(100*megabyte, 100*megabyte), 32, 8},
		{"it drops instead of queueing, full with 8", shallow(20*megabyte, 160*megabyte), 32, 16},
		{"nothing arrives", shallow(0, 0), 32, 4},
	} {
		var cl climb
		lanes := 4
		for range 20 {
			next := cl.decide(c.path(lanes), c.max)
			if next < lanes || next > 2*lanes || next > max(c.max, lanes) {
				t.Fatalf("%s: from %d to %d lanes", c.name, lanes, next)
			}
			lanes = next
		}
		if lanes != c.want {
			t.Errorf("%s: %d lanes, want %d", c.name, lanes, c.want)
		}
	}
}

// One bad measurement is not the end, two are.
func TestClimbDoubts(t *testing.T) {
	at := func(lanes int, rate float64) step { return step{lanes, rate, testRTT, testRTT} }
	var c climb
	for i, s := range []struct {
		now  step
		want int
	}{
		{at(4, 40), 8}, {at(8, 41), 8}, {at(8, 80), 16}, // the second time it was better
		{at(16, 90), 16}, {at(16, 95), 16}, {at(16, 1000), 16}, // and then it was too late
	} {
		if got := c.decide(s.now, 32); got != s.want {
			t.Fatalf("measurement %d: %d lanes, want %d", i, got, s.want)
		}
	}
	if !c.settled {
		t.Error("not settled")
	}
}

// An increase that found no connection does not count as one that did not help, and half of one needs half the gain.
func TestClimbWithoutConnections(t *testing.T) {
	var c climb
	for range 5 {
		if got := c.decide(step{4, 40, testRTT, testRTT}, 32); got != 8 {
			t.Fatalf("%d lanes", got)
		}
	}
	if got := c.decide(step{6, 46, testRTT, testRTT}, 32); got != 12 {
		t.Errorf("%d lanes after half an increase with its gain", got)
	}
	if got := c.decide(step{9, 48, testRTT, testRTT}, 32); got != 9 {
		t.Errorf("%d lanes after half an increase without", got)
	}
}

func TestClimbPeriod(t *testing.T) {
	for rtt, want := range map[time.Duration]time.Duration{
		0: climbPeriodMin, time.Millisecond: climbPeriodMin, 50 * time.Millisecond: 400 * time.Millisecond, time.Second: climbPeriodMax,
	} {
		if got := climbPeriod(rtt); got != want {
			t.Errorf("%v for %v", got, rtt)
		}
	}
}
