package kv

import (
	"bytes"
	"errors"
	"io"
	"os"
	"testing"

	"go.etcd.io/bbolt"
)

// What a snapshot reads is the state at its moment, the same each time, in any
// pieces, while the store goes on and uses its free pages.
func TestSnapshotStaysTheSame(t *testing.T) {
	s, c := openStore(t, t.TempDir(), Options{}), newChain()
	churn(t, s, c, 300)
	at := recount(t, s)
	snap := snapshotOf(t, s)
	free := snap.(*snapshot).free
	if len(free) == 0 {
		t.Fatal("no free pages: the test shows nothing")
	}
	first := readAll(t, snap)
	raw := rawPages(t, s, free)
	churn(t, s, c, 300)
	if bytes.Equal(raw, rawPages(t, s, free)) {
		t.Fatal("no free page was used again: the test shows nothing")
	}
	if second := readAll(t, snap); !bytes.Equal(first, second) {
		t.Error("the snapshot changed while the store went on")
	}
	for _, piece := range []int{1, 100, 4096, 5000} {
		for off := int64(0); off < snap.Size(); off += 3001 {
			p := make([]byte, piece)
			n, err := snap.ReadAt(p, off)
			want := first[off:min(off+int64(piece), snap.Size())]
			if !bytes.Equal(p[:n], want) || n < piece && !errors.Is(err, io.EOF) || n == piece && err != nil {
				t.Fatalf("%d bytes at %d: %d, %v", piece, off, n, err)
			}
		}
	}
	restored := openStore(t, t.TempDir(), Options{})
	if err := restored.Restore(receive(t, first)); err != nil {
		t.Fatal(err)
	}
	if got := recount(t, restored); got != at {
		t.Errorf("restored at %+v, taken at %+v", got, at)
	}
	checkPages(t, restored)
}

