package boltjournal

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"ferry/journal"
	"ferry/journal/journaltest"
)

func TestConformance(t *testing.T) {
	journaltest.Run(t, func(t *testing.T) (journal.Journal, func() journal.Journal) {
		path := filepath.Join(t.TempDir(), "journal")
		var j *Journal
		reopen := func() journal.Journal {
			if j != nil {
				if err := j.Close(); err != nil {
					t.Fatal(err)
				}
			}
			j = mustOpen(t, path)
			return j
		}
		return reopen(), reopen
	})
}

func TestNewFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "journal")
	j := mustOpen(t, path)
	if j.Path() != path {
		t.Errorf("Path = %s", j.Path())
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v, want 0600", info.Mode(), err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
	if _, err := Open(filepath.Join(dir, "none", "journal"), Options{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a directory: %v, want fs.ErrNotExist", err)
	}
	if _, err := Open(dir, Options{}); err == nil {
		t.Error("a directory was opened as a journal")
	}
}

func TestLocked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	j := mustOpen(t, path)
	for _, wait := range []time.Duration{0, 100 * time.Millisecond, time.Hour} {
		start := time.Now()
		_, err := Open(path, Options{LockWait: wait})
		// 1 s and what a loaded machine adds; an hour would end the test.
		if took := time.Since(start); took > 3*time.Second {
			t.Errorf("waited %v", took)
		}
		locked, ok := errors.AsType[*LockedError](err)
		if !ok || !errors.Is(err, ErrLocked) || locked.Path != path {
			t.Errorf("Open of a file in use = %v, want a LockedError with its path", err)
		}
	}
	if err := j.Put([]byte("still"), []byte("mine")); err != nil {
		t.Error(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	mustOpen(t, path)
}

func TestWaitsForTheOneThatGoes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	first := mustOpen(t, path)
	var group sync.WaitGroup
	group.Go(func() {
		second, err := Open(path, Options{})
		if err != nil {
			t.Errorf("Open: %v", err)
			return
		}
		second.Close()
	})
	first.Close()
	group.Wait()
}

// Several processes may start on an empty directory at once. One gets the
// journal, and none makes it anew after another has written.
func TestCreateRace(t *testing.T) {
	for range 20 {
		path := filepath.Join(t.TempDir(), "journal")
		var group sync.WaitGroup
		for i := range 4 {
			group.Go(func() {
				j, err := Open(path, Options{})
				if err != nil {
					t.Errorf("Open: %v", err)
					return
				}
				if err := j.Put([]byte{byte(i)}, []byte("here")); err != nil {
					t.Errorf("Put: %v", err)
				}
				j.Close()
			})
		}
		group.Wait()
		j := mustOpen(t, path)
		for i := range 4 {
			if _, err := j.Get([]byte{byte(i)}); err != nil {
				t.Errorf("record %d: %v", i, err)
			}
		}
	}
}

// A crash leaves the file as it was when Put returned, whatever is in memory.
func TestKilled(t *testing.T) {
	dir := t.TempDir()
	j := mustOpen(t, filepath.Join(dir, "journal"))
	for i := range 50 {
		if err := j.Put([]byte("key"), fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
		image, err := os.ReadFile(j.Path())
		if err != nil {
			t.Fatal(err)
		}
		crashed := filepath.Join(dir, fmt.Sprint("crashed-", i))
		writeFile(t, crashed, image)
		after := mustOpen(t, crashed)
		if got, err := after.Get([]byte("key")); err != nil || string(got) != fmt.Sprint(i) {
			t.Errorf("after a crash: %q, %v, want %d", got, err, i)
		}
	}
}

func TestBadFiles(t *testing.T) {
	dir := t.TempDir()
	image := goodImage(t, dir)

	foreignPath := filepath.Join(dir, "foreign")
	db, err := bbolt.Open(foreignPath, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	db.Close()
	foreign, err := os.ReadFile(foreignPath)
	if err != nil {
		t.Fatal(err)
	}

	flipped := bytes.Clone(image)
	for rest := flipped; ; { // every copy of the value, also in pages of old
		i := bytes.Index(rest, []byte("value 7 of"))
		if i < 0 {
			break
		}
		rest[i] ^= 1
		rest = rest[i+1:]
	}
	pageless := bytes.Clone(image)
	clear(pageless[2*os.Getpagesize():]) // all but the meta pages

	for _, tt := range []struct {
		name  string
		image []byte
		kind  error
		text  string
	}{
		{"empty", nil, ErrForeign, "the file is empty"},
		{"text", []byte("hello\n"), ErrForeign, "invalid database"},
		{"long text", bytes.Repeat([]byte("hello\n"), 1<<14), ErrForeign, "invalid database"},
		{"zeros", make([]byte, 1<<16), ErrForeign, "invalid database"},
		{"another's bbolt file", foreign, ErrForeign, "bucket"},
		{"a value changed", flipped, ErrCorrupt, "checksum of record \"key 7\""},
		{"pages cleared", pageless, ErrCorrupt, "bbolt"},
		{"cut after the meta pages", image[:2*os.Getpagesize()], ErrCorrupt, "should have"},
		{"cut in the middle", image[:len(image)/2], ErrCorrupt, "should have"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "journal")
			writeFile(t, path, tt.image)
			for range 2 { // the second finds no lock left by the first
				j, err := Open(path, Options{})
				if err == nil {
					j.Close()
					t.Fatal("was opened")
				}
				file, ok := errors.AsType[*FileError](err)
				if !ok || file.Path != path || !errors.Is(err, tt.kind) || !strings.Contains(err.Error(), tt.text) {
					t.Errorf("%v, want a FileError: %v, with %q", err, tt.kind, tt.text)
				}
			}
			if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, tt.image) {
				t.Errorf("the file was changed (%v)", err)
			}
		})
	}
}

