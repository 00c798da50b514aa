package boltjournal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// A branch page that points at itself is reported. Found by FuzzJournalFile's neighbourhood: bbolt followed it until the
// stack overflowed.
func TestBranchThatPointsAtItself(t *testing.T) {
	dir := t.TempDir()
	j := mustOpen(t, filepath.Join(dir, "journal"))
	for i := range 40 {
		if err := j.Put(fmt.Appendf(nil, "key-%d", i), bytes.Repeat([]byte{byte(i)}, 1000)); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	image, page, refused := readFile(t, j.Path()), os.Getpagesize(), 0
	for at := 2 * page; at < len(image); at += page {
		if binary.LittleEndian.Uint16(image[at+8:]) != branchFlag {
			continue
		}
		damaged := bytes.Clone(image)
		binary.LittleEndian.PutUint64(damaged[at+pageHeaderBytes+8:], uint64(at/page))
		path := filepath.Join(dir, fmt.Sprint("damaged-", at))
		writeFile(t, path, damaged)
		j, err := Open(path, Options{})
		if err == nil { // a page that is free
			err = j.Close()
		} else if errors.Is(err, ErrCorrupt) {
			refused, err = refused+1, nil
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if refused != 1 {
		t.Errorf("%d files of a damaged branch are refused, want one: of the branch that counts", refused)
	}
}

// A file that ends in its first pages is damaged, by type.
func TestFileThatEndsEarly(t *testing.T) {
	dir := t.TempDir()
	j := mustOpen(t, filepath.Join(dir, "journal"))
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	image := readFile(t, j.Path())
	for _, n := range []int{1, 100, os.Getpagesize() + 1, 2*os.Getpagesize() - 1, 2 * os.Getpagesize()} {
		path := filepath.Join(dir, fmt.Sprint("cut-", n))
		writeFile(t, path, image[:n])
		if _, err := Open(path, Options{}); !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrForeign) {
			t.Errorf("%d bytes of %d: %v", n, len(image), err)
		}
	}
}
