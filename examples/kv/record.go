package kv

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"

	"ferry/proto0500"
)

// Record is what a writer remembers of a write that was acknowledged: the number
// it was told, and what it wrote. It is kept by the writer, and owes nothing to
// the nodes whose word it is held against.
type Record struct {
	Seq     proto0500.Seq
	Payload []byte
}

// Append appends the record as a file of records has it:
//
//	off size field
//	  0    8  seq
//	  8    4  len      0..PayloadBytesMax
//	 12    …  payload
//
// all little endian.
func (r Record) Append(dst []byte) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, uint64(r.Seq))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(r.Payload)))
	return append(dst, r.Payload...)
}

const recordHeadBytes = 8 + 4

// ReadRecords reads a file of records. Each record's payload is its own. It
// ends after the first error.
func ReadRecords(r io.Reader) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		in := bufio.NewReaderSize(r, 64<<10)
		for n := 1; ; n++ {
			rec, err := readRecord(in)
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				yield(Record{}, fmt.Errorf("kv: record %d: %w", n, err))
				return
			}
			if !yield(rec, nil) {
				return
			}
		}
	}
}

// Records yields the records of a list in the order of their numbers.
func Records(list []Record) iter.Seq2[Record, error] {
	list = slices.SortedFunc(slices.Values(list), func(a, b Record) int { return cmp.Compare(a.Seq, b.Seq) })
	return func(yield func(Record, error) bool) {
		for _, rec := range list {
			if !yield(rec, nil) {
				return
			}
		}
	}
}

func readRecord(r io.Reader) (Record, error) {
	var head [recordHeadBytes]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return Record{}, err // io.EOF only between two records
	}
	size := binary.LittleEndian.Uint32(head[8:])
	if size > PayloadBytesMax {
		return Record{}, &PayloadError{Field: "len", Bytes: int(size), Err: ErrValueSize}
	}
	payload := make([]byte, size) // at most 4 MiB and a bit
	if n, err := io.ReadFull(r, payload); err != nil {
		return Record{}, fmt.Errorf("payload of %d bytes ends after %d: %w", size, n, io.ErrUnexpectedEOF)
	}
	return Record{Seq: proto0500.Seq(binary.LittleEndian.Uint64(head[0:])), Payload: payload}, nil
}
