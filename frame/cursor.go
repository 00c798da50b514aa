package frame

import (
	"encoding/binary"
	"fmt"
)

// Cursor reads one message from front to back. It remembers its first failure and reads zeros from then on, so that a
// decoder asks once, at the end, with Done; a count or a length must be judged before it is used, with Fail.
//
// What it returns as slices is borrowed from the input, and capped.
type Cursor struct {
	rest    []byte
	total   int
	field   int // bytes that were left where the last field began
	message string
	err     error
}

// NewCursor reads b, whose name in errors is message.
func NewCursor(message string, b []byte) Cursor {
	return Cursor{rest: b, total: len(b), field: len(b), message: message}
}

// U8 reads one byte.
func (c *Cursor) U8(field string) uint8 {
	c.field = len(c.rest)
	if len(c.rest) < 1 {
		c.short(field)
		return 0
	}
	v := c.rest[0]
	c.rest = c.rest[1:]
	return v
}

// U16 reads two bytes.
func (c *Cursor) U16(field string) uint16 {
	c.field = len(c.rest)
	if len(c.rest) < 2 {
		c.short(field)
		return 0
	}
	v := binary.LittleEndian.Uint16(c.rest)
	c.rest = c.rest[2:]
	return v
}

// U32 reads four bytes.
func (c *Cursor) U32(field string) uint32 {
	c.field = len(c.rest)
	if len(c.rest) < 4 {
		c.short(field)
		return 0
	}
	v := binary.LittleEndian.Uint32(c.rest)
	c.rest = c.rest[4:]
	return v
}

// U64 reads eight bytes.
func (c *Cursor) U64(field string) uint64 {
	c.field = len(c.rest)
	if len(c.rest) < 8 {
		c.short(field)
		return 0
	}
	v := binary.LittleEndian.Uint64(c.rest)
	c.rest = c.rest[8:]
	return v
}

// Bytes borrows the next n bytes; nil when they are not there.
func (c *Cursor) Bytes(field string, n int) []byte {
	c.field = len(c.rest)
	if n < 0 || len(c.rest) < n {
		c.short(field)
		return nil
	}
	v := c.rest[:n:n]
	c.rest = c.rest[n:]
	return v
}

// Array32 copies the next 32 bytes.
func (c *Cursor) Array32(field string) (a [32]byte) {
	copy(a[:], c.Bytes(field, len(a)))
	return a
}

// Rest borrows all that is left.
func (c *Cursor) Rest() []byte {
	c.field = len(c.rest)
	v := c.rest[:len(c.rest):len(c.rest)]
	c.rest = nil
	return v
}

// Remaining is the number of bytes not read yet; 0 after a failure.
func (c *Cursor) Remaining() int { return len(c.rest) }

// Offset is the number of bytes read before the first failure.
func (c *Cursor) Offset() int { return c.total - len(c.rest) }

// Fail records that the field just read is wrong; err should wrap one of the sentinels. Only the first failure counts.
func (c *Cursor) Fail(field string, err error) { c.FailAt(field, c.total-c.field, err) }

// FailAt is Fail for a field that was read before others.
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
	if c.err == nil && len(c.rest) > 0 {
		c.field = len(c.rest)
		c.Fail("end", fmt.Errorf("%w: %d", ErrTrailing, len(c.rest)))
	}
	return c.err
}

//go:noinline
func (c *Cursor) short(field string) { c.Fail(field, ErrTruncated) }
