package state

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ed25519"
	"encoding/json"
	"flag"
	"io"
	"os"
	"strings"
	"testing"

	"ferry/frame"
	"ferry/fuzz/internal/harness"
	"ferry/identity"
	"ferry/proto0500"
	"ferry/snapshot"
)

var damageAll = flag.Bool("damage.all", false, "change a byte of a vector to all 255 other values, not to 8")

// codec decodes b and encodes again, into dst, what it found; or it refuses b, with an error that has been looked at.
type codec func(t *testing.T, dst, b []byte) (again []byte, refused bool)

// TestDamagedVectors: every prefix and every change of one byte of every valid vector is refused, or is the encoding of
// what it decodes to. Without -damage.all a byte is changed to 8 other values, one bit each, and of the vectors over
// longBytes only every 64th byte behind the first 100; with it to all 255, but for those of the long vectors behind
// the first 100.
func TestDamagedVectors(t *testing.T) {
	lim := frame.NetMesh()
	message := func(t *testing.T, dst, b []byte) ([]byte, bool) {
		m, err := proto0500.Decode(b, &lim)
		if err != nil {
			harness.Typed(t, err, len(b))
			return nil, true
		}
		again, err := m.Append(dst, &lim)
		if err != nil {
			t.Fatalf("%x decodes, and is not encoded: %v", b, err)
		}
		return again, false
	}
	for _, family := range []struct {
		name  string
		codec codec
		seeds func(add func(b []byte))
	}{
		{"messages", message, func(add func(b []byte)) {
			harness.AllVectors(t, "proto0500/testdata/messages.jsonl", "hex", add)
			harness.AllVectors(t, "proto0500/testdata/invalid.jsonl", "hex", add) // the crate accepts some, and so do we
		}},
		{"extensions", message, func(add func(b []byte)) { harness.Annotated(t, "proto0500/testdata/extensions.txt", add) }},
		{"frames", frameAgain, func(add func(b []byte)) { harness.FrameSeeds(t, add) }},
		{"proofs", proofAgain, func(add func(b []byte)) {
			harness.AllVectors(t, "proto0500/testdata/continuity.jsonl", "hex", add)
			harness.AllVectors(t, "proto0500/testdata/continuity.jsonl", "proof", add)
		}},
		{"snapshots", snapshotAgain(false), func(add func(b []byte)) { harness.AllVectors(t, "snapshot/testdata/snapshots.jsonl", "hex", add) }},
		{"snapshots of version 3", snapshotAgain(true), func(add func(b []byte)) { harness.AllVectors(t, "snapshot/testdata/snapshots3.jsonl", "hex", add) }},
	} {
		t.Run(family.name, func(t *testing.T) {
			var d damage
			family.seeds(func(b []byte) {
				if _, refused := family.codec(t, nil, b); !refused {
					d.try(t, family.codec, b)
				}
			})
			d.report(t)
		})
	}
}

func frameAgain(t *testing.T, dst, b []byte) ([]byte, bool) {
	lim := frame.NetMesh()
	f, rest, err := frame.Parse(b, &lim)
	if err != nil {
		harness.Typed(t, err, len(b))
		return nil, true
	}
	again, err := frame.Append(dst, f.Epoch(), f.Message(), &lim)
	if err != nil {
		t.Fatalf("%x parses, and is not written: %v", b, err)
	}
	return append(again, rest...), false
}

func proofAgain(t *testing.T, dst, b []byte) ([]byte, bool) {
	var p proto0500.Proof
	if err := p.Decode(b); err != nil {
		harness.Typed(t, err, len(b))
		return nil, true
	}
	return p.Append(dst), false
}

func snapshotAgain(version3 bool) codec {
	return func(t *testing.T, dst, b []byte) ([]byte, bool) {
		e, err := snapshot.Open(bytes.NewReader(b), int64(len(b)), snapshot.Limits{Version3: version3})
		if err != nil {
			harness.Typed(t, err, len(b))
			return nil, true
		}
		src, err := snapshot.NewSource(e.Header, e.State, e.Bindings, e.Identity)
		if err != nil {
			t.Fatalf("%x opens, and is not written: %v", b, err)
		}
		again := append(dst, make([]byte, src.Size())...)
		if _, err := src.ReadAt(again, 0); err != nil && err != io.EOF {
			t.Fatal(err)
		}
		return again, false
	}
}

// TestDamagedEnvelopes: a sealed key opens as it was sealed, or not at all.
func TestDamagedEnvelopes(t *testing.T) {
	text, err := os.ReadFile(harness.InModule(t, "identity/testdata/identity.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	var d damage
	for line := range strings.Lines(string(text)) {
		var v struct {
			Name, Envelope, Link string
			Recipient            string `json:"recipient_secret"`
			Signer               string `json:"signer_pub"`
			Verdict              string `json:"crate_verdict"`
			Ephemeral            string `json:"ephemeral_secret"`
		}
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatal(err)
		}
		if v.Envelope == "" || v.Verdict != "accepted" || v.Ephemeral == "" {
			continue // not one that opens as it should
		}
		recipient, err := ecdh.X25519().NewPrivateKey(harness.Unhex(t, v.Recipient))
		if err != nil {
			t.Fatal(err)
		}
		signer, link := ed25519.PublicKey(harness.Unhex(t, v.Signer)), [32]byte(harness.Unhex(t, v.Link))
		d.bits = d.vectors > 0 // a signature is slow: all values in the first one
		d.try(t, func(t *testing.T, dst, b []byte) ([]byte, bool) {
			if _, err := identity.Open(b, recipient, signer, link); err != nil {
				return nil, true
			}
			return append(dst, harness.Unhex(t, v.Envelope)...), false
		}, harness.Unhex(t, v.Envelope))
	}
	d.report(t)
	if changed := d.accepted - d.vectors; changed != 0 {
		t.Errorf("%d changed envelopes open", changed)
	}
}

const longBytes = 4 << 10

// damage counts what was tried.
type damage struct {
	bits                                           bool // change bits, not bytes
	vectors, prefixes, changes, accepted, refusals int
	buf                                            []byte
}

// try takes b, which is valid, then each of its prefixes, then b with each change of a byte.
func (d *damage) try(t *testing.T, c codec, b []byte) {
	t.Helper()
	one := func(b []byte) {
		again, refused := c(t, d.buf[:0], b)
		if refused {
			d.refusals++
			return
		}
		d.accepted++
		if !bytes.Equal(again, b) {
			t.Fatalf("%x is encoded as %x", b, again)
		}
		d.buf = again
	}
	one(b)
	d.vectors++
	for n := range b {
		d.prefixes++
		one(b[:n:n])
	}
	b = bytes.Clone(b)
	for i, was := range b {
		tail := len(b) > longBytes && i >= 100
		if tail && !*damageAll && i%64 != 0 {
			continue
		}
		bits := d.bits || !*damageAll || tail
		for flip := 1; flip < 256; flip++ {
			if bits && flip&(flip-1) != 0 {
				continue
			}
			d.changes++
			b[i] = was ^ byte(flip)
			one(b)
		}
		b[i] = was
	}
}

func (d *damage) report(t *testing.T) {
	t.Helper()
	if d.accepted < d.vectors || d.vectors == 0 || d.refusals == 0 {
		t.Errorf("%d vectors, %d accepted, %d refused", d.vectors, d.accepted, d.refusals)
	}
	t.Logf("%d vectors, %d prefixes, %d changes of a byte: %d accepted and the same again, %d refused",
		d.vectors, d.prefixes, d.changes, d.accepted, d.refusals)
}
