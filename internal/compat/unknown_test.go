package compat

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ferry/cluster"
	"ferry/frame"
	"ferry/identity"
	"ferry/migration"
	"ferry/proto0500"
	"ferry/snapshot"
)

var limits = frame.Default()

// place is one field of one layout that says which of several forms the bytes have.
type place struct {
	message, field string
	// good are bytes with the field at offset; of width bytes, little endian.
	good   []byte
	at     int
	width  int // 0: 1
	known  func(v int) bool
	read   func(b []byte) error
	want   error  // the sentinel
	before string // what stands before the value in the error; the value follows as decimal or %#02x
}

func is(known ...int) func(int) bool {
	return func(v int) bool {
		return slices.Contains(known, v)
	}
}

func between(from, to int) func(int) bool { return func(v int) bool { return from <= v && v <= to } }

func encoded(t *testing.T, m proto0500.Message) []byte {
	t.Helper()
	b, err := m.Append(nil, &limits)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func decode(b []byte) error     { _, err := proto0500.Decode(b, &limits); return err }
func decodeBase(b []byte) error { _, err := proto0500.DecodeBase(b, &limits); return err }

func open(lim snapshot.Limits) func(b []byte) error {
	return func(b []byte) error {
		_, err := snapshot.Open(bytes.NewReader(b), int64(len(b)), lim)
		return err
	}
}

// envelope is a whole snapshot of a daemon of three bytes.
func envelope(t *testing.T, version uint8, sealed []byte) []byte {
	t.Helper()
	key, err := identity.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	h := snapshot.Header{Version: version, EntityID: [32]byte(key.Public()), StateLen: 3,
		ChainLink: proto0500.Link{OriginHash: proto0500.Origin(key.Origin())}}
	s, err := snapshot.NewSource(h, bytes.NewReader([]byte("abc")), nil, sealed)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, s.Size())
	if _, err := s.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	return b
}

func places(t *testing.T) []place {
	fr, err := frame.Append(nil, 7, encoded(t, proto0500.Query{}), &limits)
	if err != nil {
		t.Fatal(err)
	}
	parse := func(b []byte) error { _, _, err := frame.Parse(b, &limits); return err }
	record, _ := migration.Created().MarshalBinary()
	move, _ := migration.MoveRecord{Source: 1, Target: 2, Epoch: 3}.MarshalBinary()
	sealed := append([]byte{1}, make([]byte, snapshot.IdentityBytes-1)...)
	v2, v2sealed := envelope(t, 2, nil), envelope(t, 2, sealed)
	return []place{
		{"frame", "subprotocol", fr, 0, 2, is(0x0500), parse, frame.ErrSubprotocol, ""},
		{"frame", "version", fr, 2, 1, is(1), parse, frame.ErrVersion, ""},
		{"frame", "flags", fr, 3, 1, is(0), parse, frame.ErrFlags, ""},
		// Any other message of a known kind is judged by its own decoder.
		{"message", "discriminant", []byte{0}, 0, 1, func(v int) bool { return v <= 9 || 0x80 <= v && v <= 0x91 }, decode, frame.ErrUnknown, ""},
		{"message", "discriminant", []byte{0}, 0, 1, between(0, 9), decodeBase, frame.ErrUnknown, ""},
		{"Hello", "version", encoded(t, proto0500.Hello{Version: 1}), 1, 1, is(1), decode, frame.ErrVersion, ""},
		{"MigrationFailed", "code", encoded(t, proto0500.MigrationFailed{}), 9, 2, between(0, 6), decode, frame.ErrUnknown, "code "},
		{"Chunk", "encoding", encoded(t, proto0500.Chunk{TotalChunks: 1, Encoding: proto0500.EncodingZeros, RawLen: 9}), 25, 1, between(1, 4), decode, frame.ErrUnknown, ""},
		{"Report", "state", encoded(t, proto0500.Report{}), 25, 1, between(0, 9), decode, frame.ErrValue, "state("},
		{"Report", "copy", encoded(t, proto0500.Report{}), 42, 1, is(0, 1), decode, frame.ErrValue, ""},
		{"Report", "last", encoded(t, proto0500.Report{}), 99, 1, is(0, 1), decode, frame.ErrValue, ""},
		{"Transfer", "final", encoded(t, proto0500.Transfer{}), 61, 1, is(0, 1), decode, frame.ErrValue, ""},
		{"CDS1", "version", v2, 4, 1, is(2), open(snapshot.Limits{}), frame.ErrVersion, ""},
		// A snapshot of version 2 that says 3 is cut short.
		{"CDS1", "version", v2, 4, 1, is(2, 3), open(snapshot.Limits{Version3: true}), frame.ErrVersion, ""},
		{"CDS1", "flag", v2, len(v2) - 1, 1, is(0, 1), open(snapshot.Limits{}), frame.ErrFlags, ""},
		{"CDS1", "identity_envelope", v2sealed, len(v2sealed) - snapshot.IdentityBytes, 1, is(1), open(snapshot.Limits{}), frame.ErrVersion, ""},
		{"Record", "version", record, 0, 1, is(1), new(migration.Record).UnmarshalBinary, migration.ErrRecordVersion, ""},
		{"Record", "state", record, 17, 1, between(0, 3), new(migration.Record).UnmarshalBinary, migration.ErrRecordValue, ""},
		{"MoveRecord", "version", move, 0, 1, is(1), new(migration.MoveRecord).UnmarshalBinary, migration.ErrRecordVersion, ""},
		{"MoveRecord", "outcome", move, 33, 1, between(0, 3), new(migration.MoveRecord).UnmarshalBinary, migration.ErrRecordValue, ""},
	}
}

