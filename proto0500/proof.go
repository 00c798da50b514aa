package proto0500

import (
	"errors"
	"fmt"

	"ferry/frame"
)

// Frozen.
const (
	ProofBytes   = 40
	ProofSpanMax = 100_000 // to_seq - from_seq is below it
)

// Proof says that two points are of one unbroken chain. A hash stands for the event of its sequence: XXH3-64 of its
// link and payload, which is the parent_hash of the event after it.
//
//	off size field
//	  0    8  origin_hash
//	  8    8  from_seq
//	 16    8  to_seq
//	 24    8  from_hash
//	 32    8  to_hash
type Proof struct {
	OriginHash Origin
	FromSeq    Seq
	ToSeq      Seq
	FromHash   uint64
	ToHash     uint64
}

var _ = [1]struct{}{}[ProofBytes-5*8]

// Why a proof does not hold; a broken link in between is a *ChainError.
var (
	ErrProofOrigin  = errors.New("proof of another origin")
	ErrProofRange   = errors.New("proof runs backwards")
	ErrProofSpan    = errors.New("proof spans too many events")
	ErrProofMissing = errors.New("event of the proof is not in the log")
	ErrProofHash    = errors.New("event of the proof has another hash")
)

// Log is the events of one daemon that a node still has.
type Log interface {
	// Origin is the daemon's.
	Origin() Origin
	// Event is the event of a sequence, if it is there. Its payload need only be good until the next call.
	Event(s Seq) (Event, bool)
}

// ProofOf is the proof that a migration makes of the chain heads of its source and its target: what stands before the
// lower head, and before the higher one.
func ProofOf(source, target Link) Proof {
	lo, hi := source, target
	if hi.Sequence < lo.Sequence {
		lo, hi = hi, lo
	}
	return Proof{
		OriginHash: source.OriginHash,
		FromSeq:    max(lo.Sequence, 1) - 1,
		ToSeq:      max(hi.Sequence, 1) - 1,
		FromHash:   lo.ParentHash,
		ToHash:     hi.ParentHash,
	}
}

// Append appends the proof's 40 bytes.
func (p Proof) Append(dst []byte) []byte {
	var b [ProofBytes]byte
	le.PutUint64(b[0:], uint64(p.OriginHash))
	le.PutUint64(b[8:], uint64(p.FromSeq))
	le.PutUint64(b[16:], uint64(p.ToSeq))
	le.PutUint64(b[24:], p.FromHash)
	le.PutUint64(b[32:], p.ToHash)
	return append(dst, b[:]...)
}

// Decode reads the proof from b, which must be its 40 bytes.
func (p *Proof) Decode(b []byte) error {
	c := frame.NewCursor("Proof", b)
	*p = Proof{
		OriginHash: Origin(c.U64("origin_hash")),
		FromSeq:    Seq(c.U64("from_seq")),
		ToSeq:      Seq(c.U64("to_seq")),
		FromHash:   c.U64("from_hash"),
		ToHash:     c.U64("to_hash"),
	}
	return c.Done()
}

// Verify holds the proof against a log: both its ends, and every link between them.
func (p Proof) Verify(log Log) error {
	if log.Origin() != p.OriginHash {
		return fmt.Errorf("%w: %d, not %d", ErrProofOrigin, p.OriginHash, log.Origin())
	}
	if p.FromSeq > p.ToSeq {
		return fmt.Errorf("%w: from %d to %d", ErrProofRange, p.FromSeq, p.ToSeq)
	}
	if p.ToSeq-p.FromSeq >= ProofSpanMax {
		return fmt.Errorf("%w: from %d to %d", ErrProofSpan, p.FromSeq, p.ToSeq)
	}
	link, hash, err := p.at(log, p.FromSeq)
	if err != nil {
		return err
	}
	if hash != p.FromHash {
		return fmt.Errorf("%w: sequence %d", ErrProofHash, p.FromSeq)
	}
	for link.Sequence < p.ToSeq {
		next, nextHash, err := p.at(log, link.Sequence+1)
		if err != nil {
			return err
		}
		if err := next.Follows(link, hash); err != nil {
			return err
		}
		link, hash = next, nextHash
	}
	if hash != p.ToHash {
		return fmt.Errorf("%w: sequence %d", ErrProofHash, p.ToSeq)
	}
	return nil
}

// at is the link of the event at s, and its hash with its payload.
func (p Proof) at(log Log, s Seq) (Link, uint64, error) {
	ev, ok := log.Event(s)
	if !ok {
		return Link{}, 0, fmt.Errorf("%w: sequence %d", ErrProofMissing, s)
	}
	if ev.Link.Sequence != s {
		// Otherwise the walk would not end where the proof does.
		return Link{}, 0, fmt.Errorf("%w: sequence %d has the link of %d", ErrProofMissing, s, ev.Link.Sequence)
	}
	return ev.Link, ev.Hash(), nil
}
