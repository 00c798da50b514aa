package kv

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"testing"

	"ferry/daemon"
	"ferry/proto0500"
)

// relink gives events their place in a chain anew, as somebody would who wants
// to hide what was done to them.
func relink(t *testing.T, events []daemon.Event) []daemon.Event {
	var payloads [][]byte
	for _, e := range events {
		payloads = append(payloads, e.Payload)
	}
	return newChain().events(t, payloads...)
}

func lines(t *testing.T, events []daemon.Event) []LogLine {
	var out []LogLine
	for i := range events {
		l, err := newLogLine(&events[i])
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, l)
	}
	return out
}

func seq2[T any](list []T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for _, v := range list {
			if !yield(v, nil) {
				return
			}
		}
	}
}

// The check is green for a log as it should be, and each thing that may be done
// to one event makes it red, also when the chain is mended afterwards.
func TestCheckLog(t *testing.T) {
	var payloads [][]byte
	for i := range 20 {
		payloads = append(payloads, put(t, fmt.Sprint("k", i%7), fmt.Sprint("write ", i)))
	}
	payloads[9] = del(t, "k2")
	payloads[12] = put(t, "k\xff", "not \xff text")
	good := newChain().events(t, payloads...)
	var records []Record
	for _, e := range good {
		records = append(records, Record{Seq: e.Seq, Payload: e.Payload})
	}
	drop := func(e []daemon.Event) []daemon.Event { return slices.Delete(slices.Clone(e), 7, 8) }
	double := func(e []daemon.Event) []daemon.Event { return slices.Insert(slices.Clone(e), 8, e[7]) }
	swap := func(e []daemon.Event) []daemon.Event {
		e = slices.Clone(e)
		e[7], e[8] = e[8], e[7]
		return e
	}
	change := func(e []daemon.Event) []daemon.Event {
		e = slices.Clone(e)
		e[7].Payload = put(t, "k0", "another")
		return e
	}
	raw := func(f func([]LogLine)) []LogLine { l := lines(t, good); f(l); return l }
	text := "x"
	for _, c := range []struct {
		name                              string
		log                               []LogLine
		lost, doubled, reordered, unacked int
		broken                            bool
	}{
		{"as it was", lines(t, good), 0, 0, 0, 0, false},
		{"one dropped", lines(t, drop(good)), 1, 0, 12, 0, true},
		{"one dropped, mended", lines(t, relink(t, drop(good))), 1, 0, 12, 0, false},
		{"one doubled", lines(t, double(good)), 0, 1, 12, 0, true},
		{"one doubled, mended", lines(t, relink(t, double(good))), 0, 1, 12, 0, false},
		{"two swapped", lines(t, swap(good)), 0, 0, 2, 0, true},
		{"two swapped, mended", lines(t, relink(t, swap(good))), 0, 0, 2, 0, false},
		{"one changed", lines(t, change(good)), 1, 0, 0, 1, true},
		{"one changed, mended", lines(t, relink(t, change(good))), 1, 0, 0, 1, false},
		{"the last dropped", lines(t, good[:19]), 1, 0, 0, 0, false},
		{"the first dropped", lines(t, good[1:]), 1, 0, 19, 0, true},
		{"nothing", nil, 20, 0, 0, 0, false},
		{"one more, unacknowledged", lines(t, newChain().events(t, append(slices.Clone(payloads), put(t, "new", "one"))...)), 0, 0, 0, 1, false},
		{"seq differs from link", raw(func(l []LogLine) { l[3].Seq++ }), 0, 0, 0, 0, true},
		{"link cut", raw(func(l []LogLine) { l[19].Link = l[19].Link[2:] }), 0, 0, 0, 0, true},
		{"key says other than payload", raw(func(l []LogLine) { l[3].Key = &text }), 0, 0, 0, 0, true},
		{"value says other than payload", raw(func(l []LogLine) { l[3].Value = &text }), 0, 0, 0, 0, true},
		{"delete with a value", raw(func(l []LogLine) { l[9].Value = &text }), 0, 0, 0, 0, true},
		{"op says other than payload", raw(func(l []LogLine) { l[3].Op = "delete" }), 0, 0, 0, 0, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			backwards := slices.Clone(records)
			slices.Reverse(backwards)
			r, err := CheckLog(seq2(backwards), seq2(c.log))
			if err != nil {
				t.Fatal(err)
			}
			if r.Acked != 20 || r.Logged != len(c.log) || r.Lost != c.lost || r.Doubled != c.doubled || r.Reordered != c.reordered ||
				r.Unacked != c.unacked || (r.Broken > 0) != c.broken {
				t.Errorf("got %+v", r)
			}
			wantOK := c.lost+c.doubled+c.reordered == 0 && !c.broken
			if r.OK() != wantOK || (r.First == "") != wantOK {
				t.Errorf("OK %v, first fault %q", r.OK(), r.First)
			}
			if wantOK && c.unacked == 0 && r.Head != (daemon.Head{Seq: 20, Link: good[19].Link, Hash: good[19].Hash}) {
				t.Errorf("head %+v", r.Head)
			}
		})
	}
}

