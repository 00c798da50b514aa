package jsonform

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"ferry/frame"
)

// Why JSON is not the form of a message; besides these, frame.ErrValue, ErrText and ErrUnknown.
var (
	ErrMissing = errors.New("missing")
	ErrExtra   = errors.New("unknown member")
	ErrTwice   = errors.New("member twice")
	ErrSyntax  = errors.New("not the JSON that belongs here")
)

// object is a JSON object whose members are taken one by one; what is left at the end is too much. encoding/json
// alone would let a member come twice.
type object struct {
	at      string
	members map[string]json.RawMessage
}

func readObject(path string, data []byte) (*object, error) {
	o := &object{at: path, members: make(map[string]json.RawMessage)}
	dec := json.NewDecoder(bytes.NewReader(data))
	if err := expect(dec, '{'); err != nil {
		return nil, syntaxError(path, err)
	}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, syntaxError(path, err)
		}
		name := key.(string) // the decoder lets nothing else be a key
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return nil, syntaxError(o.path(name), err)
		}
		if _, twice := o.members[name]; twice {
			return nil, &FieldError{Field: o.path(name), Err: ErrTwice}
		}
		o.members[name] = raw
	}
	if err := end(dec, '}'); err != nil {
		return nil, syntaxError(path, err)
	}
	return o, nil
}

func readArray(path string, data []byte) (elements []json.RawMessage, err error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	if err := expect(dec, '['); err != nil {
		return nil, syntaxError(path, err)
	}
	for dec.More() {
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return nil, syntaxError(fmt.Sprintf("%s[%d]", path, len(elements)), err)
		}
		elements = append(elements, raw)
	}
	if err := end(dec, ']'); err != nil {
		return nil, syntaxError(path, err)
	}
	return elements, nil
}

// readText takes only what is a Unicode string: encoding/json would put U+FFFD in place of broken UTF-8 and of half a
// surrogate pair, and so another text on the wire.
func readText(path string, raw []byte) (string, error) {
	var s *string
	if err := json.Unmarshal(raw, &s); err != nil {
		return "", syntaxError(path, err)
	}
	if s == nil {
		return "", &FieldError{Field: path, Err: fmt.Errorf("%w: null", ErrSyntax)}
	}
	written := strings.Count(string(raw), "\uFFFD") + strings.Count(strings.ToLower(string(raw)), `\ufffd`)
	if !utf8.Valid(raw) || strings.Count(*s, "\uFFFD") > written {
		return "", &FieldError{Field: path, Err: frame.ErrText}
	}
	return *s, nil
}

func (o *object) path(name string) string {
	if o.at == "" {
		return name
	}
	return o.at + "." + name
}

func (o *object) take(name string) (json.RawMessage, error) {
	raw, ok := o.members[name]
	if !ok {
		return nil, &FieldError{Field: o.path(name), Err: ErrMissing}
	}
	delete(o.members, name)
	return raw, nil
}

func (o *object) text(name string) (string, error) {
	raw, err := o.take(name)
	if err != nil {
		return "", err
	}
	return readText(o.path(name), raw)
}

func (o *object) done() error {
	var left []string
	for name := range o.members {
		left = append(left, name)
	}
	if len(left) == 0 {
		return nil
	}
	return &FieldError{Field: o.path(slices.Min(left)), Err: ErrExtra}
}

func expect(dec *json.Decoder, d json.Delim) error {
	t, err := dec.Token()
	if err != nil {
		return err
	}
	if t != d {
		return fmt.Errorf("%v, not %v", t, d)
	}
	return nil
}

func end(dec *json.Decoder, d json.Delim) error {
	if err := expect(dec, d); err != nil {
		return err
	}
	if _, err := dec.Token(); err != io.EOF {
		return errors.New("more after the end")
	}
	return nil
}

func syntaxError(path string, err error) error {
	if path == "" {
		path = "top"
	}
	return &FieldError{Field: path, Err: fmt.Errorf("%w: %w", ErrSyntax, err)}
}
