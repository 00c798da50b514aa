package fuzz

import (
	"bytes"
	"errors"
	"testing"

	"github.com/zeebo/xxh3"

	"ferry/fuzz/internal/harness"
	"ferry/proto0500"
)

// FuzzLink: a link's hash is what protocol.md defines; the link that Next makes follows, and no other does.
func FuzzLink(f *testing.F) { fuzzLink(f) }

func fuzzLink(f harness.F) {
	harness.Vectors(f, "proto0500/testdata/links.jsonl", "link", func(b []byte) {
		f.Add(b, b[:len(b)/2-1], uint64(7), uint8(0), uint8(1))
		f.Add(b, bytes.Repeat(b, 16), uint64(7), uint8(24), uint8(1)) // over the payload that is hashed in one go
	})
	f.Fuzz(func(t *testing.T, b, payload []byte, horizon uint64, at, flip uint8) {
		if len(b) < proto0500.LinkBytes {
			return // LinkFrom asks for them
		}
		b = b[:proto0500.LinkBytes]
		l := proto0500.LinkFrom(b)
		if got := l.Append(nil); !bytes.Equal(got, b) {
			t.Fatalf("written again as %x, not %x", got, b)
		}
		harness.Accept("link")
		hash := l.Hash(payload)
		if harness.Canary() && len(payload) > 240 {
			hash ^= 1 // as if the way for long payloads were another
		}
		if want := xxh3.Hash(append(bytes.Clone(b), payload...)); hash != want {
			t.Fatalf("hash %016x, not %016x", hash, want)
		}
		next, err := l.Next(hash, horizon)
		if err != nil {
			if !errors.Is(err, proto0500.ErrSequence) || l.Sequence+1 != 0 {
				t.Fatalf("after %d: %v", l.Sequence, err)
			}
			return
		}
		if err := next.Follows(l, hash); err != nil {
			t.Fatalf("what Next has made: %v", err)
		}
		// One bit more or less: only the horizon is free.
		bits := next.Append(nil)
		at %= proto0500.LinkBytes
		bits[at] ^= flip
		free := flip == 0 || at >= 8 && at < 16
		err = proto0500.LinkFrom(bits).Follows(l, hash)
		if free != (err == nil) {
			t.Fatalf("byte %d ^ %#02x: %v", at, flip, err)
		}
		if _, ok := errors.AsType[*proto0500.ChainError](err); err != nil && !ok {
			t.Fatalf("%T is no ChainError", err)
		}
	})
}

// FuzzProof: a proof over an intact log holds exactly where its ends are in the log, in order, not too far apart, and
// have the hashes that it says.
func FuzzProof(f *testing.F) { fuzzProof(f) }

func fuzzProof(f harness.F) {
	harness.Vectors(f, "proto0500/testdata/continuity.jsonl", "hex", func(b []byte) { f.Add(b, uint8(3)) })
	harness.Vectors(f, "proto0500/testdata/continuity.jsonl", "proof", func(b []byte) { f.Add(b, uint8(9)) })
	for n := range uint8(4) {
		events := intact(7, int(n)+1)
		p := proto0500.Proof{OriginHash: 7, FromSeq: 1, ToSeq: proto0500.Seq(n) + 1, FromHash: events[0].Hash(), ToHash: events[n].Hash()}
		f.Add(p.Append(nil), n+1)
	}
	f.Fuzz(func(t *testing.T, b []byte, n uint8) {
		var p proto0500.Proof
		if err := p.Decode(b); err != nil {
			harness.Typed(t, err, len(b))
			return
		}
		harness.Accept("proof")
		if got := p.Append(nil); !bytes.Equal(got, b) {
			t.Fatalf("written again as %x, not %x", got, b)
		}
		log := logOf{p.OriginHash, intact(p.OriginHash, int(n))}
		holds := p.FromSeq >= 1 && p.FromSeq <= p.ToSeq && p.ToSeq <= proto0500.Seq(n) &&
			log.events[p.FromSeq-1].Hash() == p.FromHash && log.events[p.ToSeq-1].Hash() == p.ToHash
		if harness.Canary() && p.ToSeq == 3 {
			p.ToHash ^= 1
		}
		if err := p.Verify(log); holds != (err == nil) {
			t.Fatalf("%+v over %d events: %v", p, n, err)
		}
	})
}

// logOf has the events from 1 on.
type logOf struct {
	origin proto0500.Origin
	events []proto0500.Event
}

func (l logOf) Origin() proto0500.Origin { return l.origin }

func (l logOf) Event(s proto0500.Seq) (proto0500.Event, bool) {
	if s < 1 || s > proto0500.Seq(len(l.events)) {
		return proto0500.Event{}, false
	}
	return l.events[s-1], true
}

// intact is the first n events of an origin, each with a payload of its own.
func intact(o proto0500.Origin, n int) []proto0500.Event {
	prev := proto0500.Genesis(o)
	hash := prev.Hash(nil)
	events := make([]proto0500.Event, n)
	for i := range events {
		next, err := prev.Next(hash, uint64(i))
		if err != nil {
			panic(err) // of a chain of 255
		}
		events[i] = proto0500.Event{Link: next, Payload: bytes.Repeat([]byte{byte(i)}, i%5)}
		prev, hash = next, events[i].Hash()
	}
	return events
}
