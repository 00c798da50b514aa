package transport

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"ferry/frame"
)

// TestUnknownIsRefusedByName: every value of the bytes that say what a stream's beginning is, as package
// internal/compat holds it for every other layout.
func TestUnknownIsRefusedByName(t *testing.T) {
	pre := prefix{kind: Control}.append(nil)
	hi := (&preamble{key: make([]byte, 32)}).append(nil)
	relay := relayHeader{role: roleSplice}.append(nil)
	readPrefix := func(b []byte) error { _, err := parsePrefix(b); return err }
	readHi := func(b []byte) error { _, err := parsePreamble(b); return err }
	readRelay := func(b []byte) error { _, err := parseRelayHeader([relayHeaderBytes]byte(b)); return err }
	refused := 0
	places := []struct {
		message, field string
		good           []byte
		at             int
		known          string // the bytes that are
		read           func(b []byte) error
		kind, want     error
		code           Code
	}{
		{"stream prefix", "version", pre, 5, "\x01", readPrefix, ErrVersion, frame.ErrVersion, CodeVersion},
		{"stream prefix", "kind", pre, 6, "\x01\x02\x03\x04\x10", readPrefix, ErrMalformed, frame.ErrUnknown, CodeMalformed},
		{"stream prefix", "lane", pre, 7, "\x00", readPrefix, ErrMalformed, frame.ErrValue, CodeMalformed},
		{"preamble", "flags", hi, offFlags, "\x00\x01\x02\x03", readHi, ErrMalformed, frame.ErrFlags, CodeMalformed},
		{"preamble", "reserved", hi, offReserved, "\x00", readHi, ErrMalformed, frame.ErrFlags, CodeMalformed},
		{"preamble", "reserved", hi, preambleBytes - 1, "\x00", readHi, ErrMalformed, frame.ErrFlags, CodeMalformed},
		{"relay header", "role", relay, 8, "\x01\x02", readRelay, ErrMalformed, frame.ErrUnknown, CodeMalformed},
		{"relay header", "bulk", relay, 9, "\x00\x01", readRelay, ErrMalformed, frame.ErrValue, CodeMalformed},
	}
	for _, p := range places {
		if err := p.read(p.good); err != nil {
			t.Fatalf("%s: the good one is refused: %v", p.message, err)
		}
		for v := range 256 {
			if strings.IndexByte(p.known, byte(v)) >= 0 {
				continue
			}
			b := bytes.Clone(p.good)
			b[p.at] = byte(v)
			err := p.read(b)
			d, ok := errors.AsType[*frame.DecodeError](err)
			if !ok || d.Message != p.message || d.Field != p.field || d.Offset != p.at ||
				!errors.Is(err, p.kind) || !errors.Is(err, p.want) || CodeOf(err) != p.code {
				t.Fatalf("%s, %s %d: %v", p.message, p.field, v, err)
			}
			s := err.Error()
			if !strings.Contains(s, fmt.Sprintf(" %d", v)) && !strings.Contains(s, fmt.Sprintf("%#02x", v)) {
				t.Fatalf("%s, %s: %d is not named: %s", p.message, p.field, v, s)
			}
			refused++
		}
	}
	t.Logf("%d unknown values of %d fields are refused by name", refused, len(places))
}