// The list of free pages is read last. Here bbolt keeps the lock.
func TestBadFreeList(t *testing.T) {
	dir := t.TempDir()
	image := goodImage(t, dir)
	const flagsOffset, freelistFlag = 8, 0x10
	for page := os.Getpagesize(); page < len(image); page += os.Getpagesize() {
		if image[page+flagsOffset] == freelistFlag {
			image[page+flagsOffset] = 0x80
		}
	}
	path := filepath.Join(dir, "bad")
	writeFile(t, path, image)
	if _, err := Open(path, Options{}); !errors.Is(err, ErrCorrupt) {
		t.Errorf("%v, want ErrCorrupt", err)
	}
}

// Damage in an open file shows when the record is read.
func TestDamageWhileOpen(t *testing.T) {
	j := mustOpen(t, filepath.Join(t.TempDir(), "journal"))
	if err := j.Put([]byte("key"), []byte("value")); err != nil {
		t.Fatal(err)
	}
	err := j.db.Update(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketName).Put([]byte("key"), append(seal([]byte("key"), []byte("value")), 0))
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := j.Get([]byte("key")); !errors.Is(err, ErrCorrupt) {
		t.Errorf("Get = %v, want ErrCorrupt", err)
	}
	if err := j.Range(nil, func(_, _ []byte) error { return nil }); !errors.Is(err, ErrCorrupt) {
		t.Errorf("Range = %v, want ErrCorrupt", err)
	}
}

func BenchmarkPut(b *testing.B) {
	j, err := Open(filepath.Join(b.TempDir(), "journal"), Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer j.Close()
	record := make([]byte, 100)
	b.ReportAllocs()
	for b.Loop() {
		if err := j.Put([]byte("d/0123456789abcdef"), record); err != nil {
			b.Fatal(err)
		}
	}
}

// goodImage is the bytes of a journal with many records on many pages.
func goodImage(t *testing.T, dir string) []byte {
	t.Helper()
	j := mustOpen(t, filepath.Join(dir, "good"))
	for i := range 30 {
		value := append(fmt.Appendf(nil, "value %d of the good journal ", i), make([]byte, 1000)...)
		if err := j.Put(fmt.Appendf(nil, "key %d", i), value); err != nil {
			t.Fatal(err)
		}
	}
	j.Close()
	image, err := os.ReadFile(j.Path())
	if err != nil {
		t.Fatal(err)
	}
	return image
}

func mustOpen(t *testing.T, path string) *Journal {
	t.Helper()
	j, err := Open(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close() })
	return j
}

func writeFile(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}
