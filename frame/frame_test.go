package frame

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/cespare/xxhash/v2"
)

// golden reads the annotated hex of one frame: a TakeSnapshot in epoch 42.
func golden(t testing.TB) []byte {
	t.Helper()
	text, err := os.ReadFile("testdata/frame.txt")
	if err != nil {
		t.Fatal(err)
	}
	var digits strings.Builder
	for line := range strings.Lines(string(text)) {
		hexDigits, _, _ := strings.Cut(line, " ")
		if !strings.HasPrefix(line, "#") {
			digits.WriteString(strings.TrimSpace(hexDigits))
		}
	}
	b, err := hex.DecodeString(digits.String())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestGoldenFrame(t *testing.T) {
	lim := Default()
	b := golden(t)
	// The checksum by its definition, not by this package.
	want := xxhash.Sum64(append(bytes.Clone(b[:16]), b[HeaderBytes:]...))
	f, rest, err := Parse(append(bytes.Clone(b), "rest"...), &lim)
	if err != nil || string(rest) != "rest" {
		t.Fatalf("%q, %v", rest, err)
	}
	if f.Header() != (Header{Length: 17, Epoch: 42, Checksum: want}) || f.Epoch() != 42 || !bytes.Equal(f.Message(), b[HeaderBytes:]) {
		t.Errorf("%+v, message %x", f.Header(), f.Message())
	}
	if cap(f.Message()) != len(f.Message()) {
		t.Error("the message can grow into the next frame")
	}
	dst, err := Append([]byte("before"), 42, b[HeaderBytes:], &lim)
	if err != nil || !bytes.Equal(dst, append([]byte("before"), b...)) {
		t.Errorf("appended %x, %v", dst, err)
	}
	buf := append(Begin([]byte("before")), b[HeaderBytes:]...)
	if err := Finish(buf, len("before"), 42, &lim); err != nil || !bytes.Equal(buf, dst) {
		t.Errorf("finished %x, %v", buf, err)
	}
	for i := 0; i <= 17; i++ {
		head, err := AppendSplit(nil, 42, b[HeaderBytes:HeaderBytes+i], b[HeaderBytes+i:], &lim)
		if err != nil || !bytes.Equal(head, b[:HeaderBytes+i]) {
			t.Errorf("split at %d: %x, %v", i, head, err)
		}
		if err := f.Header().Verify(head[HeaderBytes:], b[HeaderBytes+i:]); err != nil {
			t.Errorf("split at %d: %v", i, err)
		}
	}
}

// TestEveryDamage: a frame is refused whatever bit of it changes and wherever it is cut.
func TestEveryDamage(t *testing.T) {
	lim := Default()
	b := golden(t)
	for n := range b {
		_, rest, err := Parse(b[:n], &lim)
		if !errors.Is(err, ErrTruncated) || len(rest) != n {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	for bit := range 8 * len(b) {
		bad := bytes.Clone(b)
		bad[bit/8] ^= 1 << (bit % 8)
		_, _, err := Parse(bad, &lim)
		if de, ok := errors.AsType[*DecodeError](err); !ok || de.Message != "frame" || ErrorKind(err) == "" {
			t.Errorf("bit %d of byte %d: %v", bit%8, bit/8, err)
		}
	}
}

func TestHeaderErrors(t *testing.T) {
	for _, c := range []struct {
		field  string
		kind   string
		change func(b []byte, lim *Limits)
	}{
		{"subprotocol", "subprotocol", func(b []byte, _ *Limits) { b[1] = 6 }},
		{"version", "version", func(b []byte, _ *Limits) { b[2] = 2 }},
		{"flags", "flags", func(b []byte, _ *Limits) { b[3] = 0x80 }},
		{"length", "value", func(b []byte, _ *Limits) { b[4] = 0 }},
		{"length", "limit", func(_ []byte, lim *Limits) { lim.MessageBytesMax = 16 }},
		{"message", "truncated", func(b []byte, _ *Limits) { b[4] = 18 }},
		{"checksum", "checksum", func(b []byte, _ *Limits) { b[4] = 16 }},
		{"checksum", "checksum", func(b []byte, _ *Limits) { b[8] = 43 }},
	} {
		b, lim := golden(t), Default()
		c.change(b, &lim)
		_, _, err := Parse(b, &lim)
		if de, ok := errors.AsType[*DecodeError](err); !ok || de.Field != c.field || ErrorKind(err) != c.kind {
			t.Errorf("%s, %s: %v", c.field, c.kind, err)
		}
	}
	h, err := ParseHeader(golden(t), &Limits{MessageBytesMax: 17})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Verify(make([]byte, 9), make([]byte, 9)); !errors.Is(err, ErrValue) {
		t.Errorf("18 bytes for 17: %v", err)
	}
}

func TestAppendErrors(t *testing.T) {
	lim := Limits{MessageBytesMax: 4}
	for n, want := range map[int]error{0: ErrValue, 4: nil, 5: ErrLimit} {
		dst, err := Append([]byte("before"), 1, make([]byte, n), &lim)
		if !errors.Is(err, want) || err != nil && string(dst) != "before" {
			t.Errorf("%d bytes: %q, %v", n, dst, err)
		}
		if err != nil {
			if ee, ok := errors.AsType[*EncodeError](err); !ok || ee.Field != "message" {
				t.Errorf("%d bytes: %#v", n, err)
			}
		}
		buf := append(Begin(nil), make([]byte, n)...)
		if err := Finish(buf, 0, 1, &lim); !errors.Is(err, want) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

func TestErrorKinds(t *testing.T) {
	seen := make(map[string]bool)
	for _, k := range kinds {
		err := fmt.Errorf("from a peer: %w", &DecodeError{Message: "m", Field: "f", Err: fmt.Errorf("%w: 5", k.err)})
		if got := ErrorKind(err); got != k.kind || seen[got] || strings.Contains(got, " ") {
			t.Errorf("%v is of kind %q", err, got)
		}
		seen[k.kind] = true
	}
	if ErrorKind(nil) != "" || ErrorKind(errors.New("truncated")) != "" {
		t.Error("an error of no kind has one")
	}
}

func TestDoesNotAllocate(t *testing.T) {
	lim := Default()
	for _, n := range []int{1, 17, 7029, 1 << 20} {
		msg := make([]byte, n)
		buf, err := Append(nil, 1, msg, &lim)
		if err != nil {
			t.Fatal(err)
		}
		if a := testing.AllocsPerRun(50, func() { buf, err = Append(buf[:0], 1, msg, &lim) }); a != 0 || err != nil {
			t.Errorf("append %d bytes: %v allocations, %v", n, a, err)
		}
		if a := testing.AllocsPerRun(50, func() { _, _, err = Parse(buf, &lim) }); a != 0 || err != nil {
			t.Errorf("parse %d bytes: %v allocations, %v", n, a, err)
		}
		if a := testing.AllocsPerRun(50, func() { err = Finish(append(Begin(buf[:0]), msg...), 0, 1, &lim) }); a != 0 || err != nil {
			t.Errorf("finish %d bytes: %v allocations, %v", n, a, err)
		}
		if a := testing.AllocsPerRun(50, func() { _, err = AppendSplit(buf[:0], 1, msg[:1], msg[1:], &lim) }); a != 0 || err != nil {
			t.Errorf("split %d bytes: %v allocations, %v", n, a, err)
		}
	}
}

// FuzzParse: what parses is written back as it was; what does not says why.
func FuzzParse(f *testing.F) {
	f.Add(golden(f))
	f.Add(append(golden(f), golden(f)...))
	f.Add(golden(f)[:HeaderBytes])
	lim := Limits{MessageBytesMax: 1 << 16}
	f.Fuzz(func(t *testing.T, b []byte) {
		fr, rest, err := Parse(b, &lim)
		if err != nil {
			if ErrorKind(err) == "" || len(rest) != len(b) {
				t.Fatal(err)
			}
			return
		}
		again, err := Append(nil, fr.Epoch(), fr.Message(), &lim)
		if err != nil || !bytes.Equal(append(again, rest...), b) {
			t.Fatalf("%x, %v", again, err)
		}
	})
}
