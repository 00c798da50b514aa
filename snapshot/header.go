package snapshot

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"golang.org/x/crypto/blake2s"

	"ferry/frame"
	"ferry/proto0500"
)

// Frozen: the layout of CDS1. Version 2 is net-mesh's; version 3 is ours, with lengths of 64 bits.
const (
	Version2 = 2
	Version3 = 3

	magic         = "CDS1"
	IdentityBytes = 209 // an identity envelope; its first byte, the version, is 1

	offVersion   = 4
	offEntityID  = 5
	offThrough   = 37
	offChainLink = 45
	offOrigin    = offChainLink
	offSequence  = offChainLink + 16
	offCreatedAt = 77
	offStateLen  = 85

	headerBytes2    = 89
	headerBytes3    = 93
	headerBytesMost = headerBytes3

	identityVersion = 1
)

// The fields follow each other without a gap: these do not compile otherwise.
var (
	_ = [1]struct{}{}[offVersion-len(magic)]
	_ = [1]struct{}{}[offEntityID-(offVersion+1)]
	_ = [1]struct{}{}[offThrough-(offEntityID+32)]
	_ = [1]struct{}{}[offChainLink-(offThrough+8)]
	_ = [1]struct{}{}[offCreatedAt-(offChainLink+proto0500.LinkBytes)]
	_ = [1]struct{}{}[offStateLen-(offCreatedAt+8)]
	_ = [1]struct{}{}[headerBytes2-(offStateLen+4)]
	_ = [1]struct{}{}[headerBytes3-(offStateLen+8)]
)

// Header is what stands before the state.
//
//	off size field
//	  0    4  magic         "CDS1"
//	  4    1  version       2, or 3 between peers that agreed on it
//	  5   32  entity_id     the daemon's ed25519 public key
//	 37    8  through_seq   the last event in the state
//	 45   32  chain_link    of that event: its sequence is through_seq, its origin_hash that of entity_id
//	 77    8  created_at    nanoseconds since 1970
//	 85    4  state_len     version 3: 8 bytes, and everything after it 4 bytes later
//	 89    s  state
//
// The trailer follows:
//
//	  0    4  bindings_len  version 3: 8 bytes
//	  4    b  bindings      opaque here
//	4+b    1  flag          0, or 1 and then
//	5+b  209  identity      an identity envelope, whose first byte is 1; it is not opened here
//
// Nothing may follow. created_at, and the link's parent_hash and horizon, are not judged.
type Header struct {
	Version    uint8
	EntityID   [32]byte
	ThroughSeq proto0500.Seq
	ChainLink  proto0500.Link
	CreatedAt  uint64 // nanoseconds since 1970
	StateLen   uint64 // bytes
}

// VersionFor is the version that a state of stateBytes travels in: 2 wherever it fits, so that every peer can read it,
// else 3 where both sides offered it, else ErrTooLarge. Source and target so choose the same one.
func VersionFor(stateBytes uint64, offered3 bool) (uint8, error) {
	switch {
	case stateBytes <= math.MaxUint32:
		return Version2, nil
	case offered3:
		return Version3, nil
	}
	return 0, tooLargeFor2("state", stateBytes)
}

func tooLargeFor2(what string, n uint64) error {
	return fmt.Errorf("%w: %s of %d bytes needs version 3, version 2 takes %d", ErrTooLarge, what, n, uint32(math.MaxUint32))
}

// headerBytes is the size of a header of this version.
func headerBytes(version uint8) int {
	if version == Version3 {
		return headerBytes3
	}
	return headerBytes2
}

// trailerBytesLeast is the size of a trailer without bindings and identity.
func trailerBytesLeast(version uint8) int {
	if version == Version3 {
		return 8 + 1
	}
	return 4 + 1
}

func (h *Header) append(dst []byte) []byte {
	dst = append(dst, magic...)
	dst = append(dst, h.Version)
	dst = append(dst, h.EntityID[:]...)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(h.ThroughSeq))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(h.ChainLink.OriginHash))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(h.ChainLink.HorizonEncoded))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(h.ChainLink.Sequence))
	dst = binary.LittleEndian.AppendUint64(dst, h.ChainLink.ParentHash)
	dst = binary.LittleEndian.AppendUint64(dst, h.CreatedAt)
	if h.Version == Version3 {
		return binary.LittleEndian.AppendUint64(dst, h.StateLen)
	}
	return binary.LittleEndian.AppendUint32(dst, uint32(h.StateLen))
}

