//go:build unix

package boltjournal

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"

	"ferry/journal"
	"ferry/journal/journaltest"
)

// setLimit sets a limit, which is signed on some systems.
func setLimit[T int64 | uint64](limit *T, v int64) { *limit = T(v) }

// fullDisk lets no file of this process grow beyond size, which the system says
// with an error of the write, as a full disk does. The tests here run one after
// the other.
func fullDisk(t *testing.T, size int64) (lift func()) {
	t.Helper()
	signal.Ignore(syscall.SIGXFSZ)
	var was syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &was); err != nil {
		t.Fatal(err)
	}
	limit := was
	setLimit(&limit.Cur, size)
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
	lifted := false
	lift = func() {
		if !lifted {
			lifted = true
			if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &was); err != nil {
				t.Error(err)
			}
		}
	}
	t.Cleanup(lift)
	return lift
}

// fill puts until a put fails, and gives back what was put and the key that failed.
func fill(t *testing.T, j *Journal) (kept map[string][]byte, failed string) {
	t.Helper()
	kept = map[string][]byte{}
	for i := range 4096 {
		key, value := fmt.Sprintf("fill-%d", i), bytes.Repeat([]byte{byte(i)}, 32<<10)
		if err := j.Put([]byte(key), value); err != nil {
			return kept, key
		}
		kept[key] = value
	}
	t.Fatal("the disk never became full")
	return nil, ""
}

// On a full disk a put fails; what was there is there, before and after the
// journal is opened again, and when there is room it goes on.
func TestFullDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	j := mustOpen(t, path)
	if err := j.Put([]byte("key"), []byte("old")); err != nil {
		t.Fatal(err)
	}
	lift := fullDisk(t, 8<<20)
	kept, failed := fill(t, j)
	kept["key"] = []byte("old")
	check := func(when string) {
		t.Helper()
		for key, want := range kept {
			if got, err := j.Get([]byte(key)); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("%s: %s: %d bytes, %v", when, key, len(got), err)
			}
		}
		if got, err := j.Get([]byte(failed)); err == nil && len(got) != 32<<10 || err != nil && !errors.Is(err, journal.ErrNotFound) {
			t.Fatalf("%s: half a record: %d bytes, %v", when, len(got), err)
		}
	}
	check("while it is full")
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	lift()
	j = mustOpen(t, path)
	check("opened again")
	if err := j.Put([]byte("key"), []byte("new")); err != nil {
		t.Fatalf("with room again: %v", err)
	}
	kept["key"] = []byte("new")
	check("with room again")
}

const fullDiskJournal = "BOLTJOURNAL_FULL_DISK"

// TestConformanceAfterFullDisk runs the whole suite on a journal that has met a
// full disk. It met it in a process of its own: the limit there leaves a file no
// room at all, and would catch the test runner's own files here.
func TestConformanceAfterFullDisk(t *testing.T) {
	if path := os.Getenv(fullDiskJournal); path != "" {
		j := mustOpen(t, path)
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		lift := fullDisk(t, info.Size())
		err = j.Put([]byte{0xff}, bytes.Repeat([]byte("x"), 60<<10))
		lift()
		if err == nil {
			t.Fatal("the disk was not full")
		}
		return
	}
	journaltest.Run(t, func(t *testing.T) (journal.Journal, func() journal.Journal) {
		path := filepath.Join(t.TempDir(), "journal")
		child := exec.Command(os.Args[0], "-test.run", "^TestConformanceAfterFullDisk$")
		child.Env = append(os.Environ(), fullDiskJournal+"="+path)
		if out, err := child.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		j := mustOpen(t, path)
		return j, func() journal.Journal {
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			j = mustOpen(t, path)
			return j
		}
	})
}
