package state

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"io"
	"testing"

	"ferry/frame"
	"ferry/fuzz/internal/harness"
	"ferry/identity"
	"ferry/snapshot"
)

// FuzzSnapshotOpen: whatever opens is, as a source made of what was found, the bytes that went in. mend first puts right
// what a mutator never would: the origin, which is a hash of the entity, and the sequence, which is there twice.
func FuzzSnapshotOpen(f *testing.F) { fuzzSnapshotOpen(f) }

func fuzzSnapshotOpen(f harness.F) {
	harness.Vectors(f, "snapshot/testdata/snapshots.jsonl", "hex", func(b []byte) {
		f.Add(b, false, false)
		f.Add(b, false, true)
	})
	harness.Vectors(f, "snapshot/testdata/snapshots3.jsonl", "hex", func(b []byte) {
		f.Add(b, true, false)
		f.Add(b, true, true)
	})
	f.Fuzz(func(t *testing.T, b []byte, version3, mend bool) {
		if mend {
			b = mended(b)
		}
		var e *snapshot.Envelope
		var err error
		harness.Bounded(t, len(b), func() {
			e, err = snapshot.Open(bytes.NewReader(b), int64(len(b)), snapshot.Limits{Version3: version3})
		})
		if harness.Canary() && err == nil && len(e.Bindings) > 0 {
			e.Bindings = e.Bindings[:len(e.Bindings)-1]
		}
		if err != nil {
			at := harness.Typed(t, err, len(b)).Offset
			if errors.Is(err, frame.ErrTrailing) {
				if _, err := snapshot.Open(bytes.NewReader(b[:at]), int64(at), snapshot.Limits{Version3: version3}); err != nil {
					t.Fatalf("only trailing bytes, but without them: %v", err)
				}
			}
			return
		}
		harness.Accept("snapshot")
		if e.Version == snapshot.Version3 && !version3 {
			t.Fatal("version 3 was not agreed on")
		}
		if uint64(e.State.Size()) != e.StateLen {
			t.Fatalf("a state of %d bytes in %d", e.StateLen, e.State.Size())
		}
		src, err := snapshot.NewSource(e.Header, e.State, e.Bindings, e.Identity)
		if err != nil {
			t.Fatalf("what was opened cannot be written: %v", err)
		}
		got, err := io.ReadAll(io.NewSectionReader(src, 0, src.Size()+1))
		if err != nil || !bytes.Equal(got, b) {
			t.Fatalf("written again as %x, %v, not %x", got, err, b)
		}
		// With a limit below what there is, it does not open.
		if e.StateLen > 1 {
			lim := snapshot.Limits{Version3: version3, StateBytesMax: e.StateLen - 1}
			_, err := snapshot.Open(bytes.NewReader(b), int64(len(b)), lim)
			if err == nil {
				t.Fatalf("a state of %d bytes over a limit of %d", e.StateLen, lim.StateBytesMax)
			}
			harness.Typed(t, err, len(b))
		}
	})
}

// mended gives b the derived fields of a header (protocol.md, section on CDS1).
func mended(b []byte) []byte {
	const magic, entity, through, origin, sequence, end = 0, 5, 37, 45, 61, 93
	if len(b) < end {
		return b
	}
	b = bytes.Clone(b)
	copy(b[magic:], "CDS1")
	key := ed25519.PublicKey(b[entity : entity+ed25519.PublicKeySize])
	binary.LittleEndian.PutUint64(b[origin:], uint64(identity.OriginOf(key)))
	copy(b[sequence:sequence+8], b[through:through+8])
	return b
}
