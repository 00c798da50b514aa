package snapshot

import (
	"bytes"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
	"testing/iotest"

	"ferry/frame"
	"ferry/proto0500"
)

type snapshotVector struct {
	Name    string          `json:"name"`
	Hex     hexBytes        `json:"hex"`
	Verdict string          `json:"crate_verdict"`
	Fields  *snapshotFields `json:"fields"`
	Why     string          `json:"why"`
}

// TestVectors judges every snapshot of net-mesh's as the crate does, in both directions, without an exception.
func TestVectors(t *testing.T) {
	for _, v := range lines[snapshotVector](t, "snapshots.jsonl") {
		t.Run(v.Name, func(t *testing.T) { testVector(t, v, Limits{}) })
	}
}

// TestVectors3 does the same with version 3, whose vectors were packed from the layout table by a script in another
// language.
func TestVectors3(t *testing.T) {
	for _, v := range lines[snapshotVector](t, "snapshots3.jsonl") {
		t.Run(v.Name, func(t *testing.T) { testVector(t, v, Limits{Version3: true}) })
	}
}

func testVector(t *testing.T, v snapshotVector, lim Limits) {
	e, err := Open(bytes.NewReader(v.Hex), int64(len(v.Hex)), lim)
	switch {
	case v.Verdict != "accepted" && err == nil:
		t.Fatalf("accepted: %s", v.Why)
	case v.Verdict != "accepted":
		d, ok := errors.AsType[*frame.DecodeError](err)
		if !ok {
			t.Fatalf("refused with %v, which is no DecodeError", err)
		}
		if d.Offset < 0 || d.Offset > len(v.Hex) || d.Field == "" || frame.ErrorKind(err) == "" {
			t.Fatalf("refused with %v: offset, field or kind make no sense", err)
		}
		return
	case err != nil:
		t.Fatalf("refused: %v; %s", err, v.Why)
	}

	state, err := io.ReadAll(e.State)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := e.Header, v.Fields.header(); got != want {
		t.Errorf("header\n got %+v\nwant %+v", got, want)
	}
	if !bytes.Equal(state, v.Fields.State) {
		t.Errorf("state %x, want %x", state, v.Fields.State)
	}
	if !bytes.Equal(e.Bindings, v.Fields.Bindings) {
		t.Errorf("bindings %x, want %x", e.Bindings, v.Fields.Bindings)
	}
	if !bytes.Equal(e.Identity, v.Fields.Identity) {
		t.Errorf("identity %x, want %x", e.Identity, v.Fields.Identity)
	}

	var identity []byte
	if len(v.Fields.Identity) > 0 {
		identity = v.Fields.Identity
	}
	s, err := NewSource(v.Fields.header(), bytes.NewReader(v.Fields.State), v.Fields.Bindings, identity)
	if err != nil {
		t.Fatalf("encode: %v", err)
	}
	if s.Size() != int64(len(v.Hex)) {
		t.Errorf("size %d, want %d", s.Size(), len(v.Hex))
	}
	if err := iotest.TestReader(io.NewSectionReader(s, 0, s.Size()), v.Hex); err != nil {
		t.Errorf("encode: %v", err)
	}
}

// TestTruncated3 cuts a version 3 at every byte, and adds one.
func TestTruncated3(t *testing.T) {
	for _, v := range lines[snapshotVector](t, "snapshots3.jsonl") {
		if v.Verdict != "accepted" {
			continue
		}
		for n := range v.Hex {
			_, err := Open(bytes.NewReader(v.Hex), int64(n), Limits{Version3: true})
			if !errors.Is(err, frame.ErrTruncated) {
				t.Errorf("%s: %d of %d bytes: %v", v.Name, n, len(v.Hex), err)
			}
		}
		more := append(bytes.Clone(v.Hex), 0)
		if _, err := Open(bytes.NewReader(more), int64(len(more)), Limits{Version3: true}); !errors.Is(err, frame.ErrTrailing) {
			t.Errorf("%s and a byte: %v", v.Name, err)
		}
		if _, err := Open(bytes.NewReader(v.Hex), int64(len(v.Hex)), Limits{}); !errors.Is(err, frame.ErrVersion) {
			t.Errorf("%s where version 3 was not agreed: %v", v.Name, err)
		}
	}
}