// parseHeader reads the header at the beginning of b, which has at most headerBytesMost bytes: fewer when the snapshot
// has no more. accept3 says whether version 3 was agreed on.
func parseHeader(b []byte, accept3 bool) (Header, error) {
	var h Header
	c := frame.NewCursor("CDS1", b)
	if m := c.Bytes("magic", len(magic)); string(m) != magic {
		c.FailAt("magic", 0, fmt.Errorf("%w: %q", frame.ErrValue, m))
	}
	h.Version = c.U8("version")
	if h.Version != Version2 && !(accept3 && h.Version == Version3) {
		c.FailAt("version", offVersion, fmt.Errorf("%w: %d", frame.ErrVersion, h.Version))
	}
	h.EntityID = c.Array32("entity_id")
	h.ThroughSeq = proto0500.Seq(c.U64("through_seq"))
	h.ChainLink.OriginHash = proto0500.Origin(c.U64("chain_link.origin_hash"))
	if want := originOf(h.EntityID); c.Err() == nil && h.ChainLink.OriginHash != want {
		c.FailAt("chain_link.origin_hash", offOrigin, fmt.Errorf("%w: %d, the entity's is %d", frame.ErrValue, uint64(h.ChainLink.OriginHash), uint64(want)))
	}
	h.ChainLink.HorizonEncoded = c.U64("chain_link.horizon_encoded")
	h.ChainLink.Sequence = proto0500.Seq(c.U64("chain_link.sequence"))
	if h.ChainLink.Sequence != h.ThroughSeq {
		c.FailAt("chain_link.sequence", offSequence, fmt.Errorf("%w: %d, through_seq is %d", frame.ErrValue, uint64(h.ChainLink.Sequence), uint64(h.ThroughSeq)))
	}
	h.ChainLink.ParentHash = c.U64("chain_link.parent_hash")
	h.CreatedAt = c.U64("created_at")
	if h.Version == Version3 {
		h.StateLen = c.U64("state_len")
	} else {
		h.StateLen = uint64(c.U32("state_len"))
	}
	if err := c.Err(); err != nil {
		return Header{}, err
	}
	return h, nil
}

// parseTrailer reads the trailer b, all of it, which begins base bytes into the snapshot. What it returns is borrowed
// from b; identity is nil when there is none.
func parseTrailer(b []byte, version uint8, base int64) (bindings, identity []byte, err error) {
	c := frame.NewCursor("CDS1", b)
	var n uint64
	if version == Version3 {
		n = c.U64("bindings_len")
	} else {
		n = uint64(c.U32("bindings_len"))
	}
	bindings = c.Bytes("bindings", int(min(n, math.MaxInt)))
	switch flag := c.U8("flag"); flag {
	case 0:
	case 1:
		identity = c.Bytes("identity_envelope", IdentityBytes)
		if identity != nil && identity[0] != identityVersion {
			c.FailAt("identity_envelope", c.Offset()-IdentityBytes, fmt.Errorf("%w: %d", frame.ErrVersion, identity[0]))
		}
	default:
		c.FailAt("flag", c.Offset()-1, fmt.Errorf("%w: %d", frame.ErrFlags, flag))
	}
	if err := c.Done(); err != nil {
		return nil, nil, shifted(err, base)
	}
	return bindings, identity, nil
}

// shifted moves the offset of a DecodeError from the trailer's begin to the snapshot's.
func shifted(err error, base int64) error {
	if e, ok := errors.AsType[*frame.DecodeError](err); ok {
		e.Offset += int(base)
	}
	return err
}

// originOf is the name of the chain of an entity (protocol.md, section 1). identity computes it too, for keys; data
// and keys do not import each other.
func originOf(entity [32]byte) proto0500.Origin {
	h, err := blake2s.New256([]byte("net-origin-v1"))
	if err != nil {
		panic("snapshot: blake2s refuses a key of 13 bytes: " + err.Error())
	}
	h.Write(entity[:])
	return proto0500.Origin(binary.LittleEndian.Uint64(h.Sum(nil)))
}
