package snapshot

import (
	"errors"
	"fmt"

	"ferry/frame"
	"ferry/proto0500"
)

// What can be wrong with a snapshot or one of its chunks, besides what frame's sentinels say. Match with errors.Is.
var (
	// ErrTooLarge: the snapshot does not fit the version, the limits, or what the target takes.
	ErrTooLarge = fmt.Errorf("snapshot too large: %w", frame.ErrLimit)
	// ErrMismatch: a chunk, or a whole snapshot, is not the one that was announced.
	ErrMismatch = fmt.Errorf("not what was announced: %w", frame.ErrValue)
	// ErrConflict: a chunk came a second time with other bytes.
	ErrConflict = errors.New("chunk sent twice with different bytes")
	// ErrStale: a chunk of an older snapshot than one already begun.
	ErrStale = errors.New("older than a snapshot already begun")
	// ErrIncomplete: there are still chunks missing.
	ErrIncomplete = errors.New("snapshot incomplete")
	// ErrDigest: every chunk is there, and they are not those that were sent.
	ErrDigest = errors.New("wrong transfer digest")
	// ErrNotHeld: a chunk sent by its digest is not among those the target has, or is another one by now.
	ErrNotHeld = errors.New("no chunk of this digest is held")
)

// ChunkError says which chunk was refused, and for which of its fields. Err wraps a sentinel of this package or of
// frame, or is the error of the file that was to take the chunk.
type ChunkError struct {
	Origin     proto0500.Origin
	SeqThrough proto0500.Seq
	Index      uint32
	Field      string // as in SnapshotReady, or in Chunk
	Err        error
}

func (e *ChunkError) Error() string {
	return fmt.Sprintf("chunk %d of snapshot %d of daemon %016x: %s: %v",
		e.Index, uint64(e.SeqThrough), uint64(e.Origin), e.Field, e.Err)
}

func (e *ChunkError) Unwrap() error { return e.Err }

// refuse describes the chunk m. It takes the fields one by one, so that a caller's message need not escape.
func refuse(m *proto0500.SnapshotReady, field string, err error) error {
	return &ChunkError{Origin: m.DaemonOrigin, SeqThrough: m.SeqThrough, Index: m.ChunkIndex, Field: field, Err: err}
}
