package transport

import "time"

// How many lanes a path wants is found by trying. What limits one connection of several is its own congestion window,
// which loss keeps small, or its receive window, where the round trip is long: then twice as many connections carry
// nearly twice as much. Or it is what they share: the link, the processors, the disk at the end. Then more of them carry
// no more, and a link's queue grows, which the round trip time shows.

const (
	// climbGain is how much more has to arrive with twice the lanes for that to have helped; with fewer, less. Where
	// lanes are the limit, twice of them give 0.7 to 1 more, and where they are not, 0 to 0.1.
	climbGain = 0.25
	// climbQueue is how much longer than the shortest a round trip is where something waits in a queue.
	climbQueue = 2
	// climbDoubts is how many measurements have to say that an increase has not helped.
	climbDoubts = 2

	climbPeriodMin  = 150 * time.Millisecond
	climbPeriodRTTs = 8
	climbPeriodMax  = 3 * time.Second
	// climbPause is how long to wait after an increase for which there was no connection.
	climbPause = time.Second
)

// traffic is what the further connections of a session have carried. Other transfers of the session count too: they
// share the path.
type traffic struct {
	connections int
	bytes       uint64        // sent, without what was lost
	rtt, minRTT time.Duration // the longest smoothed one; the shortest ever
}

// step is one measurement, over one period in which the number of lanes was the same.
type step struct {
	lanes       int
	rate        float64 // bytes a second
	rtt, minRTT time.Duration
}

// climb finds the number of lanes. The zero value has measured nothing.
type climb struct {
	lanes   int     // of the last measurement after which more were wanted; 0: there was none
	rate    float64 // then
	doubts  int
	settled bool // more do not help
}

// decide gives the number of lanes after a measurement: as many as now, or twice as many, but at most max. An increase
// that has not helped is the last one.
func (c *climb) decide(now step, max int) int {
	if c.settled || now.lanes >= max || now.rate <= 0 {
		return now.lanes
	}
	if c.lanes > 0 && now.lanes > c.lanes && now.rate < c.rate*(1+climbGain*(float64(now.lanes)/float64(c.lanes)-1)) {
		c.doubts++
		c.settled = c.doubts >= climbDoubts
		return now.lanes
	}
	if now.minRTT > 0 && now.rtt > climbQueue*now.minRTT {
		return now.lanes // it may be another's queue, and empty the next time
	}
	c.lanes, c.rate, c.doubts = now.lanes, now.rate, 0
	return min(2*now.lanes, max)
}

// climbPeriod is how long to measure, long enough for new connections to have found their windows half way.
func climbPeriod(rtt time.Duration) time.Duration {
	return min(max(climbPeriodMin, climbPeriodRTTs*rtt), climbPeriodMax)
}
