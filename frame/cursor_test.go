package frame

import (
	"errors"
	"testing"
)

func TestCursor(t *testing.T) {
	b := []byte{1, 2, 0, 3, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 'a', 'b', 'c'}
	c := NewCursor("m", b)
	c.Expect("discriminant", 1)
	if c.U16("u16") != 2 || c.U32("u32") != 3 || c.U64("u64") != 4 || c.U8("u8") != 'a' || c.Offset() != 16 || c.Remaining() != 2 {
		t.Errorf("at %d: %v", c.Offset(), c.Err())
	}
	bytes := c.Bytes("bytes", 1)
	if string(bytes) != "b" || cap(bytes) != 1 {
		t.Errorf("%q of %d", bytes, cap(bytes))
	}
	if rest := c.Rest(); string(rest) != "c" || cap(rest) != 1 || c.Done() != nil {
		t.Errorf("%q, %v", rest, c.Done())
	}
	c.Reset("m", b)
	if a := c.Array32("array"); a != [32]byte{} || !errors.Is(c.Done(), ErrTruncated) {
		t.Errorf("%v, %v", a, c.Done())
	}
}

// TestCursorRemembersItsFirstFailure, whatever is read after it.
func TestCursorRemembersItsFirstFailure(t *testing.T) {
	reads := map[string]func(c *Cursor){
		"u8":           func(c *Cursor) { c.U8("u8"); c.U8("u8") },
		"u16":          func(c *Cursor) { c.U16("u16") },
		"u32":          func(c *Cursor) { c.U32("u32") },
		"u64":          func(c *Cursor) { c.U64("u64") },
		"bytes":        func(c *Cursor) { c.Bytes("bytes", 2) },
		"negative":     func(c *Cursor) { c.Bytes("negative", -1) },
		"discriminant": func(c *Cursor) { c.Expect("discriminant", 9) },
		"judged":       func(c *Cursor) { c.FailAt("judged", 1, ErrValue) },
	}
	offsets := map[string]int{"u8": 2, "judged": 1}
	for name, read := range reads {
		c := NewCursor("m", []byte{7, 8})
		c.U8("first")
		if _, ok := offsets[name]; !ok {
			offsets[name] = 1
		}
		read(&c)
		if c.U8("later") != 0 || c.U64("later") != 0 || c.Bytes("later", 1) != nil || c.Remaining() != 0 {
			t.Errorf("%s: reads on", name)
		}
		c.Fail("later", ErrLimit)
		de, ok := errors.AsType[*DecodeError](c.Done())
		if !ok || de.Message != "m" || de.Field != name || de.Offset != offsets[name] || de != c.Err() {
			t.Errorf("%s: %#v", name, c.Done())
		}
	}
}

func TestCursorTrailing(t *testing.T) {
	c := NewCursor("m", make([]byte, 5))
	c.U16("field")
	if de, ok := errors.AsType[*DecodeError](c.Done()); !ok || de.Offset != 2 || !errors.Is(de, ErrTrailing) {
		t.Errorf("%v", c.Done())
	}
}

func TestCursorOfNothing(t *testing.T) {
	c := NewCursor("m", nil)
	c.Expect("discriminant", 1)
	if de, ok := errors.AsType[*DecodeError](c.Done()); !ok || de.Offset != 0 || de.Field != "discriminant" || !errors.Is(de, ErrTruncated) {
		t.Errorf("%v", c.Done())
	}
}
