package proto0500_test

import (
	"encoding/hex"
	"errors"
	"math"
	"strconv"
	"testing"

	"github.com/zeebo/xxh3"

	"ferry/proto0500"
)

type eventVector struct {
	Payload    string
	Link       string
	ParentHash string `json:"parent_hash"`
	Sequence   string
	Horizon    string `json:"horizon_encoded"`
}

type linkVector struct {
	Kind       string
	Link       string
	Origin     string `json:"origin_hash"`
	Genesis    string
	First      string `json:"first_event_parent_hash"`
	Payload    string
	ParentHash string `json:"parent_hash"`
	NextParent string `json:"next_parent_hash"`
	Observed   []string
	Origins    []string
	Horizon    string `json:"horizon_encoded"`
	Probes     []struct {
		Origin string `json:"origin_hash"`
		Might  bool   `json:"might_contain"`
	}
	Head        string
	HeadPayload string `json:"head_payload"`
	Events      []eventVector
	Previous    string
	PrevPayload string `json:"previous_payload"`
	Verdict     string `json:"crate_verdict"`
	Error       string
}

func TestLinkVectors(t *testing.T) {
	vectorLines(t, "links.jsonl", func(t *testing.T, v linkVector) {
		switch v.Kind {
		case "genesis":
			g := proto0500.Genesis(proto0500.Origin(number(t, v.Origin)))
			checkLink(t, g, v.Link)
			if !g.IsGenesis() || g.Hash(nil) != number(t, v.First) {
				t.Errorf("genesis %v, hash %d, not %s", g.IsGenesis(), g.Hash(nil), v.First)
			}
		case "parent-hash":
			if got := link(t, v.Link).Hash(unhex(t, v.Payload)); got != number(t, v.ParentHash) {
				t.Errorf("hash %d, not %s", got, v.ParentHash)
			}
		case "chain":
			g := proto0500.Genesis(proto0500.Origin(number(t, v.Origin)))
			checkLink(t, g, v.Genesis)
			var h proto0500.Horizon
			for i, o := range v.Observed { // one before each event
				h.Observe(proto0500.Origin(number(t, o)))
				if uint64(h) != number(t, v.Events[i].Horizon) {
					t.Errorf("event %d: horizon %d, not %s", i, h, v.Events[i].Horizon)
				}
			}
			if hash := checkChain(t, g, nil, v.Events); hash != number(t, v.NextParent) {
				t.Errorf("next parent_hash %d, not %s", hash, v.NextParent)
			}
		case "from-head":
			checkChain(t, link(t, v.Head), unhex(t, v.HeadPayload), v.Events)
		case "horizon":
			var h proto0500.Horizon
			for _, o := range v.Origins {
				h.Observe(proto0500.Origin(number(t, o)))
			}
			if uint64(h) != number(t, v.Horizon) {
				t.Fatalf("horizon %d, not %s", h, v.Horizon)
			}
			for _, p := range v.Probes {
				if got := h.MayContain(proto0500.Origin(number(t, p.Origin))); got != p.Might {
					t.Errorf("may contain %s: %v", p.Origin, got)
				}
			}
		case "validate":
			prev := link(t, v.Previous)
			err := link(t, v.Link).Follows(prev, prev.Hash(unhex(t, v.PrevPayload)))
			want := map[string]error{
				"": nil, "OriginMismatch": proto0500.ErrOrigin, "SequenceGap": proto0500.ErrSequence,
				"ParentHashMismatch": proto0500.ErrParentHash,
			}
			if w, known := want[v.Error]; !known || !errors.Is(err, w) {
				t.Errorf("%v, but the crate says %q", err, v.Error)
			}
		default:
			t.Errorf("kind %q", v.Kind)
		}
	})
}

// checkChain makes the events' links from prev on and compares them; it returns the hash of the last one.
func checkChain(t *testing.T, prev proto0500.Link, payload []byte, events []eventVector) uint64 {
	t.Helper()
	hash := prev.Hash(payload)
	for _, e := range events {
		next, err := prev.Next(hash, number(t, e.Horizon))
		if err != nil {
			t.Fatal(err)
		}
		checkLink(t, next, e.Link)
		if err := next.Follows(prev, hash); err != nil {
			t.Error(err)
		}
		prev, hash = next, proto0500.Event{Link: next, Payload: unhex(t, e.Payload)}.Hash()
	}
	return hash
}

func checkLink(t *testing.T, l proto0500.Link, want string) {
	t.Helper()
	if got := hex.EncodeToString(l.Append(nil)); got != want {
		t.Errorf("link %s, not %s", got, want)
	}
	if link(t, want) != l {
		t.Errorf("%s reads as %+v, not %+v", want, link(t, want), l)
	}
}

func TestLastSequence(t *testing.T) {
	last := proto0500.Link{OriginHash: 1, Sequence: math.MaxUint64}
	if _, err := last.Next(0, 0); !errors.Is(err, proto0500.ErrSequence) {
		t.Errorf("after 2^64-1: %v", err)
	}
}

// TestHashIsOfLinkAndPayload: the ways to hash, for short payloads and long ones, agree with the definition.
func TestHashIsOfLinkAndPayload(t *testing.T) {
	l := proto0500.Link{OriginHash: 1, HorizonEncoded: 2, Sequence: 3, ParentHash: 4}
	whole := l.Append(nil)
	for i := range 3000 {
		if got, want := l.Hash(whole[proto0500.LinkBytes:]), xxh3.Hash(whole); got != want {
			t.Fatalf("payload of %d bytes: %x, not %x", i, got, want)
		}
		whole = append(whole, byte(i))
	}
}

func TestHashDoesNotAllocate(t *testing.T) {
	l, payload := proto0500.Genesis(1), make([]byte, 1<<20)
	for _, n := range []int{0, 480, 481, len(payload)} {
		if a := testing.AllocsPerRun(20, func() { sink += l.Hash(payload[:n]) }); a != 0 {
			t.Errorf("payload of %d bytes: %v allocations", n, a)
		}
	}
}

var sink uint64

func link(t *testing.T, s string) proto0500.Link {
	t.Helper()
	b := unhex(t, s)
	if len(b) != proto0500.LinkBytes {
		t.Fatalf("a link of %d bytes", len(b))
	}
	return proto0500.LinkFrom(b)
}

func number(t *testing.T, s string) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func uint64String(n uint64) string { return strconv.FormatUint(n, 10) }
