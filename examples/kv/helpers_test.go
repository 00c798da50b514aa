package kv

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"ferry/daemon"
	"ferry/proto0500"
)

const testOrigin proto0500.Origin = 0x0123456789abcdef

func testEnv(t testing.TB, dir string) daemon.Env {
	return daemon.Env{Dir: dir, Origin: testOrigin, Name: "orders", Created: true, Log: slog.New(slog.NewTextHandler(t.Output(), nil))}
}

func openStore(t testing.TB, dir string, opts Options) *Store {
	t.Helper()
	s, err := Open(testEnv(t, dir), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

// chain makes the events that a host would make of payloads.
type chain struct{ head daemon.Head }

func newChain() *chain { return &chain{head: daemon.Genesis(testOrigin)} }

func (c *chain) events(t testing.TB, payloads ...[]byte) []daemon.Event {
	t.Helper()
	events := make([]daemon.Event, 0, len(payloads))
	for _, p := range payloads {
		link, err := c.head.Link.Next(c.head.Hash, 0)
		if err != nil {
			t.Fatal(err)
		}
		e := daemon.Event{Seq: link.Sequence, Link: link, Hash: link.Hash(p), Payload: p, ReceivedAt: uint64(link.Sequence) * 10}
		c.head = daemon.Head{Seq: e.Seq, Link: e.Link, Hash: e.Hash}
		events = append(events, e)
	}
	return events
}

func put(t testing.TB, key string, value string) []byte {
	t.Helper()
	p, err := EncodePut([]byte(key), []byte(value))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func del(t testing.TB, key string) []byte {
	t.Helper()
	p, err := EncodeDelete([]byte(key))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func apply(t testing.TB, s *Store, c *chain, payloads ...[]byte) {
	t.Helper()
	if err := s.Apply(c.events(t, payloads...)); err != nil {
		t.Fatal(err)
	}
}

func digest(t testing.TB, s *Store) uint64 {
	t.Helper()
	d, err := s.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// recount fails the test when the store's content is not what it says.
func recount(t testing.TB, s *Store) Position {
	t.Helper()
	said, counted, err := s.Recount()
	if err != nil {
		t.Fatal(err)
	}
	if said.Content != counted {
		t.Fatalf("store says %+v, counted %+v", said.Content, counted)
	}
	return said
}

func wantValue(t testing.TB, s *Store, key, want string) {
	t.Helper()
	got, ok, err := s.Get([]byte(key))
	if err != nil || !ok || string(got) != want {
		t.Fatalf("Get(%q) = %.40q, %v, %v, want %.40q", key, got, ok, err, want)
	}
}

// churn writes, overwrites and deletes n times, one event a batch, so that
// there are free pages.
func churn(t testing.TB, s *Store, c *chain, n int) {
	t.Helper()
	for i := range n {
		key := fmt.Sprintf("churn/%03d", i%97)
		if i%5 == 4 {
			apply(t, s, c, del(t, key))
			continue
		}
		apply(t, s, c, put(t, key, fmt.Sprintf("%0*d", 10+i*37%3000, i)))
	}
}

// fileState is a received snapshot.
type fileState struct {
	*os.File
	size int64
}

func (f *fileState) Size() int64            { return f.size }
func (f *fileState) Take(path string) error { return os.Rename(f.Name(), path) }

// receive writes b to a file, as a target does with a snapshot.
func receive(t testing.TB, b []byte) daemon.State {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "state"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	if _, err := f.Write(b); err != nil {
		t.Fatal(err)
	}
	return &fileState{File: f, size: int64(len(b))}
}

func readAll(t testing.TB, s daemon.Snapshot) []byte {
	t.Helper()
	b := make([]byte, s.Size())
	if n, err := s.ReadAt(b, 0); err != nil || n != len(b) {
		t.Fatalf("read %d bytes of %d: %v", n, len(b), err)
	}
	return b
}

func snapshotOf(t testing.TB, s *Store) daemon.Snapshot {
	t.Helper()
	snap, err := s.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = snap.Close() })
	return snap
}