// TestOpenPlaces checks what the crate's verdicts do not say: which field is wrong, where, and how.
func TestOpenPlaces(t *testing.T) {
	whole := readAll(t, newSource(t, testHeader(7, Version2, 3), 3, []byte{1, 2}, testIdentity()))
	cut := func(n int) []byte { return whole[:n] }
	set := func(at int, v byte) []byte {
		b := bytes.Clone(whole)
		b[at] = v
		return b
	}
	for _, c := range []struct {
		name   string
		bytes  []byte
		lim    Limits
		field  string
		offset int
		kind   string
	}{
		{"empty", nil, Limits{}, "magic", 0, "truncated"},
		{"magic", set(0, 'D'), Limits{}, "magic", 0, "value"},
		{"version", set(4, 3), Limits{}, "version", 4, "version"},
		{"entity", set(5, 9), Limits{}, "chain_link.origin_hash", 45, "value"},
		{"sequence", set(37, 8), Limits{}, "chain_link.sequence", 61, "value"},
		{"state cut", cut(91), Limits{}, "state", 89, "truncated"},
		{"state over", whole, Limits{StateBytesMax: 2}, "state", 89, "limit"},
		{"bindings_len cut", cut(94), Limits{}, "bindings_len", 92, "truncated"},
		{"bindings cut", cut(97), Limits{}, "bindings", 96, "truncated"},
		{"bindings over", whole, Limits{BindingsBytesMax: 1}, "bindings_len", 92, "limit"},
		{"flag", set(98, 2), Limits{}, "flag", 98, "flags"},
		{"identity cut", cut(200), Limits{}, "identity_envelope", 99, "truncated"},
		{"identity version", set(99, 2), Limits{}, "identity_envelope", 99, "version"},
		{"more", append(bytes.Clone(whole), 0), Limits{}, "end", 308, "trailing"},
		{"flag 0 with identity", set(98, 0), Limits{}, "end", 99, "trailing"},
	} {
		_, err := Open(bytes.NewReader(c.bytes), int64(len(c.bytes)), c.lim)
		d, ok := errors.AsType[*frame.DecodeError](err)
		if !ok {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if d.Message != "CDS1" || d.Field != c.field || d.Offset != c.offset || frame.ErrorKind(err) != c.kind {
			t.Errorf("%s: %v (%s), want %s at byte %d (%s)", c.name, err, frame.ErrorKind(err), c.field, c.offset, c.kind)
		}
	}
}

func TestNewSourceRefuses(t *testing.T) {
	good := testHeader(7, Version2, 3)
	change := func(f func(*Header)) Header {
		h := good
		f(&h)
		return h
	}
	for _, c := range []struct {
		name     string
		h        Header
		identity []byte
		field    string
	}{
		{"version 1", change(func(h *Header) { h.Version = 1 }), nil, "version"},
		{"version 4", change(func(h *Header) { h.Version = 4 }), nil, "version"},
		{"sequence", change(func(h *Header) { h.ThroughSeq++ }), nil, "through_seq"},
		{"origin", change(func(h *Header) { h.ChainLink.OriginHash++ }), nil, "chain_link"},
		{"identity empty", good, []byte{}, "identity_envelope"},
		{"identity short", good, testIdentity()[1:], "identity_envelope"},
		{"identity version", good, make([]byte, IdentityBytes), "identity_envelope"},
	} {
		_, err := NewSource(c.h, zeros{}, nil, c.identity)
		e, ok := errors.AsType[*frame.EncodeError](err)
		if !ok || e.Field != c.field || frame.ErrorKind(err) != "value" {
			t.Errorf("%s: %v, want field %s", c.name, err, c.field)
		}
	}
}

func TestTooLargeForVersion2(t *testing.T) {
	h := testHeader(7, Version2, math.MaxUint32)
	if _, err := NewSource(h, zeros{}, nil, nil); err != nil {
		t.Errorf("4 GiB-1: %v", err)
	}
	h.StateLen++
	_, err := NewSource(h, zeros{}, nil, nil)
	if !errors.Is(err, ErrTooLarge) || frame.ErrorKind(err) != "limit" || !strings.Contains(err.Error(), "version 3") {
		t.Errorf("4 GiB: %v", err)
	}
	h.Version = Version3
	if _, err := NewSource(h, zeros{}, nil, nil); err != nil {
		t.Errorf("4 GiB, version 3: %v", err)
	}
	h.StateLen = math.MaxInt64
	if _, err := NewSource(h, zeros{}, nil, nil); !errors.Is(err, ErrTooLarge) {
		t.Errorf("2^63-1 bytes: %v", err)
	}

	for _, c := range []struct {
		bytes   uint64
		offered bool
		want    uint8
	}{{0, true, 2}, {math.MaxUint32, true, 2}, {1 << 32, true, 3}, {1 << 32, false, 0}} {
		got, err := VersionFor(c.bytes, c.offered)
		if got != c.want || (err != nil) != (c.want == 0) || err != nil && !errors.Is(err, ErrTooLarge) {
			t.Errorf("VersionFor(%d, %v) = %d, %v", c.bytes, c.offered, got, err)
		}
	}
}

// TestLargeVersion3 opens, and reads across both seams, a snapshot of 5 GiB that is nowhere.
func TestLargeVersion3(t *testing.T) {
	const stateLen = 5 << 30
	s := newSource(t, testHeader(7, Version3, stateLen), stateLen, []byte("bindings"), testIdentity())
	e, err := Open(s, s.Size(), Limits{Version3: true})
	if err != nil {
		t.Fatal(err)
	}
	if e.State.Size() != stateLen || string(e.Bindings) != "bindings" || !bytes.Equal(e.Identity, testIdentity()) {
		t.Errorf("state of %d bytes, bindings %q, identity %x", e.State.Size(), e.Bindings, e.Identity)
	}
	var got, want [10]byte
	pattern{}.ReadAt(want[:8], stateLen-8)
	want[8] = 8 // bindings_len
	if _, err := s.ReadAt(got[:], int64(s.HeaderBytes())+stateLen-8); err != nil || got != want {
		t.Errorf("at the end of the state: %x, %v; want %x", got, err, want)
	}
	if _, err := Open(s, s.Size(), Limits{Version3: true, StateBytesMax: 4 << 30}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("over 4 GiB: %v", err)
	}
}

// TestShortState holds a state to its word.
func TestShortState(t *testing.T) {
	s, err := NewSource(testHeader(7, Version2, 10), bytes.NewReader(make([]byte, 9)), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	n, err := s.ReadAt(make([]byte, s.Size()), 0)
	if n != headerBytes2+9 || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("read %d bytes, %v", n, err)
	}
	if _, err := Open(bytes.NewReader(nil), 94, Limits{}); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("open a file shorter than was said: %v", err)
	}
}

