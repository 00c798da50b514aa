package jsonform

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"unicode/utf8"

	"ferry/frame"
	"ferry/proto0500"
)

// Marshal writes m on one line, its fields in wire order. A text that is not UTF-8 and a reason with an unknown code
// have no JSON form, and are an error.
func Marshal(m proto0500.Message) ([]byte, error) {
	b := append([]byte(`{"message":`), strconv.Quote(m.Kind().String())...)
	b, err := appendStruct(append(b, `,"fields":`...), "fields", reflect.ValueOf(m))
	if err != nil {
		return nil, err
	}
	return append(b, '}'), nil
}

func appendStruct(b []byte, path string, v reflect.Value) ([]byte, error) {
	b = append(b, '{')
	for i := range v.NumField() {
		name := wireName(v.Type().Field(i).Name)
		if i > 0 {
			b = append(b, ',')
		}
		b = append(strconv.AppendQuote(b, name), ':')
		var err error
		if b, err = appendValue(b, path+"."+name, v.Field(i)); err != nil {
			return nil, err
		}
	}
	return append(b, '}'), nil
}

func appendValue(b []byte, path string, v reflect.Value) ([]byte, error) {
	switch x := v.Interface().(type) {
	case proto0500.Text:
		return appendText(b, path, x)
	case proto0500.Reason:
		return appendReason(b, path, x)
	case proto0500.Events:
		return appendList(b, path, x.All())
	case proto0500.Ranges:
		return appendList(b, path, x.All())
	case proto0500.Counters:
		return appendList(b, path, x.All())
	case proto0500.ChunkDigests:
		return appendList(b, path, x.All())
	}
	switch v.Kind() {
	case reflect.Uint64:
		return append(strconv.AppendUint(append(b, '"'), v.Uint(), 10), '"'), nil
	case reflect.Uint8, reflect.Uint16, reflect.Uint32:
		return strconv.AppendUint(b, v.Uint(), 10), nil
	case reflect.Bool:
		if v.Bool() {
			return append(b, '1'), nil
		}
		return append(b, '0'), nil
	case reflect.Slice:
		return append(hex.AppendEncode(append(b, '"'), v.Bytes()), '"'), nil
	case reflect.Array:
		b = append(b, '"')
		for i := range v.Len() {
			b = hex.AppendEncode(b, []byte{byte(v.Index(i).Uint())})
		}
		return append(b, '"'), nil
	case reflect.Struct:
		return appendStruct(b, path, v)
	}
	panic(fmt.Sprintf("jsonform: no form for %v", v.Type()))
}

func appendList[T any](b []byte, path string, all func(func(T) bool)) ([]byte, error) {
	b = append(b, '[')
	i := 0
	for x := range all {
		if i > 0 {
			b = append(b, ',')
		}
		var err error
		if b, err = appendValue(b, fmt.Sprintf("%s[%d]", path, i), reflect.ValueOf(x)); err != nil {
			return nil, err
		}
		i++
	}
	return append(b, ']'), nil
}

// appendReason adds the code's name, which is redundant, and only what the code carries.
func appendReason(b []byte, path string, r proto0500.Reason) ([]byte, error) {
	if r.Code > proto0500.CodeNotReadyTimeout {
		return nil, &FieldError{Field: path + ".code", Err: fmt.Errorf("%w: %v", frame.ErrUnknown, r.Code)}
	}
	b = fmt.Appendf(b, `{"code":%d,"variant":%q`, uint16(r.Code), r.Code.String())
	if r.Code.HasText() {
		var err error
		if b, err = appendText(append(b, `,"message":`...), path+".message", r.Text); err != nil {
			return nil, err
		}
	}
	if r.Code == proto0500.CodeNotReadyTimeout {
		b = fmt.Appendf(b, `,"attempts":%d`, r.Attempts)
	}
	return append(b, '}'), nil
}

func appendText(b []byte, path string, t proto0500.Text) ([]byte, error) {
	if !utf8.Valid(t) {
		return nil, &FieldError{Field: path, Err: frame.ErrText}
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(string(t)); err != nil {
		return nil, &FieldError{Field: path, Err: err}
	}
	return append(b, bytes.TrimSuffix(buf.Bytes(), []byte("\n"))...), nil
}
