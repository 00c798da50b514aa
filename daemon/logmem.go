package daemon

import (
	"slices"
	"sync"
	"unsafe"

	"ferry/proto0500"
)

// memLog keeps the events of an in-memory daemon, and only while a move needs
// them: from hold until release, within bytesMax of memory. Without a move it
// keeps nothing.
type memLog struct {
	bytesMax int

	mu     sync.Mutex
	held   bool
	full   bool
	first  proto0500.Seq // of events[0]
	events []Event
	bytes  int
}

// hold keeps every event from seq on.
func (l *memLog) hold(from proto0500.Seq) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held, l.full, l.first, l.events, l.bytes = true, false, from, nil, 0
}

// release forgets the events and keeps no more.
func (l *memLog) release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held, l.full, l.events, l.bytes = false, false, nil, 0
}

func (l *memLog) append(events []Event) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.held || l.full {
		return nil
	}
	for _, e := range events {
		if l.bytes += memBytes(e); l.bytes > l.bytesMax {
			// The write itself must not fail for a move's sake: the reader
			// is told, and the move ends.
			l.full, l.events, l.bytes = true, nil, 0
			return nil
		}
		e.Payload = slices.Clone(e.Payload)
		l.events = append(l.events, e)
	}
	return nil
}

func (l *memLog) read(from proto0500.Seq, bytesMax int) ([]Event, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.full:
		return nil, errLogFull
	case !l.held || from < l.first:
		return nil, &trimmedError{from: from, first: l.first}
	}
	// Everything before from has been shipped: nobody reads backwards.
	if n := int(from - l.first); n > 0 {
		n = min(n, len(l.events))
		for _, e := range l.events[:n] {
			l.bytes -= memBytes(e)
		}
		clear(l.events[:n])
		l.events = l.events[n:] // the next append that grows it drops the rest
		l.first += proto0500.Seq(n)
	}
	bytes := 0
	for i, e := range l.events {
		if bytes += len(e.Payload); bytes > bytesMax && i > 0 {
			return slices.Clone(l.events[:i]), nil
		}
	}
	return slices.Clone(l.events), nil
}

// memBytes is what an event takes up here.
func memBytes(e Event) int { return int(unsafe.Sizeof(e)) + len(e.Payload) }

func (l *memLog) sync() error  { return nil }
func (l *memLog) close() error { return nil }
