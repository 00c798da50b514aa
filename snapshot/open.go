package snapshot

import (
	"encoding/binary"
	"fmt"
	"io"

	"ferry/frame"
)

// BindingsBytesDefault is the most that Open takes for bindings when its Limits do not say: what net-mesh's largest
// snapshot could hold.
const BindingsBytesDefault = 64 << 20

// Limits say what Open accepts. The zero value accepts what net-mesh does.
type Limits struct {
	Version3         bool   // version 3 too: only from a peer that agreed on it, or from a file of one's own
	StateBytesMax    uint64 // 0: as many as there are
	BindingsBytesMax uint64 // 0: BindingsBytesDefault
}

// Envelope is a snapshot that was opened. Its State reads from where the snapshot lies, and is good as long as that
// is; Bindings and Identity are its own.
type Envelope struct {
	Header
	State    *io.SectionReader
	Bindings []byte
	Identity []byte // nil, or IdentityBytes that are not opened yet
}

// Open reads the ends of the snapshot that is the first size bytes of r, strictly: whatever a length, a flag or the
// size leave over is an error. What is wrong with the bytes is a *frame.DecodeError; what reading them gives is passed
// on.
func Open(r io.ReaderAt, size int64, lim Limits) (*Envelope, error) {
	if size < 0 {
		return nil, fmt.Errorf("snapshot: open a snapshot of %d bytes", size)
	}
	head := make([]byte, min(size, headerBytesMost))
	if err := readFull(r, head, 0); err != nil {
		return nil, err
	}
	h, err := parseHeader(head, lim.Version3)
	if err != nil {
		return nil, err
	}

	at := int64(headerBytes(h.Version))
	left := size - at
	if h.StateLen > uint64(left) {
		return nil, decodeError("state", at, fmt.Errorf("%w: %d of %d bytes", frame.ErrTruncated, left, h.StateLen))
	}
	if lim.StateBytesMax != 0 && h.StateLen > lim.StateBytesMax {
		return nil, decodeError("state", at, fmt.Errorf("%w: %w", ErrTooLarge, frame.OverLimit(h.StateLen, lim.StateBytesMax)))
	}
	state := io.NewSectionReader(r, at, int64(h.StateLen))

	at += int64(h.StateLen)
	trailer, err := readTrailer(r, at, size, h.Version, lim)
	if err != nil {
		return nil, err
	}
	bindings, identity, err := parseTrailer(trailer, h.Version, at)
	if err != nil {
		return nil, err
	}
	return &Envelope{Header: h, State: state, Bindings: bindings, Identity: identity}, nil
}

// readTrailer reads what the trailer at byte at can need and, when there is more, one byte beyond, which makes the
// parser refuse it.
func readTrailer(r io.ReaderAt, at, size int64, version uint8, lim Limits) ([]byte, error) {
	length := make([]byte, trailerBytesLeast(version)-1)
	if size-at < int64(len(length)) {
		length = length[:size-at]
		return length, readFull(r, length, at)
	}
	if err := readFull(r, length, at); err != nil {
		return nil, err
	}
	var n uint64
	if version == Version3 {
		n = binary.LittleEndian.Uint64(length)
	} else {
		n = uint64(binary.LittleEndian.Uint32(length))
	}
	left := size - at - int64(len(length))
	if n > uint64(left) {
		return nil, decodeError("bindings", at+int64(len(length)), fmt.Errorf("%w: %d of %d bytes", frame.ErrTruncated, left, n))
	}
	most := lim.BindingsBytesMax
	if most == 0 {
		most = BindingsBytesDefault
	}
	if n > most {
		return nil, decodeError("bindings_len", at, frame.OverLimit(n, most))
	}
	trailer := make([]byte, min(size-at, int64(len(length))+int64(n)+1+IdentityBytes+1))
	return trailer, readFull(r, trailer, at)
}

// readFull reads all of b, which the size given by the caller says is there.
func readFull(r io.ReaderAt, b []byte, off int64) error {
	n, err := r.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("snapshot: read at byte %d: %w", off+int64(n), err)
}

func decodeError(field string, offset int64, err error) error {
	return &frame.DecodeError{Message: "CDS1", Field: field, Offset: int(offset), Err: err}
}
