package frame

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/cespare/xxhash/v2"
)

// Epoch is the fencing number of one migration attempt; 0 is no migration, or a peer that cannot fence.
type Epoch uint64

// Frozen: the wire depends on these.
const (
	Subprotocol = 0x0500
	Version     = 1
	HeaderBytes = 24

	offSubprotocol = 0
	offVersion     = 2
	offFlags       = 3
	offLength      = 4
	offEpoch       = 8
	offChecksum    = 16
)

// The fields follow each other without a gap: these do not compile otherwise.
var (
	_ = [1]struct{}{}[offVersion-(offSubprotocol+2)]
	_ = [1]struct{}{}[offFlags-(offVersion+1)]
	_ = [1]struct{}{}[offLength-(offFlags+1)]
	_ = [1]struct{}{}[offEpoch-(offLength+4)]
	_ = [1]struct{}{}[offChecksum-(offEpoch+8)]
	_ = [1]struct{}{}[HeaderBytes-(offChecksum+8)]
)

// Header is what stands before a message.
//
//	off size field
//	  0    2  subprotocol   0x0500
//	  2    1  version       1
//	  3    1  flags         unknown bits are an error; none is known
//	  4    4  length        of the message, 1..MessageBytesMax
//	  8    8  epoch         0: no migration, or a peer that cannot fence
//	 16    8  checksum      XXH64, seed 0, of bytes 0..16 and the message
type Header struct {
	Flags    uint8
	Length   uint32
	Epoch    Epoch
	Checksum uint64
}

// messageBytesMost is the longest message, with its header, that memory can be asked for: on systems of 32 bits it is
// shorter than a length field can say.
const messageBytesMost = math.MaxInt - HeaderBytes

// ParseHeader reads the header at the beginning of b. Bytes after it are not looked at, so that a reader can decide
// where the message goes before it arrives; Verify checks them then.
func ParseHeader(b []byte, lim *Limits) (Header, error) {
	if len(b) < HeaderBytes {
		return Header{}, headerError("header", len(b), ErrTruncated)
	}
	if v := binary.LittleEndian.Uint16(b[offSubprotocol:]); v != Subprotocol {
		return Header{}, headerError("subprotocol", offSubprotocol, fmt.Errorf("%w: %#04x", ErrSubprotocol, v))
	}
	if v := b[offVersion]; v != Version {
		return Header{}, headerError("version", offVersion, fmt.Errorf("%w: %d", ErrVersion, v))
	}
	if v := b[offFlags]; v != 0 {
		return Header{}, headerError("flags", offFlags, fmt.Errorf("%w: %#02x", ErrFlags, v))
	}
	h := Header{
		Length:   binary.LittleEndian.Uint32(b[offLength:]),
		Epoch:    Epoch(binary.LittleEndian.Uint64(b[offEpoch:])),
		Checksum: binary.LittleEndian.Uint64(b[offChecksum:]),
	}
	if h.Length == 0 {
		return Header{}, headerError("length", offLength, fmt.Errorf("%w: 0", ErrValue))
	}
	if most := min(uint64(lim.MessageBytesMax), messageBytesMost); uint64(h.Length) > most {
		return Header{}, headerError("length", offLength, OverLimit(uint64(h.Length), most))
	}
	return h, nil
}

// Verify compares the header with its message, given in two parts of which either may be empty: a chunk's payload can
// so be read to where it belongs without passing through a frame buffer.
func (h Header) Verify(head, bulk []byte) error {
	if uint64(len(head))+uint64(len(bulk)) != uint64(h.Length) {
		return headerError("length", offLength, fmt.Errorf("%w: %d for a message of %d", ErrValue, h.Length, len(head)+len(bulk)))
	}
	if got := h.sum(head, bulk); got != h.Checksum {
		return headerError("checksum", offChecksum, fmt.Errorf("%w: %016x, not %016x", ErrChecksum, got, h.Checksum))
	}
	return nil
}

// put writes the header to b.
func (h Header) put(b []byte) {
	_ = b[HeaderBytes-1]
	binary.LittleEndian.PutUint16(b[offSubprotocol:], Subprotocol)
	b[offVersion] = Version
	b[offFlags] = h.Flags
	binary.LittleEndian.PutUint32(b[offLength:], h.Length)
	binary.LittleEndian.PutUint64(b[offEpoch:], uint64(h.Epoch))
	binary.LittleEndian.PutUint64(b[offChecksum:], h.Checksum)
}

// sum is the checksum of the header's first 16 bytes and the message head ++ bulk.
func (h Header) sum(head, bulk []byte) uint64 {
	var b [HeaderBytes]byte
	h.put(b[:])
	var d xxhash.Digest
	d.Reset()
	d.Write(b[:offChecksum])
	d.Write(head)
	d.Write(bulk)
	return d.Sum64()
}

func headerError(field string, offset int, err error) error {
	return &DecodeError{Message: "frame", Field: field, Offset: offset, Err: err}
}
