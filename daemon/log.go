package daemon

import (
	"errors"
	"fmt"

	"ferry/proto0500"
)

// eventLog is where a replica's accepted events are kept, in chain order.
// append is called from one goroutine; read and head from any.
type eventLog interface {
	// append adds events that follow the head. They are durable when it returns
	// if the log is.
	append(events []Event) error
	// read gives events from seq on: about bytesMax bytes of payload, at least
	// one event where there is one. The events are the caller's.
	read(from proto0500.Seq, bytesMax int) ([]Event, error)
	// sync returns when all that was appended survives a crash.
	sync() error
	close() error
}

// errLogFull ends a move whose target falls behind further than an in-memory
// log can hold. Nothing is lost by it: the source serves on.
var errLogFull = errors.New("daemon: in-memory event log is full")

// ownLog is the log of a Durable daemon, which keeps its events itself: Apply
// is the append.
type ownLog struct{ d Durable }

func (l ownLog) append([]Event) error { return nil }

func (l ownLog) read(from proto0500.Seq, bytesMax int) ([]Event, error) {
	return l.d.Events(from, bytesMax)
}
func (l ownLog) sync() error  { return l.d.Sync() }
func (l ownLog) close() error { return nil }

// trimmedError: events were asked for that a checkpoint has replaced.
type trimmedError struct{ from, first proto0500.Seq }

func (e *trimmedError) Error() string {
	return fmt.Sprintf("daemon: events from %d are gone from the log, which begins at %d", e.from, e.first)
}
