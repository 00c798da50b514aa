package kv

import (
	"bytes"
	"errors"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/bbolt"

	"ferry/daemon"
	"ferry/proto0500"
)

func TestStoreKeepsEverythingOverAReopen(t *testing.T) {
	dir := t.TempDir()
	s, c := openStore(t, dir, Options{}), newChain()
	if h, err := s.Head(); err != nil || h != daemon.Genesis(testOrigin) {
		t.Fatalf("head of an empty store: %+v, %v", h, err)
	}
	empty := digest(t, s)
	apply(t, s, c, put(t, "a", "1"), put(t, "b", ""), put(t, "a", "2"))
	apply(t, s, c, put(t, "c", "3"), del(t, "c"), del(t, "never"))
	wantValue(t, s, "a", "2")
	wantValue(t, s, "b", "")
	if _, ok, err := s.Get([]byte("c")); ok || err != nil {
		t.Fatalf("a deleted key is there: %v, %v", ok, err)
	}
	before := recount(t, s)
	if before.Head != c.head || before.Keys != 2 || before.Digest() == empty {
		t.Fatalf("at %+v, want head %+v and 2 keys", before, c.head)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Apply(c.events(t, put(t, "x", "y"))); !errors.Is(err, ErrClosed) {
		t.Errorf("apply after close: %v", err)
	}
	if _, err := s.Digest(); !errors.Is(err, ErrClosed) {
		t.Errorf("digest after close: %v", err)
	}
	s = openStore(t, dir, Options{})
	if after := recount(t, s); after != before {
		t.Errorf("after a reopen at %+v, before at %+v", after, before)
	}
}

// A batch of which one event is wrong leaves nothing behind.
func TestApplyIsWholeOrNothing(t *testing.T) {
	s, c := openStore(t, t.TempDir(), Options{}), newChain()
	apply(t, s, c, put(t, "a", "1"))
	before := recount(t, s)
	good := *c
	for name, events := range map[string][]daemon.Event{
		"payload":  good.events(t, put(t, "a", "2"), []byte("not a command")),
		"sequence": {c.events(t, put(t, "a", "2"))[0], c.events(t, put(t, "b", "2"), put(t, "b", "3"))[1]},
		"parent":   {{Seq: 2, Link: proto0500.Link{OriginHash: testOrigin, Sequence: 2, ParentHash: 7}, Payload: put(t, "a", "2")}},
		"origin":   {{Seq: 2, Link: proto0500.Link{OriginHash: 9, Sequence: 2, ParentHash: before.Head.Hash}, Payload: put(t, "a", "2")}},
	} {
		err := s.Apply(events)
		if _, ok := errors.AsType[*EventError](err); !ok {
			t.Errorf("%s: %v, want an *EventError", name, err)
		}
		if after := recount(t, s); after != before {
			t.Errorf("%s: now at %+v", name, after)
		}
	}
	wantValue(t, s, "a", "1")
	events, err := s.Events(1, 1<<20)
	if err != nil || len(events) != 1 {
		t.Errorf("log has %d events, %v", len(events), err)
	}
}

// The digest kept up over random writes is the one a recount gives, whatever
// was overwritten or deleted, and a store fed the same in other batches has it too.
func TestDigestIsOfTheContent(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var payloads [][]byte
	for i := range 400 {
		key := fmt.Sprintf("k%02d", rng.IntN(40))
		if rng.IntN(4) == 0 {
			payloads = append(payloads, del(t, key))
			continue
		}
		payloads = append(payloads, put(t, key, strings.Repeat("v", rng.IntN(9000))+fmt.Sprint(i)))
	}
	one, two := openStore(t, t.TempDir(), Options{}), openStore(t, t.TempDir(), Options{})
	c := newChain()
	seen := map[uint64]bool{digest(t, one): true}
	for _, p := range payloads {
		apply(t, one, c, p)
		seen[digest(t, one)] = true
	}
	if len(seen) != len(payloads)+1 {
		t.Errorf("%d events gave %d digests: one was blind to a change", len(payloads), len(seen)-1)
	}
	recount(t, one)
	apply(t, two, newChain(), payloads...)
	recount(t, two)
	if digest(t, one) != digest(t, two) {
		t.Error("batches show in the digest")
	}
}

func TestEvents(t *testing.T) {
	s, c := openStore(t, t.TempDir(), Options{}), newChain()
	var want []daemon.Event
	for i := range 50 {
		batch := c.events(t, put(t, fmt.Sprint("k", i), strings.Repeat("x", i*10)))
		want = append(want, batch...)
		if err := s.Apply(batch); err != nil {
			t.Fatal(err)
		}
	}
	got, err := s.Events(1, 1<<20)
	if err != nil || len(got) != len(want) {
		t.Fatalf("%d events, %v", len(got), err)
	}
	for i := range want {
		if got[i].Seq != want[i].Seq || got[i].Link != want[i].Link || got[i].Hash != want[i].Hash ||
			got[i].ReceivedAt != want[i].ReceivedAt || string(got[i].Payload) != string(want[i].Payload) {
			t.Errorf("event %d is %+v, want %+v", i+1, got[i], want[i])
		}
	}
	// In pieces, always at least one, and nothing behind the head.
	for from := proto0500.Seq(1); from <= 50; {
		part, err := s.Events(from, 1)
		if err != nil || len(part) != 1 || part[0].Seq != from {
			t.Fatalf("from %d: %d events, %v", from, len(part), err)
		}
		from++
	}
	if part, err := s.Events(20, 1000); err != nil || len(part) < 2 || len(part) > 10 {
		t.Errorf("about 1000 bytes from 20 on are %d events, %v", len(part), err)
	}
	if part, err := s.Events(51, 1000); err != nil || len(part) != 0 {
		t.Errorf("behind the head are %d events, %v", len(part), err)
	}
}

func TestFill(t *testing.T) {
	const fillBytes = 3*fillValueBytes + 1000
	opts := Options{FillBytes: fillBytes, FillSeed: 7}
	dir := t.TempDir()
	s := openStore(t, dir, opts)
	pos := recount(t, s)
	if pos.Keys != 4 || pos.Head.Seq != 0 {
		t.Fatalf("filled to %+v", pos)
	}
	last, ok, err := s.Get([]byte("fill/00000003"))
	if err != nil || !ok || len(last) != 1000 {
		t.Fatalf("the last value has %d bytes, %v, %v", len(last), ok, err)
	}
	apply(t, s, newChain(), put(t, "a", "b"))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	// Filled once, not again when it is opened again.
	if s = openStore(t, dir, opts); recount(t, s).Keys != 5 {
		t.Errorf("after a reopen %+v", recount(t, s))
	}
	if other := recount(t, openStore(t, t.TempDir(), opts)); other != pos {
		t.Errorf("the same seed filled to %+v and %+v", pos, other)
	}
	if other := recount(t, openStore(t, t.TempDir(), Options{FillBytes: fillBytes, FillSeed: 8})); other.Sum == pos.Sum {
		t.Error("another seed filled alike")
	}
	env := testEnv(t, t.TempDir())
	env.Created = false
	s, err = Open(env, opts)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if target := recount(t, s); target.Keys != 0 {
		t.Errorf("a store that is to be restored was filled to %+v", target)
	}
}

func TestCreateIsWholeOrNothing(t *testing.T) {
	dir := t.TempDir()
	// What a crash while filling leaves is not taken for a store.
	if err := os.WriteFile(filepath.Join(dir, fileName+".new"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	recount(t, openStore(t, dir, Options{}))
	if _, err := os.Stat(filepath.Join(dir, fileName+".new")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the half is still there: %v", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Run("another daemon's file", func(t *testing.T) {
		dir := t.TempDir()
		if err := openStore(t, dir, Options{}).Close(); err != nil {
			t.Fatal(err)
		}
		env := testEnv(t, dir)
		env.Origin++
		_, err := Open(env, Options{})
		if _, ok := errors.AsType[*OriginError](err); !ok {
			t.Errorf("got %v", err)
		}
	})
	t.Run("not a database", func(t *testing.T) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, fileName), make([]byte, 1<<16), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(testEnv(t, dir), Options{}); err == nil {
			t.Error("opened zeros")
		}
	})
	t.Run("in use", func(t *testing.T) {
		dir := t.TempDir()
		openStore(t, dir, Options{})
		_, err := Open(testEnv(t, dir), Options{})
		if err == nil || !strings.Contains(err.Error(), "in use") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("log without its end", func(t *testing.T) {
		dir := t.TempDir()
		s := openStore(t, dir, Options{})
		apply(t, s, newChain(), put(t, "a", "1"), put(t, "b", "2"))
		var key [8]byte
		key[7] = 2
		if err := s.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(bucketLog).Delete(key[:]) }); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		_, err := Open(testEnv(t, dir), Options{})
		if ce, ok := errors.AsType[*CorruptError](err); !ok || ce.What != "log" {
			t.Errorf("got %v", err)
		}
	})
}

// Where the system refuses the address space asked for, the store opens with less.
func TestMapFallsBack(t *testing.T) {
	if bits.UintSize < 64 {
		t.Skip("no map is that large where pointers have 32 bits")
	}
	s, c := openStore(t, t.TempDir(), Options{MapBytes: 1 << 47}), newChain() // all there is, on amd64
	apply(t, s, c, put(t, "a", "1"))
	recount(t, s)
}

// An entry under another's number is not given out as an event.
func TestEventsOfASpoiledLog(t *testing.T) {
	s, c := openStore(t, t.TempDir(), Options{}), newChain()
	apply(t, s, c, put(t, "a", "1"), put(t, "b", "2"), put(t, "c", "3"))
	if err := s.db.Update(func(tx *bbolt.Tx) error {
		log := tx.Bucket(bucketLog)
		k, _ := log.Cursor().First()
		_, v := log.Cursor().Last()
		return log.Put(bytes.Clone(k), bytes.Clone(v))
	}); err != nil {
		t.Fatal(err)
	}
	if events, err := s.Events(1, 1<<20); !isA[*CorruptError](err) {
		t.Errorf("%d events, %v", len(events), err)
	}
}
