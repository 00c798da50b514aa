package proto0500

import (
	"fmt"

	"ferry/frame"
)

// Code is a failure code, a number on the wire.
type Code uint16

// Frozen: the codes of the crate.
const (
	CodeNotReady                Code = 0 // the only one worth a retry
	CodeFactoryNotFound         Code = 1
	CodeComputeNotSupported     Code = 2
	CodeStateFailed             Code = 3 // carries a text
	CodeAlreadyMigrating        Code = 4
	CodeIdentityTransportFailed Code = 5 // carries a text
	CodeNotReadyTimeout         Code = 6 // carries the number of attempts
)

func (c Code) String() string {
	switch c {
	case CodeNotReady:
		return "NotReady"
	case CodeFactoryNotFound:
		return "FactoryNotFound"
	case CodeComputeNotSupported:
		return "ComputeNotSupported"
	case CodeStateFailed:
		return "StateFailed"
	case CodeAlreadyMigrating:
		return "AlreadyMigrating"
	case CodeIdentityTransportFailed:
		return "IdentityTransportFailed"
	case CodeNotReadyTimeout:
		return "NotReadyTimeout"
	}
	return fmt.Sprintf("code(%d)", uint16(c))
}

// HasText says that the code carries a text.
func (c Code) HasText() bool { return c == CodeStateFailed || c == CodeIdentityTransportFailed }

// Reason is why a migration failed: a code and what the code carries. It is a value on the wire, not an error.
//
//	off size field
//	  0    2  code
//	  2    2  len            codes 3 and 5: of the text, 0..TextBytesMax
//	  4  len  message        codes 3 and 5: UTF-8
//	  2    1  attempts       code 6
type Reason struct {
	Code     Code
	Text     Text // codes with HasText; borrowed in a decoded message
	Attempts uint8
}

// NewReason is a reason with a text; a code that carries none drops it.
func NewReason(c Code, text string) Reason {
	if !c.HasText() {
		return Reason{Code: c}
	}
	return Reason{Code: c, Text: Text(text)}
}

// Retriable says that the same request may succeed later.
func (r Reason) Retriable() bool { return r.Code == CodeNotReady }

// Clone returns r with its own copy of the text.
func (r Reason) Clone() Reason {
	r.Text = clone(r.Text)
	return r
}

// Equal compares reasons by what they put on the wire.
func (r Reason) Equal(o Reason) bool {
	return r.Code == o.Code && string(r.Text) == string(o.Text) && r.Attempts == o.Attempts
}

func (r Reason) String() string {
	switch {
	case r.Code.HasText() && len(r.Text) > 0:
		return fmt.Sprintf("%v: %s", r.Code, r.Text)
	case r.Code == CodeNotReadyTimeout:
		return fmt.Sprintf("%v after %d attempts", r.Code, r.Attempts)
	}
	return r.Code.String()
}

func (r *Reason) read(c *frame.Cursor, lim *frame.Limits) {
	r.Code, r.Text, r.Attempts = Code(c.U16("code")), nil, 0
	switch r.Code {
	case CodeNotReady, CodeFactoryNotFound, CodeComputeNotSupported, CodeAlreadyMigrating:
	case CodeStateFailed, CodeIdentityTransportFailed:
		n := c.U16("len")
		r.Text = readText(c, "message", int(n), lim)
	case CodeNotReadyTimeout:
		r.Attempts = c.U8("attempts")
	default:
		c.FailAt("code", c.Offset()-2, fmt.Errorf("%w: code %d", frame.ErrUnknown, uint16(r.Code)))
	}
}

func (r Reason) append(dst []byte, lim *frame.Limits) ([]byte, error) {
	switch r.Code {
	case CodeNotReady, CodeFactoryNotFound, CodeComputeNotSupported, CodeAlreadyMigrating:
		return le.AppendUint16(dst, uint16(r.Code)), nil
	case CodeStateFailed, CodeIdentityTransportFailed:
		if err := checkText(KindMigrationFailed, "message", r.Text, 1<<16-1, lim); err != nil {
			return dst, err
		}
		dst = le.AppendUint16(le.AppendUint16(dst, uint16(r.Code)), uint16(len(r.Text)))
		return append(dst, r.Text...), nil
	case CodeNotReadyTimeout:
		return append(le.AppendUint16(dst, uint16(r.Code)), r.Attempts), nil
	}
	return dst, encodeError(KindMigrationFailed, "code", fmt.Errorf("%w: code %d", frame.ErrUnknown, uint16(r.Code)))
}
