package proto0500_test

import (
	"errors"
	"testing"

	"ferry/frame"
	"ferry/proto0500"
)

// equals is what values on the wire have in common: their Equal looks at nothing else.
type equals[T any] interface{ Equal(T) bool }

func testEqual[T equals[T]](t *testing.T, name string, same [2]T, other ...T) {
	t.Helper()
	if !same[0].Equal(same[1]) || !same[1].Equal(same[0]) {
		t.Errorf("%s: the same is not equal", name)
	}
	for i, o := range other {
		if same[0].Equal(o) || o.Equal(same[0]) {
			t.Errorf("%s: equal to other %d", name, i)
		}
	}
}

// TestEqualLooksAtTheWire: a list to be sent and what is decoded of it are equal, and any difference shows.
func TestEqualLooksAtTheWire(t *testing.T) {
	a, b := proto0500.CounterValue{Counter: 1, Value: 2}, proto0500.CounterValue{Counter: 1, Value: 3}
	counters := decodedAs(t, proto0500.Progress{Counters: proto0500.CountersOf(a, b)})
	testEqual(t, "counters", [2]proto0500.Counters{proto0500.CountersOf(a, b), counters.Counters},
		proto0500.CountersOf(b, a), proto0500.CountersOf(a), proto0500.Counters{})

	r, s := proto0500.Range{First: 1, Chunks: 2}, proto0500.Range{First: 5, Chunks: 1}
	ranges := decodedAs(t, proto0500.TransferStatus{Ranges: proto0500.RangesOf(r, s)})
	testEqual(t, "ranges", [2]proto0500.Ranges{proto0500.RangesOf(r, s), ranges.Ranges}, proto0500.RangesOf(r), proto0500.Ranges{})

	d, e := [proto0500.ChunkDigestBytes]byte{1}, [proto0500.ChunkDigestBytes]byte{2}
	have := decodedAs(t, proto0500.Have{Digests: proto0500.ChunkDigestsOf(d, e)})
	testEqual(t, "digests", [2]proto0500.ChunkDigests{proto0500.ChunkDigestsOf(d, e), have.Digests},
		proto0500.ChunkDigestsOf(e, d), proto0500.ChunkDigestsOf(d))

	failed := decodedAs(t, proto0500.MigrationFailed{Reason: proto0500.NewReason(proto0500.CodeStateFailed, "x")})
	testEqual(t, "reason", [2]proto0500.Reason{proto0500.NewReason(proto0500.CodeStateFailed, "x"), failed.Reason},
		proto0500.NewReason(proto0500.CodeStateFailed, "y"), proto0500.NewReason(proto0500.CodeIdentityTransportFailed, "x"),
		proto0500.Reason{Code: proto0500.CodeNotReadyTimeout, Attempts: 1})
}

// decodedAs sends a message through its bytes.
func decodedAs[T proto0500.Message](t *testing.T, m T) T {
	t.Helper()
	lim := frame.Default()
	b, err := m.Append(nil, &lim)
	if err != nil {
		t.Fatal(err)
	}
	got, err := proto0500.Decode(b, &lim)
	if err != nil {
		t.Fatal(err)
	}
	return got.(T)
}

// TestIteratorsStop: who has seen enough is not called again.
func TestIteratorsStop(t *testing.T) {
	counters := decodedAs(t, proto0500.Progress{Counters: proto0500.CountersOf(make([]proto0500.CounterValue, 3)...)}).Counters
	have := decodedAs(t, proto0500.Have{Digests: proto0500.ChunkDigestsOf(make([][proto0500.ChunkDigestBytes]byte, 3)...)}).Digests
	ranges := decodedAs(t, proto0500.TransferStatus{Ranges: proto0500.RangesOf(proto0500.Range{Chunks: 1}, proto0500.Range{First: 2, Chunks: 1})}).Ranges
	for range counters.All() {
		break
	}
	for range have.All() {
		break
	}
	for range ranges.All() {
		break
	}
}

// TestEventClones own their payloads: of one event, and of a list to be sent.
func TestEventClones(t *testing.T) {
	payload := []byte("payload")
	ev := proto0500.Event{Link: proto0500.Genesis(7), Payload: payload, ReceivedAt: 9}
	one, list := ev.Clone(), proto0500.EventsOf(ev).Clone()
	copy(payload, "changed")
	want := proto0500.Event{Link: proto0500.Genesis(7), Payload: []byte("payload"), ReceivedAt: 9}
	if !one.Equal(want) || !list.Equal(proto0500.EventsOf(want)) {
		t.Errorf("%+v", one)
	}
}

// twistedLog gives an event of another sequence than the one that was asked for.
type twistedLog struct{ events []proto0500.Event }

func (twistedLog) Origin() proto0500.Origin { return 7 }

func (l twistedLog) Event(s proto0500.Seq) (proto0500.Event, bool) {
	return l.events[len(l.events)-int(s)], true
}

// TestProofOverATwistedLog ends, and says what the log has done.
func TestProofOverATwistedLog(t *testing.T) {
	events := chain(t, 7, 4)
	p := proto0500.Proof{OriginHash: 7, FromSeq: 1, ToSeq: 4, FromHash: events[0].Hash(), ToHash: events[3].Hash()}
	if err := p.Verify(twistedLog{events}); !errors.Is(err, proto0500.ErrProofMissing) {
		t.Errorf("%v", err)
	}
}

// TestRejectReasonNames: each has one, and they differ.
func TestRejectReasonNames(t *testing.T) {
	seen := map[string]bool{}
	for r := range 256 {
		name := proto0500.RejectReason(r).String()
		if seen[name] {
			t.Errorf("%d is %s, too", r, name)
		}
		seen[name] = true
	}
	if !seen["Malformed"] || !seen["reject(255)"] {
		t.Errorf("%v", seen)
	}
}
