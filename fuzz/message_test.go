package fuzz

import (
	"bytes"
	"errors"
	"testing"

	"ferry/frame"
	"ferry/fuzz/internal/harness"
	"ferry/proto0500"
)

// FuzzMessage: whatever decodes, of any kind, encodes to the same bytes.
func FuzzMessage(f *testing.F) { fuzzMessage(f) }

func fuzzMessage(f harness.F) {
	harness.MessageSeeds(f, func(b []byte) { f.Add(b, len(b)%2 == 0) })
	f.Fuzz(func(t *testing.T, b []byte, ours bool) {
		lim := harness.LimitsOf(ours)
		before := bytes.Clone(b)
		var m proto0500.Message
		var err error
		harness.Bounded(t, len(b), func() { m, err = proto0500.Decode(b, &lim) })
		if r, ok := m.(proto0500.ActivateAck); harness.Canary() && ok && r.ReplayedSeq > 1<<40 {
			r.ReplayedSeq &= 1<<40 - 1 // a field that is too narrow
			m = r
		}
		if !bytes.Equal(b, before) {
			t.Fatal("the input was written to")
		}
		base, baseErr := proto0500.DecodeBase(b, &lim)
		if err != nil {
			at := harness.Typed(t, err, len(b)).Offset
			harness.Typed(t, baseErr, len(b))
			if errors.Is(err, frame.ErrTrailing) {
				if _, err := proto0500.Decode(b[:at], &lim); err != nil {
					t.Fatalf("only trailing bytes, but without them: %v", err)
				}
			}
			return
		}
		roundTrip(t, m, b, &lim)
		if m.Kind().Extension() {
			harness.Typed(t, baseErr, len(b))
			return
		}
		if baseErr != nil {
			t.Fatalf("a message of the ten: %v", baseErr)
		}
		roundTrip(t, base, b, &lim)
	})
}

func roundTrip(t *testing.T, m proto0500.Message, b []byte, lim *frame.Limits) {
	if byte(m.Kind()) != b[0] {
		t.Fatalf("kind %v of discriminant %d", m.Kind(), b[0])
	}
	harness.Accept(m.Kind().String())
	own := proto0500.Clone(m)
	dst := []byte("before")
	got, err := m.Append(dst, lim)
	if err != nil || !bytes.Equal(got[len(dst):], b) {
		t.Fatalf("encoded as %x, %v, not %x", got, err, b)
	}
	// A clone has nothing in common with the bytes.
	damaged := bytes.Clone(b)
	clear(b)
	got, err = own.Append(nil, lim)
	copy(b, damaged)
	if err != nil || !bytes.Equal(got, b) {
		t.Fatalf("the clone is encoded as %x, %v, not %x", got, err, b)
	}
}

// FuzzMessageRepaired: as FuzzMessage, but bytes that are refused are mended where the error says, so that the mutator
// gets behind lengths, counts and checksums. That the error names the place is tested along with it.
func FuzzMessageRepaired(f *testing.F) { fuzzMessageRepaired(f) }

func fuzzMessageRepaired(f harness.F) {
	harness.MessageSeeds(f, func(b []byte) { f.Add(b, uint64(len(b)), len(b)%2 == 0) })
	f.Fuzz(func(t *testing.T, b []byte, epoch uint64, ours bool) {
		lim := harness.LimitsOf(ours)
		m, b := repaired(t, b, &lim)
		if m == nil {
			return
		}
		if r, ok := m.(proto0500.MigrationFailed); harness.Canary() && ok && len(r.Reason.Text) > 3 {
			m = proto0500.MigrationFailed{DaemonOrigin: r.DaemonOrigin}
		}
		roundTrip(t, m, b, &lim)
		framed, err := frame.Append(nil, frame.Epoch(epoch), b, &lim)
		if err != nil {
			t.Fatal(err)
		}
		parsed, rest, err := frame.Parse(framed, &lim)
		if err != nil || len(rest) != 0 || parsed.Epoch() != frame.Epoch(epoch) || !bytes.Equal(parsed.Message(), b) {
			t.Fatalf("in a frame: %+v, %d bytes left, %v", parsed.Header(), len(rest), err)
		}
	})
}

const (
	repairsMax     = 100
	repairBytesMax = 8 << 10
)

// repaired mends b until it decodes, or gives up and returns nil.
func repaired(t *testing.T, b []byte, lim *frame.Limits) (proto0500.Message, []byte) {
	b = bytes.Clone(b)
	for range repairsMax {
		m, err := proto0500.Decode(b, lim)
		if err == nil {
			return m, b
		}
		e := harness.Typed(t, err, len(b))
		at, kind := e.Offset, frame.ErrorKind(err)
		switch kind {
		case "truncated":
			if one := []byte{1, 0, 0, 0}; e.Field == "count" && !bytes.HasPrefix(b[at:], one) && len(b) >= at+len(one) {
				copy(b[at:], one) // more counted than bytes can follow
				continue
			}
			if b = append(b, make([]byte, max(64, len(b)))...); len(b) > repairBytesMax {
				return nil, nil
			}
			continue
		case "trailing":
			b = b[:at]
			continue
		}
		if at == len(b) {
			t.Fatalf("the fault is behind the last byte: %v", err)
		}
		switch kind {
		case "limit": // of a length or a count, in two bytes at least
			clear(b[at:min(at+2, len(b))])
			if at+4 <= len(b) {
				clear(b[at+2 : at+4])
			}
		case "text":
			for i := at; i < len(b); i++ {
				b[i] &= 0x7f
			}
		case "unknown":
			b[at] &= 0x8f
			if b[at] >= 10 && b[at] < 0x80 {
				b[at] -= 10
			}
		default: // zero where it must not be, or something else than the one value that may be
			if b[at] == 0 {
				b[at] = 1
			} else {
				b[at] = 0
			}
		}
	}
	return nil, nil
}

// TestRepair holds the mending to its purpose: of the vectors that are refused, it makes most a message.
func TestRepair(t *testing.T) {
	lim := frame.NetMesh()
	for _, b := range [][]byte{
		{},        // no discriminant
		{0},       // cut
		{1, 2, 3}, // cut, and then no chunks
		append([]byte{7}, "12345678\xff\xff\xff\xff"...),         // a count beyond the bytes
		append([]byte{6}, "12345678\x03\x00\x02\x00\xff\xfe"...), // a text that is none
		append([]byte{9}, "1234567812345678 and more"...),        // trailing
	} {
		if m, _ := repaired(t, b, &lim); m == nil {
			t.Errorf("%x was not mended", b)
		}
	}
}
