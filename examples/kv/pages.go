package kv

import (
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"sort"
)

// What this package reads of bbolt's file format (version 2, the byte order of
// the machine). A page is
//
//	off size field
//	  0    8  id
//	  8    2  flags     0x04 meta, 0x10 free list
//	 10    2  count
//	 12    4  overflow  pages that follow and belong to it
//	 16    …  content
//
// a meta page's content is magic u32, version u32, page_size u32, flags u32,
// root u64, root_sequence u64, freelist u64, pgid u64 (the number of pages in
// use), txid u64, checksum u64; and a free list's content is count page numbers
// of u64, ascending. Where count is 0xFFFF, the true count stands before them.
const (
	pageHeadBytes = 16
	metaMagic     = 0xED0CDAED
	metaVersion   = 2
	flagMeta      = 0x04
	flagFreelist  = 0x10
	noFreelist    = ^uint64(0)
)

// meta is what a snapshot's head says about its pages.
type meta struct {
	pageSize uint64
	freelist uint64 // page number
	pages    uint64
}

// readMeta reads the first meta page of an image of size bytes.
func readMeta(b []byte, size int64) (meta, error) {
	ne := binary.NativeEndian
	bad := func(format string, args ...any) (meta, error) {
		return meta{}, &CorruptError{What: "meta page", Err: fmt.Errorf(format, args...)}
	}
	if len(b) < pageHeadBytes+64 {
		return bad("%d bytes", len(b))
	}
	if ne.Uint16(b[8:]) != flagMeta || ne.Uint32(b[16:]) != metaMagic || ne.Uint32(b[20:]) != metaVersion {
		return bad("not a bbolt file of version %d and this machine's byte order", metaVersion)
	}
	m := meta{pageSize: uint64(ne.Uint32(b[24:])), freelist: ne.Uint64(b[48:]), pages: ne.Uint64(b[56:])}
	switch {
	case m.pageSize < 512 || m.pageSize > 1<<24 || m.pageSize&(m.pageSize-1) != 0:
		return bad("page size %d", m.pageSize)
	case uint64(size)%m.pageSize != 0 || uint64(size)/m.pageSize != m.pages || m.pages < 4:
		return bad("%d pages of %d bytes in %d bytes", m.pages, m.pageSize, size)
	case m.freelist == noFreelist || m.freelist < 2 || m.freelist >= m.pages:
		return bad("free list at page %d of %d", m.freelist, m.pages)
	}
	return m, nil
}

// span is a run of bytes of a file: [from, to).
type span struct{ from, to int64 }

// readFree reads where the free pages are, in ascending order.
func (m meta) readFree(r io.ReaderAt) ([]span, error) {
	bad := func(format string, args ...any) ([]span, error) {
		return nil, &CorruptError{What: "free list", Err: fmt.Errorf(format, args...)}
	}
	ne := binary.NativeEndian
	at := int64(m.freelist * m.pageSize)
	var head [pageHeadBytes + 8]byte
	if _, err := r.ReadAt(head[:], at); err != nil {
		return bad("%w", err)
	}
	if ne.Uint16(head[8:]) != flagFreelist {
		return bad("page %d is something else", m.freelist)
	}
	at += pageHeadBytes
	count, has := uint64(ne.Uint16(head[10:])), (1+uint64(ne.Uint32(head[12:])))*m.pageSize-pageHeadBytes
	if count == 0xFFFF {
		count = ne.Uint64(head[16:])
		at, has = at+8, has-8
	}
	if count > m.pages || count*8 > has {
		return bad("%d entries in %d bytes", count, has)
	}
	list := make([]byte, count*8)
	if _, err := r.ReadAt(list, at); err != nil {
		return bad("%w", err)
	}
	var spans []span
	for id := range slices.Chunk(list, 8) {
		from := int64(ne.Uint64(id) * m.pageSize)
		n := len(spans)
		switch {
		case ne.Uint64(id) < 2 || ne.Uint64(id) >= m.pages || n > 0 && from < spans[n-1].to:
			return bad("page %d of %d out of order", ne.Uint64(id), m.pages)
		case n > 0 && from == spans[n-1].to:
			spans[n-1].to += int64(m.pageSize)
		default:
			spans = append(spans, span{from, from + int64(m.pageSize)})
		}
	}
	return spans, nil
}

// zero clears what of p, read at off, lies in one of the spans.
func zero(p []byte, off int64, spans []span) {
	end := off + int64(len(p))
	first := sort.Search(len(spans), func(i int) bool { return spans[i].to > off })
	for _, s := range spans[first:] {
		if s.from >= end {
			return
		}
		clear(p[max(s.from-off, 0):min(s.to-off, int64(len(p)))])
	}
}

// checkImage looks at what bbolt would only find out about by a panic in a
// goroutine of its own: an image without a list of its free pages, or of another
// length than it says.
func checkImage(r io.ReaderAt, size int64) error {
	var b [pageHeadBytes + 64]byte
	if _, err := r.ReadAt(b[:], 0); err != nil {
		return &CorruptError{What: "meta page", Err: err}
	}
	m, err := readMeta(b[:], size)
	if err != nil {
		return err
	}
	_, err = m.readFree(r)
	return err
}
