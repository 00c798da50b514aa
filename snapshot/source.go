package snapshot

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"

	"ferry/frame"
)

// Source is a snapshot to read at any place, as often and by as many at once as its state allows: header, state,
// trailer. It holds the two ends in memory, and the state not at all.
type Source struct {
	header    []byte
	state     io.ReaderAt
	stateSize int64
	trailer   []byte
}

// NewSource makes the snapshot of the StateLen bytes of state. bindings may be empty; identity is nil or the
// IdentityBytes of an identity envelope; both are copied. A state or bindings over 4 GiB-1 need Version 3, else
// ErrTooLarge; what no Open would accept is an *frame.EncodeError.
func NewSource(h Header, state io.ReaderAt, bindings, identity []byte) (*Source, error) {
	if err := h.check(); err != nil {
		return nil, err
	}
	if h.Version == Version2 && uint64(len(bindings)) > math.MaxUint32 {
		return nil, &frame.EncodeError{Message: "CDS1", Field: "bindings", Err: tooLargeFor2("bindings", uint64(len(bindings)))}
	}
	if identity != nil && len(identity) != IdentityBytes {
		return nil, encodeError("identity_envelope", "%d bytes, not %d", len(identity), IdentityBytes)
	}
	if identity != nil && identity[0] != identityVersion {
		return nil, encodeError("identity_envelope", "version %d, not %d", identity[0], identityVersion)
	}

	s := &Source{header: h.append(nil), state: state, stateSize: int64(h.StateLen)}
	s.trailer = make([]byte, 0, trailerBytesLeast(h.Version)+len(bindings)+len(identity))
	if h.Version == Version3 {
		s.trailer = binary.LittleEndian.AppendUint64(s.trailer, uint64(len(bindings)))
	} else {
		s.trailer = binary.LittleEndian.AppendUint32(s.trailer, uint32(len(bindings)))
	}
	s.trailer = append(s.trailer, bindings...)
	if identity == nil {
		s.trailer = append(s.trailer, 0)
	} else {
		s.trailer = append(append(s.trailer, 1), identity...)
	}
	if h.StateLen > math.MaxInt64-uint64(len(s.header))-uint64(len(s.trailer)) {
		return nil, fmt.Errorf("%w: state of %d bytes", ErrTooLarge, h.StateLen)
	}
	return s, nil
}

// check refuses what no reader would accept.
func (h *Header) check() error {
	switch {
	case h.Version != Version2 && h.Version != Version3:
		return encodeError("version", "%d", h.Version)
	case h.Version == Version2 && h.StateLen > math.MaxUint32:
		return &frame.EncodeError{Message: "CDS1", Field: "state", Err: tooLargeFor2("state", h.StateLen)}
	case h.ChainLink.Sequence != h.ThroughSeq:
		return encodeError("through_seq", "%d, the link's sequence is %d", uint64(h.ThroughSeq), uint64(h.ChainLink.Sequence))
	case h.ChainLink.OriginHash != originOf(h.EntityID):
		return encodeError("chain_link", "origin_hash %d is not the entity's, %d", uint64(h.ChainLink.OriginHash), uint64(originOf(h.EntityID)))
	}
	return nil
}

func encodeError(field, format string, args ...any) error {
	return &frame.EncodeError{Message: "CDS1", Field: field, Err: fmt.Errorf("%w: "+format, append([]any{frame.ErrValue}, args...)...)}
}

// Size is the length of the whole snapshot in bytes.
func (s *Source) Size() int64 {
	return int64(len(s.header)) + s.stateSize + int64(len(s.trailer))
}

// HeaderBytes is the offset of the state.
func (s *Source) HeaderBytes() int { return len(s.header) }

// ReadAt reads from header ++ state ++ trailer. A state shorter than was said is io.ErrUnexpectedEOF, never silence.
func (s *Source) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("snapshot: read at %d", off)
	}
	n := 0
	for n < len(p) {
		at := off + int64(n)
		stateAt := at - int64(len(s.header))
		trailerAt := stateAt - s.stateSize
		switch {
		case stateAt < 0:
			n += copy(p[n:], s.header[at:])
		case trailerAt < 0:
			part := p[n:]
			part = part[:min(int64(len(part)), -trailerAt)]
			got, err := s.state.ReadAt(part, stateAt)
			n += got
			if got < len(part) {
				if err == nil || err == io.EOF {
					err = io.ErrUnexpectedEOF
				}
				return n, fmt.Errorf("snapshot: state at byte %d of %d: %w", stateAt+int64(got), s.stateSize, err)
			}
		case trailerAt < int64(len(s.trailer)):
			n += copy(p[n:], s.trailer[trailerAt:])
		default:
			return n, io.EOF
		}
	}
	return n, nil
}
