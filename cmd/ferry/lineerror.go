package main

import (
	"encoding/json"
	"errors"
	"fmt"

	"ferry/frame"
	"ferry/proto0500/jsonform"
)

// lineError is what a filter answers to a bad line.
type lineError struct {
	Error  string `json:"error"`
	Kind   string `json:"kind"`   // for machines: see errorKind
	Field  string `json:"field"`  // in the words of the layout table, or a path in the JSON; "" when it is none
	Offset *int   `json:"offset"` // where the field begins in the bytes, or where the JSON ends to be JSON; null when it has no place
}

var (
	errHex  = errors.New("not hex")
	errJSON = errors.New("not JSON")
)

// inputError is an error of the line itself, before there is a message.
type inputError struct {
	field  string
	offset int
	err    error
}

func (e *inputError) Error() string {
	return fmt.Sprintf("%s at byte %d: %v", e.field, e.offset, e.err)
}
func (e *inputError) Unwrap() error { return e.err }

// errorKind names what is wrong: the words of frame.ErrorKind ("truncated", "trailing", "limit", …) and besides them
// "hex", "json", "missing", "extra", "twice"; "other" for anything else.
func errorKind(err error) string {
	for _, k := range []struct {
		err  error
		kind string
	}{
		{errLineTooLong, "limit"},
		{errHex, "hex"},
		{errJSON, "json"},
		{jsonform.ErrSyntax, "json"},
		{jsonform.ErrMissing, "missing"},
		{jsonform.ErrExtra, "extra"},
		{jsonform.ErrTwice, "twice"},
	} {
		if errors.Is(err, k.err) {
			return k.kind
		}
	}
	if kind := frame.ErrorKind(err); kind != "" {
		return kind
	}
	return "other"
}

func appendLineError(dst []byte, err error) []byte {
	e := lineError{Error: oneLine(err.Error()), Kind: errorKind(err)}
	if in, ok := errors.AsType[*inputError](err); ok {
		e.Field, e.Offset = in.field, &in.offset
	} else if dec, ok := errors.AsType[*frame.DecodeError](err); ok {
		e.Field, e.Offset = dec.Field, &dec.Offset
	} else if enc, ok := errors.AsType[*frame.EncodeError](err); ok {
		e.Field = enc.Field
	} else if field, ok := errors.AsType[*jsonform.FieldError](err); ok {
		e.Field = field.Field
	}
	text, err := json.Marshal(e)
	if err != nil {
		panic("ferry: a lineError has no JSON: " + err.Error()) // three strings and a number
	}
	return append(dst, text...)
}
