package proto0500

import (
	"errors"
	"slices"

	"ferry/frame"
)

// ErrBatchFull is what Add returns for an event that fits into a message, but no more into this one.
var ErrBatchFull = errors.New("batch of events is full")

// EventsEncoder writes a BufferedEvents event by event, straight into the buffer that will be sent. Add only ever
// appends, so that nothing is gathered first. The zero value is ready for Start; it can be used again after Finish.
type EventsEncoder struct {
	buf []byte
	at  int // where the message begins in buf
	n   uint32
}

// Start begins a message at the end of dst, which the encoder owns until Finish.
func (e *EventsEncoder) Start(dst []byte, o Origin) {
	e.at, e.n = len(dst), 0
	e.buf = le.AppendUint32(appendOrigin(dst, KindBufferedEvents, o), 0)
}

// Add appends an event, copying its payload. It returns ErrBatchFull when the message would be over EventsMax or
// MessageBytesMax with it, and an EncodeError when no message can carry the event; the message is as it was then.
func (e *EventsEncoder) Add(ev Event, lim *frame.Limits) error {
	if err := checkPayload(len(ev.Payload), lim); err != nil {
		return err
	}
	size := uint64(e.Bytes()) + uint64(ev.bytes())
	if e.n >= lim.EventsMax || size > uint64(lim.MessageBytesMax) {
		if e.n > 0 {
			return ErrBatchFull
		}
		return overLimit(KindBufferedEvents, "message", size, uint64(lim.MessageBytesMax))
	}
	at := len(e.buf)
	e.buf = slices.Grow(e.buf, ev.bytes())[:at+ev.bytes()]
	ev.put(e.buf[at:])
	e.n++
	return nil
}

// Len is the number of events so far.
func (e *EventsEncoder) Len() int { return int(e.n) }

// Bytes is the size of the message so far.
func (e *EventsEncoder) Bytes() int { return len(e.buf) - e.at }

// Finish writes the count and gives back the buffer: what Start was given, and the message.
func (e *EventsEncoder) Finish() []byte {
	le.PutUint32(e.buf[e.at+9:], e.n)
	buf := e.buf
	e.buf = nil
	return buf
}
