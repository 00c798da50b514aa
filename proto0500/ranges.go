package proto0500

import (
	"fmt"
	"iter"
	"slices"

	"ferry/frame"
)

// Range is a run of chunks: first, and how many.
//
//	off size field
//	  0    4  first
//	  4    4  chunks   at least 1; first + chunks is at most ChunksMax
type Range struct {
	First  uint32
	Chunks uint32
}

const rangeBytes = 8

// End is the chunk after the range.
func (r Range) End() uint64 { return uint64(r.First) + uint64(r.Chunks) }

// Ranges are ascending and disjoint: of a message, judged once and read as they are asked for, or a list to be sent.
// The zero value is none.
type Ranges struct {
	raw  []byte // judged; nil when list has them
	list []Range
}

// RangesOf is a list to be sent, which it borrows.
func RangesOf(rs ...Range) Ranges { return Ranges{list: rs} }

// Len is the number of ranges.
func (r Ranges) Len() int { return len(r.raw)/rangeBytes + len(r.list) }

// All yields the ranges in order.
func (r Ranges) All() iter.Seq[Range] {
	return func(yield func(Range) bool) {
		for _, v := range r.list {
			if !yield(v) {
				return
			}
		}
		for raw := r.raw; len(raw) > 0; raw = raw[rangeBytes:] {
			if !yield(Range{First: le.Uint32(raw), Chunks: le.Uint32(raw[4:])}) {
				return
			}
		}
	}
}

// Clone returns ranges that own their bytes.
func (r Ranges) Clone() Ranges { return Ranges{raw: clone(r.raw), list: slices.Clone(r.list)} }

// Equal compares ranges by what they put on the wire.
func (r Ranges) Equal(o Ranges) bool {
	return slices.Equal(slices.Collect(r.All()), slices.Collect(o.All()))
}

// check returns the first range that is wrong, by number, and why.
func (r Ranges) check(lim *frame.Limits) (int, error) {
	i, end := 0, uint64(0)
	for v := range r.All() {
		switch {
		case v.Chunks == 0:
			return i, fmt.Errorf("%w: empty range", frame.ErrValue)
		case uint64(v.First) < end:
			return i, fmt.Errorf("%w: range at %d is not after %d", frame.ErrValue, v.First, end)
		case v.End() > uint64(lim.ChunksMax):
			return i, frame.OverLimit(v.End(), uint64(lim.ChunksMax))
		}
		i, end = i+1, v.End()
	}
	return 0, nil
}