// What the tests of this package share.

// pattern is a state of any size: every byte follows from its offset.
type pattern struct{}

func (pattern) ReadAt(p []byte, off int64) (int, error) {
	for i := range p {
		at := off + int64(i)
		p[i] = byte(at ^ at>>8 ^ at>>16*7)
	}
	return len(p), nil
}

type zeros struct{}

func (zeros) ReadAt(p []byte, _ int64) (int, error) {
	clear(p)
	return len(p), nil
}

func testEntity() (e [32]byte) {
	copy(e[:], "an entity of thirty-two bytes ..")
	return e
}

func testHeader(seq proto0500.Seq, version uint8, stateLen uint64) Header {
	return Header{
		Version:    version,
		EntityID:   testEntity(),
		ThroughSeq: seq,
		ChainLink:  proto0500.Link{OriginHash: originOf(testEntity()), HorizonEncoded: 5, Sequence: seq, ParentHash: 6},
		CreatedAt:  1_700_000_000_000_000_000,
		StateLen:   stateLen,
	}
}

func testIdentity() []byte {
	b := bytes.Repeat([]byte{0xee}, IdentityBytes)
	b[0] = identityVersion
	return b
}

func newSource(t testing.TB, h Header, stateLen uint64, bindings, identity []byte) *Source {
	t.Helper()
	h.StateLen = stateLen
	s, err := NewSource(h, pattern{}, bindings, identity)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func readAll(t testing.TB, s *Source) []byte {
	t.Helper()
	b := make([]byte, s.Size())
	if _, err := s.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	return b
}
