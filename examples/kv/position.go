package kv

import (
	"encoding/binary"
	"fmt"

	"github.com/zeebo/xxh3"

	"ferry/daemon"
	"ferry/proto0500"
)

// Position is where a store stands: the head of its chain and the content that
// its events made. It changes with each transaction, as a whole.
type Position struct {
	Head daemon.Head
	Content
}

// Content sums up the keys and values that are present. Equal contents sum up
// alike, whatever the order in which they came to be: Sum is the sum mod 2^64 of
// entryHash over all entries, so one write changes it by one entry, and never
// needs the others.
type Content struct {
	Sum  uint64
	Keys uint64
}

func (c *Content) add(hash uint64)    { c.Sum += hash; c.Keys++ }
func (c *Content) remove(hash uint64) { c.Sum -= hash; c.Keys-- }

// Digest is of the content and of the number of events, and of nothing else:
// not of links, times or the file. So a fresh store fed with the same commands
// has the same digest. It is never 0.
func (p Position) Digest() uint64 {
	var b [24]byte
	binary.LittleEndian.PutUint64(b[0:], p.Sum)
	binary.LittleEndian.PutUint64(b[8:], p.Keys)
	binary.LittleEndian.PutUint64(b[16:], uint64(p.Head.Seq))
	return max(xxh3.Hash(b[:]), 1)
}

// entryHasher hashes entries one after another. It belongs to one goroutine.
type entryHasher struct{ h xxh3.Hasher }

// hash is XXH3-64 over key_len (u16, little endian), key and value.
func (e *entryHasher) hash(key, value []byte) uint64 {
	var n [2]byte
	binary.LittleEndian.PutUint16(n[:], uint16(len(key)))
	e.h.Reset()
	_, _ = e.h.Write(n[:])
	_, _ = e.h.Write(key)
	_, _ = e.h.Write(value)
	return e.h.Sum64()
}

// positionBytes is a Position in the file:
//
//	off size field
//	  0    4  format     1
//	  4    4  reserved   0
//	  8   32  link       of the last event, or genesis
//	 40    8  hash       of the last event
//	 48    8  sum
//	 56    8  keys
const (
	positionBytes  = 64
	positionFormat = 1
)

var _ = [1]struct{}{}[positionBytes-(4+4+proto0500.LinkBytes+8+8+8)]

func (p Position) append(dst []byte) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, positionFormat)
	dst = binary.LittleEndian.AppendUint32(dst, 0)
	dst = p.Head.Link.Append(dst)
	dst = binary.LittleEndian.AppendUint64(dst, p.Head.Hash)
	dst = binary.LittleEndian.AppendUint64(dst, p.Sum)
	return binary.LittleEndian.AppendUint64(dst, p.Keys)
}

func readPosition(b []byte) (Position, error) {
	if len(b) != positionBytes || binary.LittleEndian.Uint64(b) != positionFormat {
		return Position{}, &CorruptError{What: "position record", Err: fmt.Errorf("%d bytes of another format", len(b))}
	}
	link := proto0500.LinkFrom(b[8:])
	return Position{
		Head:    daemon.Head{Seq: link.Sequence, Link: link, Hash: binary.LittleEndian.Uint64(b[40:])},
		Content: Content{Sum: binary.LittleEndian.Uint64(b[48:]), Keys: binary.LittleEndian.Uint64(b[56:])},
	}, nil
}