// TestUnknownIsRefusedByName: every value that a byte, or the two bytes, of a field can have and that is not known, in
// every layout but those of a stream's beginning, which package transport holds in the same way.
func TestUnknownIsRefusedByName(t *testing.T) {
	refused := 0
	for _, p := range places(t) {
		t.Run(p.message+"/"+p.field, func(t *testing.T) {
			if _, unknown := errors.AsType[*frame.DecodeError](p.read(p.good)); unknown && p.message != "message" {
				t.Fatalf("the good one is refused: %v", p.read(p.good))
			}
			n, before := 1<<(8*p.width), refused
			for v := range n {
				if p.known(v) {
					continue
				}
				b := bytes.Clone(p.good)
				b[p.at] = byte(v)
				if p.width == 2 {
					b[p.at+1] = byte(v >> 8)
				}
				err := p.read(b)
				d, ok := errors.AsType[*frame.DecodeError](err)
				if !ok || d.Message != p.message || d.Field != p.field || d.Offset != p.at || !errors.Is(err, p.want) {
					t.Fatalf("%d: %v", v, err)
				}
				if s := err.Error(); !named(s, p.before, v) {
					t.Fatalf("%d is not named: %v", v, s)
				}
				refused++
			}
			if refused == before {
				t.Error("every value is known: the case says nothing")
			}
		})
	}
	t.Logf("%d unknown values of %d fields are refused by name", refused, len(places(t)))
	doc, err := os.ReadFile("../../docs/compatibility.md")
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("%d,%03d values of", refused/1000, refused%1000)
	if text := strings.Join(strings.Fields(string(doc)), " "); !strings.Contains(text, want) {
		t.Errorf("docs/compatibility.md does not say %q: is its table still true?", want)
	}
}

// named tells whether an error's text has the value, as a number of its own.
func named(text, before string, v int) bool {
	for _, format := range []string{"%d", "%#02x", "%#04x"} {
		value := before + fmt.Sprintf(format, v)
		if i := strings.LastIndex(text, value); i > 0 {
			end := i + len(value)
			if end == len(text) || !strings.ContainsAny(text[end:end+1], "0123456789abcdef") {
				return true
			}
		}
	}
	return false
}

// TestUnknownFeaturesAreIgnored: an old node must be able to meet a new one, whose hello offers more.
func TestUnknownFeaturesAreIgnored(t *testing.T) {
	b := encoded(t, proto0500.Hello{Version: 1, Features: ^uint64(0)})
	if err := decode(b); err != nil {
		t.Error(err)
	}
}

// TestUnknownFieldOfClusterFile: a key of a later version is refused where it stands.
func TestUnknownFieldOfClusterFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cluster.toml")
	if err := os.WriteFile(path, []byte("[[nodes]]\nname = \"a\"\nzone = \"b\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := cluster.Load(path)
	f, ok := errors.AsType[*cluster.FileError](err)
	if !ok || f.Field != "zone" || f.Line != 3 || !errors.Is(err, cluster.ErrField) {
		t.Errorf("%v", err)
	}
}
