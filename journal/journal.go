// Package journal keeps the few records that must survive a crash: per daemon
// and node the highest epoch and who the authority is, and the orchestrator's
// intents and outcomes (safety.md section 2).
//
// There is no delete, on purpose. A node keeps the highest epoch it saw for
// ever, also after the daemon has moved away: with the record gone, a stale
// prepare of an attempt long over would be taken for a new one, and two nodes
// could become the authority (safety.md section 8, R2). A record has about 100
// bytes, so keeping them costs little.
package journal

import (
	"errors"
	"fmt"
)

// Limits of every journal.
const (
	KeyBytesMin   = 1
	KeyBytesMax   = 255
	ValueBytesMax = 64 << 10
)

var (
	// ErrNotFound: there is no record with this key.
	ErrNotFound = errors.New("journal: no such record")
	// ErrClosed: the journal has been closed.
	ErrClosed = errors.New("journal: closed")
	// ErrLimit matches every *LimitError.
	ErrLimit = errors.New("journal: limit exceeded")
)

// Journal is a small durable map. Implementations are safe for concurrent use
// and pass journaltest.Run.
type Journal interface {
	// Get gives the value last put under the key, or ErrNotFound. The slice is
	// the caller's. An empty value comes back empty and not nil.
	Get(key []byte) ([]byte, error)

	// Put writes a record as a whole. When it returns nil the record survives
	// a crash. When it returns another error than a *LimitError or ErrClosed,
	// which change nothing, either the old or the new value is there, now and
	// after a restart, and never a mixture: the caller must not assume one.
	// Key and value are copied.
	Put(key, value []byte) error

	// Range calls fn for each record whose key begins with the prefix, in
	// ascending order of the bytes of the keys; an empty prefix means all. The
	// records are those of one moment at the start of the call; they are all
	// held in memory meanwhile. fn owns what it is given and may use the
	// journal. An error from fn ends Range and is returned as it is.
	Range(prefix []byte, fn func(key, value []byte) error) error

	// Close waits for the calls under way. The second and later Close do
	// nothing; every other call after it gives ErrClosed.
	Close() error
}

// LimitError: a key or value that no journal takes. Nothing was written.
type LimitError struct {
	Field    string // "key" or "value"
	Bytes    int
	Min, Max int
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("journal: %s of %d bytes, allowed are %d to %d", e.Field, e.Bytes, e.Min, e.Max)
}

// Is makes errors.Is(err, ErrLimit) true.
func (e *LimitError) Is(target error) bool { return target == ErrLimit }

// CheckKey gives a *LimitError for a key that no journal takes. Implementations
// call it in Get and, by way of CheckPut, in Put.
func CheckKey(key []byte) error {
	if len(key) < KeyBytesMin || len(key) > KeyBytesMax {
		return &LimitError{Field: "key", Bytes: len(key), Min: KeyBytesMin, Max: KeyBytesMax}
	}
	return nil
}

// CheckPut gives a *LimitError for a record that no journal takes.
func CheckPut(key, value []byte) error {
	if err := CheckKey(key); err != nil {
		return err
	}
	if len(value) > ValueBytesMax {
		return &LimitError{Field: "value", Bytes: len(value), Max: ValueBytesMax}
	}
	return nil
}
