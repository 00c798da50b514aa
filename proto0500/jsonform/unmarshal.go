package jsonform

import (
	"encoding/hex"
	"fmt"
	"reflect"
	"strconv"

	"ferry/frame"
	"ferry/proto0500"
)

// Unmarshal reads what Marshal writes, in any order of members. It does not judge limits: Append does.
func Unmarshal(data []byte) (proto0500.Message, error) {
	top, err := readObject("", data)
	if err != nil {
		return nil, err
	}
	name, err := top.text("message")
	if err != nil {
		return nil, err
	}
	typ, ok := messages[name]
	if !ok {
		return nil, &FieldError{Field: "message", Err: fmt.Errorf("%w: %q", frame.ErrUnknown, name)}
	}
	fields, err := top.take("fields")
	if err != nil {
		return nil, err
	}
	m := reflect.New(typ).Elem()
	if err := readStruct("fields", fields, m); err != nil {
		return nil, err
	}
	if err := top.done(); err != nil {
		return nil, err
	}
	return m.Interface().(proto0500.Message), nil
}

func readStruct(path string, data []byte, v reflect.Value) error {
	o, err := readObject(path, data)
	if err != nil {
		return err
	}
	for i := range v.NumField() {
		name := wireName(v.Type().Field(i).Name)
		raw, err := o.take(name)
		if err != nil {
			return err
		}
		if err := readValue(o.path(name), raw, v.Field(i)); err != nil {
			return err
		}
	}
	return o.done()
}

func readValue(path string, raw []byte, v reflect.Value) error {
	switch x := v.Addr().Interface().(type) {
	case *proto0500.Text:
		s, err := readText(path, raw)
		*x = proto0500.Text(s)
		return err
	case *proto0500.Reason:
		return readReason(path, raw, x)
	case *proto0500.Events:
		list, err := readList[proto0500.Event](path, raw)
		*x = proto0500.EventsOf(list...)
		return err
	case *proto0500.Ranges:
		list, err := readList[proto0500.Range](path, raw)
		*x = proto0500.RangesOf(list...)
		return err
	case *proto0500.Counters:
		list, err := readList[proto0500.CounterValue](path, raw)
		*x = proto0500.CountersOf(list...)
		return err
	case *proto0500.ChunkDigests:
		list, err := readList[[proto0500.ChunkDigestBytes]byte](path, raw)
		*x = proto0500.ChunkDigestsOf(list...)
		return err
	}
	switch v.Kind() {
	case reflect.Uint64:
		s, err := readText(path, raw)
		if err != nil {
			return err
		}
		n, err := readUint(path, s, 64)
		v.SetUint(n)
		return err
	case reflect.Uint8, reflect.Uint16, reflect.Uint32:
		n, err := readUint(path, string(raw), v.Type().Bits())
		v.SetUint(n)
		return err
	case reflect.Bool:
		n, err := readUint(path, string(raw), 1)
		v.SetBool(n == 1)
		return err
	case reflect.Slice:
		b, err := readHex(path, raw)
		v.SetBytes(b)
		return err
	case reflect.Array:
		b, err := readHex(path, raw)
		if err != nil {
			return err
		}
		if len(b) != v.Len() {
			return &FieldError{Field: path, Err: fmt.Errorf("%w: %d bytes, not %d", frame.ErrValue, len(b), v.Len())}
		}
		reflect.Copy(v, reflect.ValueOf(b))
		return nil
	case reflect.Struct:
		return readStruct(path, raw, v)
	}
	panic(fmt.Sprintf("jsonform: no form for %v", v.Type()))
}

func readList[T any](path string, raw []byte) ([]T, error) {
	elements, err := readArray(path, raw)
	if err != nil {
		return nil, err
	}
	list := make([]T, len(elements))
	for i, raw := range elements {
		if err := readValue(fmt.Sprintf("%s[%d]", path, i), raw, reflect.ValueOf(&list[i]).Elem()); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func readReason(path string, raw []byte, r *proto0500.Reason) error {
	o, err := readObject(path, raw)
	if err != nil {
		return err
	}
	code, err := o.take("code")
	if err != nil {
		return err
	}
	n, err := readUint(o.path("code"), string(code), 16)
	if err != nil {
		return err
	}
	*r = proto0500.Reason{Code: proto0500.Code(n)}
	if r.Code > proto0500.CodeNotReadyTimeout {
		return &FieldError{Field: o.path("code"), Err: fmt.Errorf("%w: %d", frame.ErrUnknown, n)}
	}
	variant, err := o.text("variant")
	if err != nil {
		return err
	}
	if variant != r.Code.String() {
		err := fmt.Errorf("%w: %q for code %d, which is %v", frame.ErrValue, variant, n, r.Code)
		return &FieldError{Field: o.path("variant"), Err: err}
	}
	if r.Code.HasText() {
		s, err := o.text("message")
		if err != nil {
			return err
		}
		r.Text = proto0500.Text(s)
	}
	if r.Code == proto0500.CodeNotReadyTimeout {
		raw, err := o.take("attempts")
		if err != nil {
			return err
		}
		n, err := readUint(o.path("attempts"), string(raw), 8)
		if err != nil {
			return err
		}
		r.Attempts = uint8(n)
	}
	return o.done()
}

// readUint takes the one way to write a number: no sign, point, exponent or leading zero.
func readUint(path, s string, bits int) (uint64, error) {
	n, err := strconv.ParseUint(s, 10, bits)
	if err == nil && strconv.FormatUint(n, 10) == s {
		return n, nil
	}
	return 0, &FieldError{Field: path, Err: fmt.Errorf("%w: %.40q is not an integer of %d bits", frame.ErrValue, s, bits)}
}

func readHex(path string, raw []byte) ([]byte, error) {
	s, err := readText(path, raw)
	if err != nil {
		return nil, err
	}
	b, err := hex.DecodeString(s)
	if err != nil || hex.EncodeToString(b) != s {
		return nil, &FieldError{Field: path, Err: fmt.Errorf("%w: not lower-case hex", frame.ErrValue)}
	}
	return b, nil
}
