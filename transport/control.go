package transport

import (
	"fmt"
	"sync"

	"ferry/frame"
)

// outbox holds the frames that wait for the control stream: whole and in order. Send puts, one writer takes. Two
// buffers take turns, so that a steady session allocates nothing.
type outbox struct {
	framesMax int
	limits    frame.Limits

	mu     sync.Mutex
	buf    []byte // frames that wait
	spare  []byte // what the writer has written, for reuse
	frames int    // in buf
	closed bool   // no further frames; what waits still goes out
	wake   chan struct{}
}

func newOutbox(framesMax int, limits frame.Limits) *outbox {
	return &outbox{framesMax: framesMax, limits: limits, wake: make(chan struct{}, 1)}
}

// put copies the message into a frame at the end of the queue.
func (o *outbox) put(e frame.Epoch, msg []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return ErrClosed
	}
	if o.frames == o.framesMax || o.frames > 0 && len(o.buf)+len(msg) > controlQueueBytesMax {
		return fmt.Errorf("%w: %d frames, %d bytes wait", ErrSlowPeer, o.frames, len(o.buf))
	}
	buf, err := frame.Append(o.buf, e, msg, &o.limits)
	if err != nil {
		return err
	}
	o.buf = buf
	o.frames++
	o.signal()
	return nil
}

func (o *outbox) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	o.signal()
}

func (o *outbox) signal() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// take gives what waits, which the writer owns until it calls take again with it.
func (o *outbox) take(written []byte) (buf []byte, closed bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	const keepBytesMax = 256 << 10 // one large burst shall not be held for ever
	if cap(written) <= keepBytesMax {
		o.spare = written[:0]
	}
	buf, o.buf, o.spare = o.buf, o.spare, nil
	o.frames = 0
	return buf, o.closed
}
