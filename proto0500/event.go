package proto0500

import (
	"fmt"
	"iter"
	"slices"

	"ferry/frame"
)

// EventBytesMin is the size of an event without a payload.
const EventBytesMin = 44

// Event is one accepted event: its link, its payload, and when it was received.
//
//	off size field
//	  0   32  link
//	 32    4  len            0..EventPayloadBytesMax
//	 36  len  payload
//	 36+    8  received_at   nanoseconds since 1970
type Event struct {
	Link       Link
	Payload    []byte // borrowed in a decoded message
	ReceivedAt uint64
}

const eventHeadBytes = LinkBytes + 4

var _ = [1]struct{}{}[EventBytesMin-(eventHeadBytes+8)]

// Hash is the parent_hash of the event after it.
func (e Event) Hash() uint64 { return e.Link.Hash(e.Payload) }

// Clone returns e with its own copy of the payload.
func (e Event) Clone() Event {
	e.Payload = clone(e.Payload)
	return e
}

// Equal compares events by what they put on the wire.
func (e Event) Equal(o Event) bool {
	return e.Link == o.Link && e.ReceivedAt == o.ReceivedAt && string(e.Payload) == string(o.Payload)
}

// bytes is the event's size on the wire.
func (e *Event) bytes() int { return EventBytesMin + len(e.Payload) }

// put writes the event to b, which has room for it, and returns its size.
func (e *Event) put(b []byte) int {
	head := (*[eventHeadBytes]byte)(b)
	e.Link.put(head[:])
	le.PutUint32(head[LinkBytes:], uint32(len(e.Payload)))
	end := eventHeadBytes + copy(b[eventHeadBytes:], e.Payload)
	le.PutUint64(b[end:], e.ReceivedAt)
	return end + 8
}

// Events are the events of one message: either those of the bytes it was decoded from, judged once and read as they
// are asked for, or a list to be sent. The zero value is no events. What All yields is borrowed from either.
type Events struct {
	n       int
	raw     []byte // n events on the wire, judged; nil when list has them
	longest uint32 // payload in raw: so that raw is not walked again when it is passed on
	list    []Event
}

// EventsOf is a list to be sent. It borrows evs and their payloads.
func EventsOf(evs ...Event) Events { return Events{n: len(evs), list: evs} }

// Len is the number of events.
func (e Events) Len() int { return e.n }

// All yields the events in order.
func (e Events) All() iter.Seq[Event] {
	return func(yield func(Event) bool) {
		for i := range e.list {
			if !yield(e.list[i]) {
				return
			}
		}
		for raw := e.raw; len(raw) > 0; {
			end := eventHeadBytes + int(le.Uint32(raw[LinkBytes:]))
			ev := Event{
				Link:       LinkFrom(raw),
				Payload:    raw[eventHeadBytes:end:end],
				ReceivedAt: le.Uint64(raw[end:]),
			}
			if !yield(ev) {
				return
			}
			raw = raw[end+8:]
		}
	}
}

// Clone returns events that own their payloads.
func (e Events) Clone() Events {
	e.raw = clone(e.raw)
	e.list = slices.Clone(e.list)
	for i := range e.list {
		e.list[i] = e.list[i].Clone()
	}
	return e
}

// Equal compares events by what they put on the wire.
func (e Events) Equal(o Events) bool {
	if e.n != o.n {
		return false
	}
	next, stop := iter.Pull(o.All())
	defer stop()
	for ev := range e.All() {
		if other, ok := next(); !ok || !ev.Equal(other) {
			return false
		}
	}
	return true
}

// readEvents judges count events, which take up the rest of the message, in the crate's order: each len before looking
// whether its bytes are there.
func readEvents(c *frame.Cursor, count uint32, lim *frame.Limits) Events {
	raw := c.Rest()
	start := c.Offset() - len(raw)
	at, longest := 0, uint32(0)
	for range count {
		left := len(raw) - at
		if left < eventHeadBytes {
			c.FailAt("link", start+at, frame.ErrTruncated)
			return Events{}
		}
		n := le.Uint32(raw[at+LinkBytes:])
		if n > lim.EventPayloadBytesMax {
			c.FailAt("len", start+at+LinkBytes, frame.OverLimit(uint64(n), uint64(lim.EventPayloadBytesMax)))
			return Events{}
		}
		if uint64(left) < EventBytesMin+uint64(n) {
			c.FailAt("payload", start+at+eventHeadBytes, frame.ErrTruncated)
			return Events{}
		}
		longest = max(longest, n)
		at += EventBytesMin + int(n)
	}
	if at < len(raw) {
		c.FailAt("end", start+at, fmt.Errorf("%w: %d", frame.ErrTrailing, len(raw)-at))
		return Events{}
	}
	return Events{n: int(count), raw: raw, longest: longest}
}

// check says whether a message may have that many events, and whether those of a message may be passed on: the next peer
// may take less than the one they came from.
func (e *Events) check(lim *frame.Limits) error {
	if uint64(e.n) > uint64(lim.EventsMax) {
		return overLimit(KindBufferedEvents, "count", uint64(e.n), uint64(lim.EventsMax))
	}
	return checkPayload(int(e.longest), lim)
}

// appendEvents appends what put writes of each, in one pass: dst grows once, by all that is left, where it has no room.
func appendEvents(dst []byte, list []Event, lim *frame.Limits) ([]byte, error) {
	at, b := len(dst), dst[:cap(dst)]
	for i := range list {
		e := &list[i]
		n := len(e.Payload)
		if n > int(lim.EventPayloadBytesMax) {
			return dst, checkPayload(n, lim)
		}
		if len(b)-at < EventBytesMin+n {
			rest := 0
			for j := range list[i:] {
				rest += list[i+j].bytes()
			}
			b = slices.Grow(b[:at], rest)
			b = b[:cap(b)]
		}
		at += e.put(b[at:])
	}
	return b[:at], nil
}

func checkPayload(n int, lim *frame.Limits) error {
	if uint64(n) > uint64(lim.EventPayloadBytesMax) {
		return overLimit(KindBufferedEvents, "len", uint64(n), uint64(lim.EventPayloadBytesMax))
	}
	return nil
}
