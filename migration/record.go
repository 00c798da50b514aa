package migration

import (
	"encoding/binary"
	"errors"
	"fmt"

	"ferry/frame"
	"ferry/proto0500"
)

// RecordState is what a node durably is for a daemon. Its numbers are on disk, and those of proto0500.State.
type RecordState uint8

// Frozen.
const (
	RecordNone    RecordState = 0
	RecordServing RecordState = 1
	RecordRetired RecordState = 2
	RecordMoved   RecordState = 3
)

func (s RecordState) String() string { return proto0500.State(s).String() }

const (
	recordVersion = 1
	// RecordBytes is the size of a record on disk.
	RecordBytes = 82
)

var _ = [1]struct{}{}[RecordBytes-(1+8+8+1+8+8+8+proto0500.LinkBytes+8)]

// Record is all that a node keeps of a daemon over a restart (safety.md, section 2). It is written as a whole and never
// deleted, also not when the daemon has moved away: a record forgotten is an epoch that can come back (R2). The zero
// value is a daemon that the node has never heard of.
//
// On disk, little endian:
//
//	off size field
//	  0    1  version        1
//	  1    8  epoch
//	  9    8  live_epoch     never above epoch
//	 17    1  state          0..3
//	 18    8  peer           node id
//	 26    8  orchestrator   node id
//	 34    8  seal_seq
//	 42   32  seal_head      a link
//	 74    8  seal_hash
type Record struct {
	// Epoch is the highest one handed out or taken part in; LiveEpoch the one at which this node last became the
	// authority, 0 when it was created here, or never did.
	Epoch, LiveEpoch frame.Epoch
	State            RecordState
	// Peer is the other side of the attempt at Epoch: its source when State is none or the node went live at it,
	// otherwise its target.
	Peer, Orchestrator proto0500.NodeID
	// The seal at which the node retired; zero in every other state.
	SealSeq  proto0500.Seq
	SealHead proto0500.Link
	SealHash uint64
}

// Why a stored record is refused.
var (
	ErrRecordBytes   = errors.New("record has another size")
	ErrRecordVersion = errors.New("record has an unknown version")
	ErrRecordValue   = errors.New("record contradicts itself")
)

// Created is the record of a daemon that comes into being on this node. It must be durable before the first write is
// accepted.
func Created() Record { return Record{State: RecordServing} }

// Recreated is the record of an in-memory daemon that died with its node and is created anew, empty, where it was the
// authority. It must be durable before the daemon starts: with the next epoch, whatever attempt was open stays dead.
func Recreated(r Record) (Record, error) {
	if r.State != RecordServing || r.Epoch+1 == 0 {
		return Record{}, fmt.Errorf("%w: cannot be created anew: %v at %d", ErrRecordValue, r.State, r.Epoch)
	}
	return Record{Epoch: r.Epoch + 1, LiveEpoch: r.Epoch + 1, State: RecordServing}, nil
}

// AppendBinary appends the record's bytes; it cannot fail.
func (r Record) AppendBinary(b []byte) ([]byte, error) {
	le := binary.LittleEndian
	b = append(b, recordVersion)
	b = le.AppendUint64(b, uint64(r.Epoch))
	b = le.AppendUint64(b, uint64(r.LiveEpoch))
	b = append(b, byte(r.State))
	b = le.AppendUint64(b, uint64(r.Peer))
	b = le.AppendUint64(b, uint64(r.Orchestrator))
	b = le.AppendUint64(b, uint64(r.SealSeq))
	b = r.SealHead.Append(b)
	return le.AppendUint64(b, r.SealHash), nil
}

// MarshalBinary returns the record's bytes.
func (r Record) MarshalBinary() ([]byte, error) { return r.AppendBinary(nil) }

// UnmarshalBinary reads a record from b, which must hold nothing else. A record that contradicts itself is refused: a
// node must not guess what it is.
func (r *Record) UnmarshalBinary(b []byte) error {
	if err := checkStored("Record", b, recordVersion, RecordBytes); err != nil {
		return err
	}
	le := binary.LittleEndian
	read := Record{
		Epoch:        frame.Epoch(le.Uint64(b[1:])),
		LiveEpoch:    frame.Epoch(le.Uint64(b[9:])),
		State:        RecordState(b[17]),
		Peer:         proto0500.NodeID(le.Uint64(b[18:])),
		Orchestrator: proto0500.NodeID(le.Uint64(b[26:])),
		SealSeq:      proto0500.Seq(le.Uint64(b[34:])),
		SealHead:     proto0500.LinkFrom(b[42:]),
		SealHash:     le.Uint64(b[74:]),
	}
	if read.State > RecordMoved {
		return storedError("Record", "state", 17, fmt.Errorf("%w: %d", ErrRecordValue, uint8(read.State)))
	}
	if err := read.Check(); err != nil {
		return err
	}
	*r = read
	return nil
}

// checkStored is what every record begins with: its version, and the one size that version has.
func checkStored(record string, b []byte, version uint8, size int) error {
	switch {
	case len(b) == 0:
		return storedError(record, "version", 0, fmt.Errorf("%w: no bytes", ErrRecordVersion))
	case b[0] != version:
		return storedError(record, "version", 0, fmt.Errorf("%w: %d", ErrRecordVersion, b[0]))
	case len(b) != size:
		return storedError(record, "end", min(len(b), size), fmt.Errorf("%w: %d bytes", ErrRecordBytes, len(b)))
	}
	return nil
}

func storedError(record, field string, offset int, err error) error {
	return &frame.DecodeError{Message: record, Field: field, Offset: offset, Err: err}
}

// Check tells whether the record can be:
//
//	1  the state is one of the four, and live_epoch is not above epoch
//	2  retired and moved name a target, at an epoch that is not this node's own live_epoch
//	3  there is a seal when retired, at its own sequence, and no other state has one
func (r Record) Check() error {
	gone := r.State == RecordRetired || r.State == RecordMoved
	switch {
	case r.State > RecordMoved:
		return fmt.Errorf("%w: state %d", ErrRecordValue, r.State)
	case r.LiveEpoch > r.Epoch:
		return fmt.Errorf("%w: live_epoch %d is above epoch %d", ErrRecordValue, r.LiveEpoch, r.Epoch)
	case gone && (r.Peer == 0 || r.Epoch == r.LiveEpoch):
		return fmt.Errorf("%w: %v at %d, live at %d, peer %d", ErrRecordValue, r.State, r.Epoch, r.LiveEpoch, r.Peer)
	case r.SealHead.Sequence != r.SealSeq:
		return fmt.Errorf("%w: seal at %d with the link of %d", ErrRecordValue, r.SealSeq, r.SealHead.Sequence)
	case r.State != RecordRetired && r.seal() != (Position{}):
		return fmt.Errorf("%w: %v with a seal", ErrRecordValue, r.State)
	}
	return nil
}

func (r Record) seal() Position { return Position{Seq: r.SealSeq, Head: r.SealHead, Hash: r.SealHash} }

// Position is a point of the daemon's chain: its last event's sequence and link, and the XXH3-64 of that link and its
// payload, which the next event names as its parent. A link alone would not show a last payload that differs.
type Position struct {
	Seq  proto0500.Seq
	Head proto0500.Link
	Hash uint64
}
