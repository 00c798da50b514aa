package frame

import (
	"errors"
	"fmt"
)

// What can be wrong with bytes, or with a value to encode. Match with errors.Is; the facts are in DecodeError and
// EncodeError.
var (
	ErrTruncated   = errors.New("truncated")
	ErrTrailing    = errors.New("trailing bytes")
	ErrLimit       = errors.New("over the limit")
	ErrChecksum    = errors.New("wrong checksum")
	ErrSubprotocol = errors.New("other subprotocol")
	ErrVersion     = errors.New("unknown version")
	ErrFlags       = errors.New("unknown flags")
	ErrUnknown     = errors.New("unknown discriminant")
	ErrValue       = errors.New("impossible value")
	ErrText        = errors.New("text is not UTF-8")
)

// kinds is in the order in which ErrorKind looks: an error that joins several gets the first.
var kinds = [...]struct {
	err  error
	kind string
}{
	{ErrTruncated, "truncated"},
	{ErrTrailing, "trailing"},
	{ErrLimit, "limit"},
	{ErrChecksum, "checksum"},
	{ErrSubprotocol, "subprotocol"},
	{ErrVersion, "version"},
	{ErrFlags, "flags"},
	{ErrUnknown, "unknown"},
	{ErrValue, "value"},
	{ErrText, "text"},
}

// ErrorKind names the sentinel that err wraps, for machines to read: "truncated", "trailing", "limit", "checksum",
// "subprotocol", "version", "flags", "unknown", "value", "text"; "" when it is none of them.
func ErrorKind(err error) string {
	for _, k := range kinds {
		if errors.Is(err, k.err) {
			return k.kind
		}
	}
	return ""
}

// DecodeError says where decoding stopped. Err wraps one of the sentinels.
type DecodeError struct {
	Message string // what was being decoded: "SnapshotReady", "frame", …
	Field   string // the field, in the words of the layout table
	Offset  int    // where that field begins, in bytes from the start of what was decoded
	Err     error
}

func (e *DecodeError) Error() string {
	return fmt.Sprintf("decode %s: %s at byte %d: %v", e.Message, e.Field, e.Offset, e.Err)
}

func (e *DecodeError) Unwrap() error { return e.Err }

// EncodeError says which field of a value does not fit the wire. Err wraps one of the sentinels.
type EncodeError struct {
	Message string
	Field   string
	Err     error
}

func (e *EncodeError) Error() string {
	return fmt.Sprintf("encode %s: %s: %v", e.Message, e.Field, e.Err)
}

func (e *EncodeError) Unwrap() error { return e.Err }

// OverLimit is ErrLimit with the value that was found and the most that is allowed.
func OverLimit(value, most uint64) error {
	return fmt.Errorf("%w: %d, at most %d", ErrLimit, value, most)
}
