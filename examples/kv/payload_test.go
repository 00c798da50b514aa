package kv

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func TestPayload(t *testing.T) {
	for _, c := range []struct {
		name       string
		op         Op
		key, value string
		hex        string
	}{
		{"put", OpPut, "k", "value", "\x01\x01\x00kvalue"},
		{"put empty", OpPut, "key", "", "\x01\x03\x00key"},
		{"delete", OpDelete, "ab", "", "\x02\x02\x00ab"},
		{"longest key", OpPut, strings.Repeat("x", 1024), "v", "\x01\x00\x04" + strings.Repeat("x", 1024) + "v"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := EncodePut([]byte(c.key), []byte(c.value))
			if c.op == OpDelete {
				got, err = EncodeDelete([]byte(c.key))
			}
			if err != nil || string(got) != c.hex {
				t.Fatalf("encoded to %q, %v", got, err)
			}
			cmd, err := Decode(got)
			if err != nil {
				t.Fatal(err)
			}
			if cmd.Op != c.op || string(cmd.Key) != c.key || string(cmd.Value) != c.value || (cmd.Value == nil) != (c.op == OpDelete) {
				t.Errorf("decoded to %v %q %q", cmd.Op, cmd.Key, cmd.Value)
			}
		})
	}
}

func TestPayloadRefused(t *testing.T) {
	for _, c := range []struct {
		name, field, payload string
		err                  error
	}{
		{"nothing", "head", "", ErrTruncated},
		{"half a head", "head", "\x01\x01", ErrTruncated},
		{"op 0", "op", "\x00\x01\x00k", ErrOp},
		{"op 3", "op", "\x03\x01\x00k", ErrOp},
		{"no key", "key_len", "\x01\x00\x00v", ErrKeySize},
		{"key too long", "key_len", "\x01\x01\x04" + strings.Repeat("x", 1025), ErrKeySize},
		{"key cut", "key", "\x01\x04\x00key", ErrTruncated},
		{"delete with a value", "value", "\x02\x01\x00kv", ErrTrailing},
		{"value too long", "value", "\x01\x01\x00k" + strings.Repeat("v", ValueBytesMax+1), ErrValueSize},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Decode([]byte(c.payload))
			pe, ok := errors.AsType[*PayloadError](err)
			if !ok || pe.Field != c.field || !errors.Is(err, c.err) {
				t.Errorf("got %v, want %v in %s", err, c.err, c.field)
			}
		})
	}
	for _, key := range []string{"", strings.Repeat("x", 1025)} {
		if _, err := EncodePut([]byte(key), nil); !errors.Is(err, ErrKeySize) {
			t.Errorf("EncodePut with a key of %d: %v", len(key), err)
		}
		if _, err := EncodeDelete([]byte(key)); !errors.Is(err, ErrKeySize) {
			t.Errorf("EncodeDelete with a key of %d: %v", len(key), err)
		}
	}
	if _, err := EncodePut([]byte("k"), make([]byte, ValueBytesMax+1)); !errors.Is(err, ErrValueSize) {
		t.Errorf("value over the limit: %v", err)
	}
	p, err := EncodePut(bytes.Repeat([]byte("k"), KeyBytesMax), make([]byte, ValueBytesMax))
	if err != nil || len(p) != PayloadBytesMax {
		t.Errorf("the largest payload has %d bytes, %v", len(p), err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte("\x01\x01\x00kv"))
	f.Add([]byte("\x02\x02\x00ab"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := Decode(b)
		if err != nil {
			if _, ok := errors.AsType[*PayloadError](err); !ok {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		again, err := EncodePut(c.Key, c.Value)
		if c.Op == OpDelete {
			again, err = EncodeDelete(c.Key)
		}
		if err != nil || !bytes.Equal(again, b) {
			t.Fatalf("%x became %x, %v", b, again, err)
		}
	})
}
