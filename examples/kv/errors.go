package kv

import (
	"errors"
	"fmt"

	"ferry/proto0500"
)

var (
	// ErrClosed: the store was closed, or its state was moved away.
	ErrClosed = errors.New("kv: store closed")
	// ErrNotEmpty: Restore on a store that has events already.
	ErrNotEmpty = errors.New("kv: restore into a store that has events")
)

// CorruptError says that a file is not the store it should be: What names the
// part that was looked at.
type CorruptError struct {
	What string
	Err  error
}

func (e *CorruptError) Error() string { return fmt.Sprintf("kv: %s: %v", e.What, e.Err) }
func (e *CorruptError) Unwrap() error { return e.Err }

// DigestError says that the entries of a store do not make the content that the
// store says it has.
type DigestError struct{ Said, Counted Content }

func (e *DigestError) Error() string {
	return fmt.Sprintf("kv: state does not match its digest: counted %d keys with sum %016x, the store says %d with %016x",
		e.Counted.Keys, e.Counted.Sum, e.Said.Keys, e.Said.Sum)
}

// OriginError says that a file belongs to another daemon.
type OriginError struct{ Got, Want proto0500.Origin }

func (e *OriginError) Error() string {
	return fmt.Sprintf("kv: store of daemon %016x, not %016x", uint64(e.Got), uint64(e.Want))
}

// EventError says which event could not be applied. Nothing of its batch was.
type EventError struct {
	Seq proto0500.Seq
	Err error
}

func (e *EventError) Error() string { return fmt.Sprintf("kv: event %d: %v", e.Seq, e.Err) }
func (e *EventError) Unwrap() error { return e.Err }
