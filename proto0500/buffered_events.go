package proto0500

import "ferry/frame"

// BufferedEvents are events to replay, in causal order; without any it asks the target to replay what it has.
//
//	off size field
//	  0    1  discriminant   7
//	  1    8  daemon_origin
//	  9    4  count          0..EventsMax
//	 13    …  events         count × Event
type BufferedEvents struct {
	DaemonOrigin Origin
	Events       Events // borrowed in a decoded message
}

const eventsHeadBytes = 13

var _ = [1]struct{}{}[eventsHeadBytes-(1+8+4)]

// Kind is KindBufferedEvents.
func (m BufferedEvents) Kind() Kind { return KindBufferedEvents }

// Origin is the daemon's.
func (m BufferedEvents) Origin() Origin { return m.DaemonOrigin }

// Append appends the message. Too many events, or a payload that is too long, is an error.
func (m BufferedEvents) Append(dst []byte, lim *frame.Limits) ([]byte, error) {
	if err := m.Events.check(lim); err != nil {
		return dst, err
	}
	all := appendOrigin(dst, KindBufferedEvents, m.DaemonOrigin)
	all = le.AppendUint32(all, uint32(m.Events.n))
	all, err := appendEvents(append(all, m.Events.raw...), m.Events.list, lim)
	if err != nil {
		return dst, err
	}
	return all, nil
}

// Decode reads the message from b, which must hold nothing else. The events borrow from b.
func (m *BufferedEvents) Decode(b []byte, lim *frame.Limits) error {
	var c frame.Cursor
	c.Reset("BufferedEvents", b)
	c.Expect("discriminant", uint8(KindBufferedEvents))
	m.DaemonOrigin = Origin(c.U64("daemon_origin"))
	m.Events = Events{}
	count := c.U32("count")
	switch {
	case c.Err() != nil:
	case uint64(count) > uint64(c.Remaining()/EventBytesMin):
		c.FailAt("count", 9, errCountOverBytes)
	case count > lim.EventsMax:
		c.FailAt("count", 9, frame.OverLimit(uint64(count), uint64(lim.EventsMax)))
	default:
		m.Events = readEvents(&c, count, lim)
	}
	return c.Done()
}
