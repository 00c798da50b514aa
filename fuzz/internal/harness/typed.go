package harness

import (
	"errors"
	"testing"

	"ferry/frame"
)

// Typed holds an error about size bytes to what is promised of it: a kind, a field, and a place in the bytes. It is no
// t.Helper: that would cost more than many a decode.
func Typed(t *testing.T, err error, size int) *frame.DecodeError {
	e, ok := errors.AsType[*frame.DecodeError](err)
	if !ok {
		t.Fatalf("%T is no DecodeError: %v", err, err)
	}
	if frame.ErrorKind(err) == "" || e.Message == "" || e.Field == "" || e.Offset < 0 || e.Offset > size {
		t.Fatalf("kind %q, message %q, field %q, offset %d of %d: %v", frame.ErrorKind(err), e.Message, e.Field, e.Offset, size, err)
	}
	return e
}

// LimitsOf gives one of the two sets of limits that nodes have.
func LimitsOf(ours bool) frame.Limits {
	if ours {
		return frame.Default()
	}
	return frame.NetMesh()
}
