package boltjournal

import (
	"encoding/binary"
	"fmt"
	"io"
)

// What bbolt's pages begin with, little endian, and the elements of one that points at others:
//
//	off size field
//	  0    8  id
//	  8    2  flags      1: branch
//	 10    2  count      of the elements
//	 12    4  overflow   pages that belong to it
//	 16       elements; of a branch 16 bytes each: pos u32 of its key, from the element on, size u32 of it, id u64 of a page
const (
	pageHeaderBytes = 16
	branchFlag      = 1
	branchBytes     = 16
)

// checkTree walks the pages of a tree from its root, each once. bbolt follows branches without counting, and its pages have
// no checksum: one that a flipped bit has made its own ancestor would be followed until the stack overflows, which ends
// the process and cannot be recovered from. A key of a branch that lies outside its page would fault in a later Get.
func checkTree(file io.ReaderAt, pageBytes int64, root, pages uint64) error {
	seen := map[uint64]bool{root: true}
	var page []byte
	for todo := []uint64{root}; len(todo) > 0; {
		id := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if id >= pages {
			return fmt.Errorf("page %d of %d", id, pages)
		}
		var header [pageHeaderBytes]byte
		if _, err := file.ReadAt(header[:], int64(id)*pageBytes); err != nil {
			return fmt.Errorf("page %d: %w", id, err)
		}
		if binary.LittleEndian.Uint16(header[8:])&branchFlag == 0 {
			continue // what else it may be, bbolt says
		}
		end := (1+int64(binary.LittleEndian.Uint32(header[12:])))*pageBytes - pageHeaderBytes
		page = append(page[:0], make([]byte, branchBytes*int(binary.LittleEndian.Uint16(header[10:])))...)
		if _, err := file.ReadAt(page, int64(id)*pageBytes+pageHeaderBytes); err != nil {
			return fmt.Errorf("page %d: %w", id, err)
		}
		for at := 0; at < len(page); at += branchBytes {
			pos, size := binary.LittleEndian.Uint32(page[at:]), binary.LittleEndian.Uint32(page[at+4:])
			if int64(at)+int64(pos)+int64(size) > end || id+uint64(end/pageBytes) >= pages {
				return fmt.Errorf("page %d: a key outside it", id)
			}
			next := binary.LittleEndian.Uint64(page[at+8:])
			if seen[next] {
				return fmt.Errorf("page %d, of which page %d is a part, is a part of the tree already", next, id)
			}
			seen[next] = true
			todo = append(todo, next)
		}
	}
	return nil
}
