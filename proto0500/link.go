package proto0500

import (
	"errors"
	"fmt"
	"math"

	"github.com/zeebo/xxh3"
)

// LinkBytes is the size of a link on the wire.
const LinkBytes = 32

// Link is an event's place in its daemon's chain.
//
//	off size field
//	  0    8  origin_hash      whose chain
//	  8    8  horizon_encoded  what its owner had seen, see Horizon
//	 16    8  sequence         one more than the link before
//	 24    8  parent_hash      XXH3-64 of the link before and its payload
type Link struct {
	OriginHash     Origin
	HorizonEncoded uint64
	Sequence       Seq
	ParentHash     uint64
}

var _ = [1]struct{}{}[LinkBytes-(8+8+8+8)]

// Why a link does not follow another.
var (
	ErrOrigin     = errors.New("link of another origin")
	ErrSequence   = errors.New("link out of sequence")
	ErrParentHash = errors.New("link has another parent")
)

// ChainError says why a link does not follow another. Kind is ErrOrigin, ErrSequence or ErrParentHash, and Got and Want
// are the link's own value of that field and the one that would follow.
type ChainError struct {
	Kind error
	Seq  Seq // of the link before
	Got  uint64
	Want uint64
}

func (e *ChainError) Error() string {
	return fmt.Sprintf("after sequence %d: %v: %d, not %d", e.Seq, e.Kind, e.Got, e.Want)
}

func (e *ChainError) Unwrap() error { return e.Kind }

// Genesis is the link that every chain begins with. It carries no event.
func Genesis(o Origin) Link { return Link{OriginHash: o} }

// hashBufferBytes: a link and its payload up to this size are hashed in one go, from a copy on the stack.
const hashBufferBytes = 512

// Hash is XXH3-64, seed 0, of the link and its payload: the parent_hash of the link after it.
func (l Link) Hash(payload []byte) uint64 {
	if len(payload) <= hashBufferBytes-LinkBytes {
		var b [hashBufferBytes]byte
		l.put(b[:])
		return xxh3.Hash(b[:LinkBytes+copy(b[LinkBytes:], payload)])
	}
	var b [LinkBytes]byte
	l.put(b[:])
	var h xxh3.Hasher
	h.Write(b[:])
	h.Write(payload)
	return h.Sum64()
}

// Next is the link that follows l, whose hash, with its payload, is hash. Sequence 2^64-1 has no successor.
func (l Link) Next(hash uint64, horizon uint64) (Link, error) {
	if l.Sequence == math.MaxUint64 {
		return Link{}, &ChainError{Kind: ErrSequence, Seq: l.Sequence}
	}
	return Link{OriginHash: l.OriginHash, HorizonEncoded: horizon, Sequence: l.Sequence + 1, ParentHash: hash}, nil
}

// Follows returns nil when l is the link after prev, whose hash, with its payload, is prevHash; otherwise a
// *ChainError about the first that is wrong of origin, sequence and parent_hash. The horizon is free.
func (l Link) Follows(prev Link, prevHash uint64) error {
	switch {
	case l.OriginHash != prev.OriginHash:
		return &ChainError{Kind: ErrOrigin, Seq: prev.Sequence, Got: uint64(l.OriginHash), Want: uint64(prev.OriginHash)}
	case prev.Sequence == math.MaxUint64 || l.Sequence != prev.Sequence+1:
		return &ChainError{Kind: ErrSequence, Seq: prev.Sequence, Got: uint64(l.Sequence), Want: uint64(prev.Sequence) + 1}
	case l.ParentHash != prevHash:
		return &ChainError{Kind: ErrParentHash, Seq: prev.Sequence, Got: l.ParentHash, Want: prevHash}
	}
	return nil
}

// IsGenesis says that l is Genesis of its origin.
func (l Link) IsGenesis() bool { return l == Genesis(l.OriginHash) }

// Append appends the link's 32 bytes.
func (l Link) Append(dst []byte) []byte {
	dst, b := extend(dst, LinkBytes)
	l.put(b)
	return dst
}

func (l *Link) put(b []byte) {
	_ = b[LinkBytes-1]
	le.PutUint64(b[0:], uint64(l.OriginHash))
	le.PutUint64(b[8:], l.HorizonEncoded)
	le.PutUint64(b[16:], uint64(l.Sequence))
	le.PutUint64(b[24:], l.ParentHash)
}

// LinkFrom reads the link of the 32 bytes at the beginning of b, which must be there.
func LinkFrom(b []byte) Link {
	_ = b[LinkBytes-1]
	return Link{
		OriginHash:     Origin(le.Uint64(b[0:])),
		HorizonEncoded: le.Uint64(b[8:]),
		Sequence:       Seq(le.Uint64(b[16:])),
		ParentHash:     le.Uint64(b[24:]),
	}
}

// linkOf is the link of what a cursor found: its 32 bytes or nothing. It is small enough to be inlined.
func linkOf(b []byte) (l Link) {
	if len(b) == LinkBytes {
		l = LinkFrom(b)
	}
	return
}
