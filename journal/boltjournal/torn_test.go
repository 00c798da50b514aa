package boltjournal

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"ferry/journal"
	"ferry/journal/journaltest"
)

const (
	sectorBytes = 512 // what a disk writes whole
	metaPages   = 2   // bbolt's, at the beginning; a commit writes one of them, after all else is on disk
)

// A crash in the middle of a commit leaves some of its sectors on disk. bbolt
// syncs the data pages before the meta page that points at them: so either any
// part of the data is there under the old meta, or all of it under a torn one.
// Whatever is found, the key has its old value or the new one, whole, and
// nothing else has changed; and the file is a journal that takes the suite.
func TestTornWrites(t *testing.T) {
	dir := t.TempDir()
	j := mustOpen(t, filepath.Join(dir, "journal"))
	rng := rand.New(rand.NewPCG(1, 2))
	value := func(n int) []byte { return bytes.Repeat(fmt.Appendf(nil, "%08d", n), 64+rng.IntN(64)) }
	others := map[string][]byte{}
	for i := range 40 {
		key := fmt.Sprintf("other-%d", i)
		others[key] = value(i)
		if err := j.Put([]byte(key), others[key]); err != nil {
			t.Fatal(err)
		}
	}
	old := value(1000)
	if err := j.Put([]byte("key"), old); err != nil {
		t.Fatal(err)
	}
	opened, kept := 0, map[string]int{}
	for round := range 12 {
		before := readFile(t, j.Path())
		next := value(2000 + round)
		if err := j.Put([]byte("key"), next); err != nil {
			t.Fatal(err)
		}
		after := readFile(t, j.Path())
		for range 12 {
			image := tear(rng, before, after)
			path := filepath.Join(dir, fmt.Sprint("torn-", opened))
			writeFile(t, path, image)
			torn := mustOpen(t, path)
			opened++
			got, err := torn.Get([]byte("key"))
			switch {
			case err == nil && bytes.Equal(got, old):
				kept["old"]++
			case err == nil && bytes.Equal(got, next):
				kept["new"]++
			default:
				t.Fatalf("round %d: neither the old nor the new value: %d bytes, %v", round, len(got), err)
			}
			for key, want := range others {
				if got, err := torn.Get([]byte(key)); err != nil || !bytes.Equal(got, want) {
					t.Fatalf("round %d: %s has changed: %v", round, key, err)
				}
			}
			if err := torn.Close(); err != nil {
				t.Fatal(err)
			}
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}
		old = next
	}
	if kept["old"] == 0 || kept["new"] == 0 {
		t.Errorf("of %d torn files %v: the tearing shows nothing", opened, kept)
	}
}

// TestConformanceAfterTear runs the whole suite on a journal that begins in a
// torn file.
func TestConformanceAfterTear(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	journaltest.Run(t, func(t *testing.T) (journal.Journal, func() journal.Journal) {
		dir := t.TempDir()
		first := mustOpen(t, filepath.Join(dir, "first"))
		before := readFile(t, first.Path())
		if err := first.Put([]byte{0xff}, []byte("torn")); err != nil {
			t.Fatal(err)
		}
		// Of this commit only data is on disk: the suite finds no record of it.
		image := tearData(rng, before, readFile(t, first.Path()))
		path := filepath.Join(dir, "journal")
		writeFile(t, path, image)
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

// tear is a file in the middle of the commit that makes after out of before.
func tear(rng *rand.Rand, before, after []byte) []byte {
	if rng.IntN(2) == 0 {
		return tearData(rng, before, after)
	}
	// The data is there, and of the meta page the first bytes.
	image := bytes.Clone(after)
	meta := metaPages * os.Getpagesize()
	copy(image[:meta], before[:meta])
	for page := range metaPages {
		at := page * os.Getpagesize()
		copy(image[at:], after[at:at+rng.IntN(2*sectorBytes)])
	}
	return image
}

// tearData has some sectors of the data pages, and the old meta.
func tearData(rng *rand.Rand, before, after []byte) []byte {
	image := make([]byte, max(len(before), len(after)))
	copy(image, before)
	for at := metaPages * os.Getpagesize(); at < len(after); at += sectorBytes {
		if rng.IntN(2) == 0 {
			copy(image[at:], after[at:min(at+sectorBytes, len(after))])
		}
	}
	return image
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