// One fault in the chain is one fault, not one for each line after it.
func TestCheckLogGoesOnAfterAFault(t *testing.T) {
	good := newChain().events(t, put(t, "a", "1"), put(t, "b", "2"), put(t, "c", "3"), put(t, "d", "4"))
	l := lines(t, good)
	link := good[1].Link
	link.HorizonEncoded = 1 // under the hash that event 3 has
	l[1].Link = hex.EncodeToString(link.Append(nil))
	r, err := CheckLog(seq2[Record](nil), seq2(l))
	if err != nil || r.Broken != 1 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestCheckLogStopsAtUnreadable(t *testing.T) {
	bad := errors.New("bad")
	fail := func(yield func(LogLine, error) bool) { yield(LogLine{}, bad) }
	if _, err := CheckLog(seq2[Record](nil), fail); !errors.Is(err, bad) {
		t.Errorf("log: %v", err)
	}
	failing := func(yield func(Record, error) bool) { yield(Record{}, bad) }
	if _, err := CheckLog(failing, seq2[LogLine](nil)); !errors.Is(err, bad) {
		t.Errorf("records: %v", err)
	}
}

func TestReadLogCut(t *testing.T) {
	var b bytes.Buffer
	for _, l := range lines(t, newChain().events(t, put(t, "a", "1"), put(t, "b", "2"))) {
		if err := json.NewEncoder(&b).Encode(l); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	var last error
	for _, err := range ReadLog(bytes.NewReader(b.Bytes()[:b.Len()-10])) {
		if n++; err != nil {
			last = err
		}
	}
	if n != 2 || !errors.Is(last, io.ErrUnexpectedEOF) {
		t.Errorf("%d lines, then %v", n, last)
	}
}

func TestRecords(t *testing.T) {
	want := []Record{{1, put(t, "a", "1")}, {2, []byte{}}, {1 << 40, put(t, "b", "")}}
	var file []byte
	for _, r := range want {
		file = r.Append(file)
	}
	var got []Record
	for r, err := range ReadRecords(bytes.NewReader(file)) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, r)
	}
	if !slices.EqualFunc(got, want, func(a, b Record) bool { return a.Seq == b.Seq && bytes.Equal(a.Payload, b.Payload) }) {
		t.Errorf("got %v", got)
	}
	// Cut anywhere but between two records, it is an error.
	ends := map[int]bool{0: true, len(want[0].Append(nil)): true, len(want[0].Append(nil)) + recordHeadBytes: true}
	for n := range len(file) {
		var err error
		for _, e := range ReadRecords(bytes.NewReader(file[:n])) {
			err = e
		}
		if (err == nil) != ends[n] {
			t.Errorf("cut at %d: %v", n, err)
		}
	}
	huge := append(make([]byte, 8), 0xff, 0xff, 0xff, 0xff)
	for _, err := range ReadRecords(bytes.NewReader(huge)) {
		if _, ok := errors.AsType[*PayloadError](err); !ok {
			t.Errorf("4 GiB record: %v", err)
		}
	}
}

// A twin fed with the records alone ends at the digest of the store that
// applied the events in its own batches and went through a snapshot.
func TestTwin(t *testing.T) {
	opts := Options{FillBytes: 1 << 20, FillSeed: 3}
	s, c := openStore(t, t.TempDir(), opts), newChain()
	churn(t, s, c, 1000)
	moved := openStore(t, t.TempDir(), Options{})
	if err := moved.Restore(receive(t, readAll(t, snapshotOf(t, s)))); err != nil {
		t.Fatal(err)
	}
	events, err := s.Events(1, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	var records []Record
	for _, e := range events {
		records = append(records, Record{e.Seq, e.Payload})
	}
	slices.Reverse(records)
	twin, err := Twin(t.TempDir(), opts, Records(records))
	if err != nil {
		t.Fatal(err)
	}
	if twin.Digest() != digest(t, moved) {
		t.Errorf("the twin is at %+v", twin)
	}
	for name, broken := range map[string][]Record{
		"one missing": slices.Delete(slices.Clone(records), 500, 501),
		"one twice":   append(slices.Clone(records), records[500]),
	} {
		_, err := Twin(t.TempDir(), opts, Records(broken))
		if _, ok := errors.AsType[*GapError](err); !ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	// The last write of some key changed.
	records[0] = Record{proto0500.Seq(1000), put(t, "churn/000", "else")}
	if other, err := Twin(t.TempDir(), opts, Records(records)); err != nil || other.Digest() == twin.Digest() {
		t.Errorf("a changed write does not show: %v", err)
	}
}