// rawPages is what the file itself has in the spans.
func rawPages(t *testing.T, s *Store, spans []span) (b []byte) {
	t.Helper()
	f, err := os.Open(s.path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, sp := range spans {
		part := make([]byte, sp.to-sp.from)
		if _, err := f.ReadAt(part, sp.from); err != nil {
			t.Fatal(err)
		}
		b = append(b, part...)
	}
	return b
}

// checkPages has bbolt check every page: each one used once, or free.
func checkPages(t *testing.T, s *Store) {
	t.Helper()
	err := s.db.View(func(tx *bbolt.Tx) error {
		for err := range tx.Check() {
			t.Errorf("check: %v", err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// A restored store goes on with the chain, before and after Sync, and over a reopen.
func TestRestoreGoesOn(t *testing.T) {
	source, c := openStore(t, t.TempDir(), Options{FillBytes: 1 << 20}), newChain()
	churn(t, source, c, 50)
	snap := snapshotOf(t, source)
	dir := t.TempDir()
	target := openStore(t, dir, Options{})
	if err := target.Restore(receive(t, readAll(t, snap))); err != nil {
		t.Fatal(err)
	}
	for step := range 3 {
		events := c.events(t, put(t, "tail", "value"), put(t, "more", string(rune('a'+step))))
		for _, s := range []*Store{source, target} {
			if err := s.Apply(events); err != nil {
				t.Fatal(err)
			}
		}
		if digest(t, source) != digest(t, target) {
			t.Fatalf("step %d: digests differ", step)
		}
		if target.db.NoSync != (step == 0) {
			t.Errorf("step %d: NoSync is %v", step, target.db.NoSync)
		}
		if err := target.Sync(); err != nil {
			t.Fatal(err)
		}
	}
	if err := target.Restore(receive(t, nil)); !errors.Is(err, ErrNotEmpty) {
		t.Errorf("restored twice: %v", err)
	}
	want := recount(t, target)
	if err := target.Close(); err != nil {
		t.Fatal(err)
	}
	target = openStore(t, dir, Options{})
	if got := recount(t, target); got != want || got.Head != c.head {
		t.Errorf("after a reopen at %+v, want %+v", got, want)
	}
	checkPages(t, target)
}

func TestRestoreRefuses(t *testing.T) {
	source, c := openStore(t, t.TempDir(), Options{}), newChain()
	churn(t, source, c, 200)
	image, page := readAll(t, snapshotOf(t, source)), source.db.Info().PageSize

	spoil := func(f func(tx *bbolt.Tx) error) []byte {
		dir := t.TempDir()
		s := openStore(t, dir, Options{})
		if err := s.Restore(receive(t, image)); err != nil {
			t.Fatal(err)
		}
		if err := s.db.Update(f); err != nil {
			t.Fatal(err)
		}
		return readAll(t, snapshotOf(t, s))
	}
	fill := bytes.Repeat([]byte{0xff}, len(image)-2*page)
	for _, c := range []struct {
		name  string
		image []byte
		is    func(error) bool
	}{
		{"nothing", nil, isA[*CorruptError]},
		{"cut", image[:len(image)-page], isA[*CorruptError]},
		{"longer", append(bytes.Clone(image), make([]byte, page)...), isA[*CorruptError]},
		{"another file", bytes.Repeat([]byte("x"), len(image)), isA[*CorruptError]},
		{"pages overwritten", append(bytes.Clone(image[:2*page]), fill...), isA[*CorruptError]},
		{"value changed", spoil(func(tx *bbolt.Tx) error {
			k, _ := tx.Bucket(bucketKV).Cursor().First()
			return tx.Bucket(bucketKV).Put(k, []byte("changed"))
		}), isA[*DigestError]},
		{"key added", spoil(func(tx *bbolt.Tx) error {
			return tx.Bucket(bucketKV).Put([]byte("added"), nil)
		}), isA[*DigestError]},
		{"log cut", spoil(func(tx *bbolt.Tx) error {
			k, _ := tx.Bucket(bucketLog).Cursor().Last()
			return tx.Bucket(bucketLog).Delete(k)
		}), isA[*CorruptError]},
		{"position missing", spoil(func(tx *bbolt.Tx) error {
			return tx.Bucket(bucketMeta).Delete(keyPosition)
		}), isA[*CorruptError]},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := openStore(t, t.TempDir(), Options{})
			err := s.Restore(receive(t, c.image))
			if err == nil || !c.is(err) {
				t.Fatalf("got %v", err)
			}
			if _, err := s.Head(); !errors.Is(err, ErrClosed) {
				t.Errorf("still open: %v", err)
			}
		})
	}
}

func isA[T error](err error) bool { _, ok := errors.AsType[T](err); return ok }

// Page numbers beyond the end of the file are faults in the map, which would end
// the process: they must come out as errors.
func TestRestoreOfWildPageNumbers(t *testing.T) {
	source, c := openStore(t, t.TempDir(), Options{}), newChain()
	churn(t, source, c, 50)
	image, pageSize := readAll(t, snapshotOf(t, source)), source.db.Info().PageSize
	refused := 0
	for page := 2; page < len(image)/pageSize; page++ {
		wild := bytes.Clone(image)
		// Each page's body, as a branch: a child far beyond the file.
		for at := page*pageSize + pageHeadBytes; at+8 < (page+1)*pageSize; at += 8 {
			copy(wild[at:], "\x00\x00\x40\x00\x00\x00\x00\x00")
		}
		s := openStore(t, t.TempDir(), Options{})
		if err := s.Restore(receive(t, wild)); err != nil {
			refused++
		}
	}
	if refused == 0 {
		t.Error("no page mattered")
	}
}

func TestCloseEndsSnapshots(t *testing.T) {
	s, c := openStore(t, t.TempDir(), Options{}), newChain()
	churn(t, s, c, 10)
	snap := snapshotOf(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := snap.ReadAt(make([]byte, 10), 0); !errors.Is(err, ErrClosed) {
		t.Errorf("read after the store was closed: %v", err)
	}
	if err := snap.Close(); err != nil {
		t.Error(err)
	}
	if _, err := s.Snapshot(); !errors.Is(err, ErrClosed) {
		t.Errorf("snapshot after close: %v", err)
	}
}

// Nothing of a large free list is lost where its count no longer fits the page's
// own field.
func TestManyFreePages(t *testing.T) {
	// Some 67,000 pages in values, then all of them dropped.
	s, c := openStore(t, t.TempDir(), Options{FillBytes: 260 << 20}), newChain()
	if err := s.db.Update(func(tx *bbolt.Tx) error {
		if err := tx.DeleteBucket(bucketKV); err != nil {
			return err
		}
		_, err := tx.CreateBucket(bucketKV)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	pos := *s.pos.Load()
	pos.Content = Content{}
	s.pos.Store(&pos)
	apply(t, s, c, put(t, "left", "over"))
	snap := snapshotOf(t, s)
	var free int64
	for _, sp := range snap.(*snapshot).free {
		free += (sp.to - sp.from) / int64(s.db.Info().PageSize)
	}
	if free < 0xFFFF {
		t.Fatalf("%d free pages: the test shows nothing", free)
	}
	restored := openStore(t, t.TempDir(), Options{})
	if err := restored.Restore(receive(t, readAll(t, snap))); err != nil {
		t.Fatal(err)
	}
	wantValue(t, restored, "left", "over")
}
