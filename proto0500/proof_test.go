package proto0500_test

import (
	"encoding/hex"
	"errors"
	"testing"

	"ferry/frame"
	"ferry/proto0500"
)

// sliceLog is a log in memory.
type sliceLog struct {
	origin proto0500.Origin
	events []proto0500.Event
}

func (l sliceLog) Origin() proto0500.Origin { return l.origin }

func (l sliceLog) Event(s proto0500.Seq) (proto0500.Event, bool) {
	for _, e := range l.events {
		if e.Link.Sequence == s {
			return e, true
		}
	}
	return proto0500.Event{}, false
}

func TestContinuityVectors(t *testing.T) {
	type vector struct {
		Kind    string
		Hex     string
		Origin  string `json:"origin_hash"`
		Verdict string `json:"crate_verdict"`
		Fields  struct {
			Origin   string `json:"origin_hash"`
			FromSeq  string `json:"from_seq"`
			ToSeq    string `json:"to_seq"`
			FromHash string `json:"from_hash"`
			ToHash   string `json:"to_hash"`
		}
		Events []eventVector
		Checks []struct{ Name, Proof, Error string }
		Source string `json:"source_head"`
		Target string `json:"target_head"`
		Proof  string
	}
	causes := map[string]error{
		"": nil, "OriginMismatch": proto0500.ErrProofOrigin, "InvalidRange": proto0500.ErrProofRange,
		"SpanTooLarge": proto0500.ErrProofSpan, "MissingEvent": proto0500.ErrProofMissing, "HashMismatch": proto0500.ErrProofHash,
	}
	vectorLines(t, "continuity.jsonl", func(t *testing.T, v vector) {
		switch v.Kind {
		case "layout":
			var p proto0500.Proof
			if err := p.Decode(unhex(t, v.Hex)); (err == nil) != (v.Verdict == "accepted") {
				t.Fatalf("%v, but the crate says %s", err, v.Verdict)
			} else if err != nil {
				if k := frame.ErrorKind(err); k != "truncated" && k != "trailing" {
					t.Errorf("kind %q: %v", k, err)
				}
				return
			}
			want := proto0500.Proof{
				OriginHash: proto0500.Origin(number(t, v.Fields.Origin)),
				FromSeq:    proto0500.Seq(number(t, v.Fields.FromSeq)),
				ToSeq:      proto0500.Seq(number(t, v.Fields.ToSeq)),
				FromHash:   number(t, v.Fields.FromHash),
				ToHash:     number(t, v.Fields.ToHash),
			}
			if p != want || hex.EncodeToString(p.Append(nil)) != v.Hex {
				t.Errorf("%+v, not %+v", p, want)
			}
		case "verify":
			log := sliceLog{origin: proto0500.Origin(number(t, v.Origin))}
			for _, e := range v.Events {
				log.events = append(log.events, proto0500.Event{Link: link(t, e.Link), Payload: unhex(t, e.Payload)})
			}
			for _, c := range v.Checks {
				var p proto0500.Proof
				if err := p.Decode(unhex(t, c.Proof)); err != nil {
					t.Fatal(err)
				}
				cause, known := causes[c.Error]
				if err := p.Verify(log); !known || !errors.Is(err, cause) {
					t.Errorf("%s: %v, but the crate says %q", c.Name, err, c.Error)
				}
			}
		case "migration":
			p := proto0500.ProofOf(link(t, v.Source), link(t, v.Target))
			if got := hex.EncodeToString(p.Append(nil)); got != v.Proof {
				t.Errorf("proof %s, not %s", got, v.Proof)
			}
		default:
			t.Errorf("kind %q", v.Kind)
		}
	})
}

// TestBrokenChain: both ends are right, and a link in between is not, or not there.
func TestBrokenChain(t *testing.T) {
	events := chain(t, 1, 5)
	p := proto0500.Proof{OriginHash: 1, FromSeq: 1, ToSeq: 5, FromHash: events[0].Hash(), ToHash: events[4].Hash()}
	if err := p.Verify(sliceLog{1, events}); err != nil {
		t.Fatal(err)
	}
	gone := append(append([]proto0500.Event(nil), events[:2]...), events[3:]...)
	if err := p.Verify(sliceLog{1, gone}); !errors.Is(err, proto0500.ErrProofMissing) {
		t.Errorf("an event gone: %v", err)
	}
	events[2].Payload = []byte("another")
	if err := p.Verify(sliceLog{1, events}); !errors.Is(err, proto0500.ErrParentHash) {
		t.Errorf("an event changed: %v", err)
	}
}

// chain is the first n events of an origin.
func chain(t testing.TB, o proto0500.Origin, n int) []proto0500.Event {
	t.Helper()
	prev, hash := proto0500.Genesis(o), proto0500.Genesis(o).Hash(nil)
	var events []proto0500.Event
	for i := range n {
		l, err := prev.Next(hash, 0)
		if err != nil {
			t.Fatal(err)
		}
		e := proto0500.Event{Link: l, Payload: []byte{byte(i), 2, 3}, ReceivedAt: uint64(i)}
		events = append(events, e)
		prev, hash = l, e.Hash()
	}
	return events
}
