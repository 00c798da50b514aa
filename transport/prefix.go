package transport

import (
	"bytes"
	"fmt"

	"ferry/frame"
)

// Kind is what a stream is for.
type Kind uint8

// Frozen: these numbers are on the wire. Kinds from 0x10 on are between two transports and never reach a Handler.
const (
	Control Kind = 1 // frames in both directions; one a session, opened by the transport
	Events  Kind = 2 // the events of one daemon, in order; on the control connection
	Lane    Kind = 3 // bulk; on the further connections
	Relay   Kind = 4 // opaque bytes for, or from, a third node

	join Kind = 0x10 // first on a further connection: says to which session it belongs
)

func (k Kind) String() string {
	switch k {
	case Control:
		return "control"
	case Events:
		return "events"
	case Lane:
		return "lane"
	case Relay:
		return "relay"
	case join:
		return "join"
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// PrefixBytes is the size of the stream-type prefix.
const PrefixBytes = 8

const (
	prefixMagic   = "FRY\x05\x00"
	prefixVersion = 1
)

// prefix is what every stream begins with that we open, inside TLS where it is relayed.
//
//	off size field
//	  0    5  magic     "FRY", 0x05, 0x00
//	  5    1  version   1
//	  6    1  kind      Kind
//	  7    1  lane      number of the lane; of a join 1 where the connection is passing; 0 for the other kinds
type prefix struct {
	kind Kind
	lane uint8
}

// IsPrefix says whether a stream that begins with b is one of ours: to be handed to HandleStream. It needs PrefixBytes
// bytes, for which (*quic.Stream).Peek is made. A version that we do not know is ours to refuse.
func IsPrefix(b []byte) bool {
	return len(b) >= PrefixBytes && bytes.HasPrefix(b, []byte(prefixMagic))
}

func (p prefix) append(dst []byte) []byte {
	dst = append(dst, prefixMagic...)
	return append(dst, prefixVersion, byte(p.kind), p.lane)
}

func parsePrefix(b []byte) (prefix, error) {
	if !IsPrefix(b) {
		return prefix{}, fmt.Errorf("%w: the stream does not begin with our prefix", ErrMalformed)
	}
	if v := b[5]; v != prefixVersion {
		return prefix{}, fieldError(ErrVersion, "stream prefix", "version", 5, fmt.Errorf("%w: %d, ours is %d", frame.ErrVersion, v, prefixVersion))
	}
	p := prefix{kind: Kind(b[6]), lane: b[7]}
	switch p.kind {
	case Control, Events, Relay, join:
		if p.lane > 1 || p.lane == 1 && p.kind != join {
			return prefix{}, fieldError(ErrMalformed, "stream prefix", "lane", 7, fmt.Errorf("%w: %d of a stream of kind %v", frame.ErrValue, p.lane, p.kind))
		}
	case Lane:
	default:
		return prefix{}, fieldError(ErrMalformed, "stream prefix", "kind", 6, fmt.Errorf("%w: %v", frame.ErrUnknown, p.kind))
	}
	return p, nil
}

// fieldError names the field of a prefix, preamble or relay header that is against the protocol, behind the sentinel
// that has the stream's code.
func fieldError(kind error, message, field string, offset int, err error) error {
	return fmt.Errorf("%w: %w", kind, &frame.DecodeError{Message: message, Field: field, Offset: offset, Err: err})
}
