package proto0500

import (
	"encoding/binary"
	"fmt"
	"slices"
	"unicode/utf8"

	"ferry/frame"
)

var le = binary.LittleEndian

// extend makes dst n bytes longer, and gives those bytes, which hold anything, to be filled.
func extend(dst []byte, n int) (all, added []byte) {
	at := len(dst)
	all = slices.Grow(dst, n)[:at+n]
	return all, all[at:]
}

// appendOrigin appends what most messages begin with.
func appendOrigin(dst []byte, k Kind, o Origin) []byte {
	return le.AppendUint64(append(dst, byte(k)), uint64(o))
}

// appendPair appends a message of an origin and one more number.
func appendPair(dst []byte, k Kind, o Origin, v uint64) []byte {
	return le.AppendUint64(appendOrigin(dst, k, o), v)
}

func flag(c *frame.Cursor, field string) bool {
	v := c.U8(field)
	if v > 1 {
		c.FailAt(field, c.Offset()-1, fmt.Errorf("%w: %d is neither 0 nor 1", frame.ErrValue, v))
	}
	return v == 1
}

func appendFlag(dst []byte, v bool) []byte {
	if v {
		return append(dst, 1)
	}
	return append(dst, 0)
}

// Text is UTF-8. In a decoded message it is borrowed from the message's bytes; String copies it.
type Text []byte

func (t Text) String() string { return string(t) }

func readText(c *frame.Cursor, field string, n int, lim *frame.Limits) Text {
	if n > int(lim.TextBytesMax) {
		c.Fail(field, frame.OverLimit(uint64(n), uint64(lim.TextBytesMax)))
		return nil
	}
	t := c.Bytes(field, n)
	if !utf8.Valid(t) {
		c.FailAt(field, c.Offset()-n, frame.ErrText)
		return nil
	}
	return t
}

// checkText is for encoding; lenMax is what the length field can say.
func checkText(k Kind, field string, t Text, lenMax int, lim *frame.Limits) error {
	if most := min(lenMax, int(lim.TextBytesMax)); len(t) > most {
		return overLimit(k, field, uint64(len(t)), uint64(most))
	}
	if !utf8.Valid(t) {
		return encodeError(k, field, frame.ErrText)
	}
	return nil
}

func overLimit(k Kind, field string, value, most uint64) error {
	return encodeError(k, field, frame.OverLimit(value, most))
}

func encodeError(k Kind, field string, err error) error {
	return &frame.EncodeError{Message: k.String(), Field: field, Err: err}
}

// errCountOverBytes: a count is held against the bytes that follow before anything is made of it.
var errCountOverBytes = fmt.Errorf("%w: more counted than bytes follow", frame.ErrTruncated)
