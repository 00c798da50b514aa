package frame

import (
	"encoding/binary"
	"fmt"
)

// Cursor reads one message from front to back. It remembers its first failure and reads zeros from then on, so that a
// decoder asks once, at the end, with Done; a count or a length must be judged before it is used, with Fail.
//
// What it returns as slices is borrowed from the input, and capped.
//
// The methods are written to stay within the compiler's budget for inlining, which makes decoding several times faster:
// field then costs nothing until it is missing.
type Cursor struct {
	rest    []byte
	total   int
	message string
	err     error
}

// NewCursor reads b, whose name in errors is message.
func NewCursor(message string, b []byte) Cursor {
	return Cursor{rest: b, total: len(b), message: message}
}

// Reset is NewCursor in place, for decoders that count nanoseconds: a Cursor that is copied right after it was made
// makes the processor wait for its own stores.
func (c *Cursor) Reset(message string, b []byte) {
	c.rest, c.total, c.message, c.err = b, len(b), message, nil
}

// U8 reads one byte.
func (c *Cursor) U8(field string) (v uint8) {
	if len(c.rest) < 1 {
		c.short(field)
		return
	}
	v, c.rest = c.rest[0], c.rest[1:]
	return
}

// U16 reads two bytes.
func (c *Cursor) U16(field string) (v uint16) {
	if len(c.rest) < 2 {
		c.short(field)
		return
	}
	v, c.rest = binary.LittleEndian.Uint16(c.rest), c.rest[2:]
	return
}

// U32 reads four bytes.
func (c *Cursor) U32(field string) (v uint32) {
	if len(c.rest) < 4 {
		c.short(field)
		return
	}
	v, c.rest = binary.LittleEndian.Uint32(c.rest), c.rest[4:]
	return
}

// U64 reads eight bytes.
func (c *Cursor) U64(field string) (v uint64) {
	if len(c.rest) < 8 {
		c.short(field)
		return
	}
	v, c.rest = binary.LittleEndian.Uint64(c.rest), c.rest[8:]
	return
}

// Bytes borrows the next n bytes; nil when they are not there.
func (c *Cursor) Bytes(field string, n int) (v []byte) {
	if uint(n) <= uint(len(c.rest)) {
		v, c.rest = c.rest[:n:n], c.rest[n:]
	} else {
		c.short(field)
	}
	return
}

// Array32 copies the next 32 bytes.
func (c *Cursor) Array32(field string) (a [32]byte) {
	copy(a[:], c.Bytes(field, len(a)))
	return a
}

// Expect reads one byte that must be want; another is ErrUnknown.
func (c *Cursor) Expect(field string, want uint8) {
	if len(c.rest) > 0 && c.rest[0] == want {
		c.rest = c.rest[1:]
	} else {
		c.unexpected(field)
	}
}

// Rest borrows all that is left.
func (c *Cursor) Rest() []byte {
	v := c.rest[:len(c.rest):len(c.rest)]
	c.rest = nil
	return v
}

// Remaining is the number of bytes not read yet; 0 after a failure.
func (c *Cursor) Remaining() int { return len(c.rest) }

// Offset is the number of bytes read before the first failure.
func (c *Cursor) Offset() int { return c.total - len(c.rest) }

// Fail records that something is wrong with what begins where the cursor stands; err should wrap one of the sentinels.
// Only the first failure counts.
func (c *Cursor) Fail(field string, err error) { c.FailAt(field, c.Offset(), err) }

// FailAt is Fail for a field that begins at offset: one that was read already.
func (c *Cursor) FailAt(field string, offset int, err error) {
	if c.err == nil {
		c.err = &DecodeError{Message: c.message, Field: field, Offset: offset, Err: err}
	}
	c.rest, c.total = nil, c.Offset()
}

// Err is the first failure so far.
func (c *Cursor) Err() error { return c.err }

// Done is the first failure, or ErrTrailing when bytes are left.
func (c *Cursor) Done() error {
	if len(c.rest) > 0 {
		c.trailing()
	}
	return c.err
}

//go:noinline
func (c *Cursor) short(field string) { c.Fail(field, ErrTruncated) }

//go:noinline
func (c *Cursor) unexpected(field string) {
	if len(c.rest) == 0 {
		c.Fail(field, ErrTruncated)
		return
	}
	c.Fail(field, fmt.Errorf("%w: %d", ErrUnknown, c.rest[0]))
}

//go:noinline
func (c *Cursor) trailing() { c.Fail("end", fmt.Errorf("%w: %d", ErrTrailing, len(c.rest))) }
