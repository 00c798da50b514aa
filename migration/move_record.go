package migration

import (
	"encoding/binary"
	"fmt"

	"ferry/frame"
	"ferry/proto0500"
)

// MoveOutcome is how a move ended, as the orchestrator journals it. Its numbers are on disk.
type MoveOutcome uint8

// Frozen.
const (
	MoveOpen       MoveOutcome = 0 // not known yet
	MoveCommitted  MoveOutcome = 1 // the target is the authority
	MoveRolledBack MoveOutcome = 2 // the source serves on
	MoveMovedOn    MoveOutcome = 3 // the daemon has moved again since
)

func (o MoveOutcome) String() string {
	switch o {
	case MoveOpen:
		return "open"
	case MoveCommitted:
		return "committed"
	case MoveRolledBack:
		return "rolled back"
	case MoveMovedOn:
		return "moved on"
	}
	return fmt.Sprintf("outcome(%d)", uint8(o))
}

const (
	moveRecordVersion = 1
	// MoveRecordBytes is the size of a move's record on disk.
	MoveRecordBytes = 34
)

var _ = [1]struct{}{}[MoveRecordBytes-(1+4*8+1)]

// MoveRecord is what an orchestrator keeps of a move, so that it can ask how it went after a restart. Nothing rests on
// it: source and target end a move without any.
//
// On disk, little endian:
//
//	off size field
//	  0    1  version   1
//	  1    8  origin
//	  9    8  source    node id
//	 17    8  target    node id
//	 25    8  epoch     not 0
//	 33    1  outcome   0..3
type MoveRecord struct {
	Origin         proto0500.Origin
	Source, Target proto0500.NodeID
	Epoch          frame.Epoch
	Outcome        MoveOutcome
}

// AppendBinary appends the record's bytes; it cannot fail.
func (r MoveRecord) AppendBinary(b []byte) ([]byte, error) {
	le := binary.LittleEndian
	b = append(b, moveRecordVersion)
	b = le.AppendUint64(b, uint64(r.Origin))
	b = le.AppendUint64(b, uint64(r.Source))
	b = le.AppendUint64(b, uint64(r.Target))
	b = le.AppendUint64(b, uint64(r.Epoch))
	return append(b, byte(r.Outcome)), nil
}

// MarshalBinary returns the record's bytes.
func (r MoveRecord) MarshalBinary() ([]byte, error) { return r.AppendBinary(nil) }

// UnmarshalBinary reads a record from b, which must hold nothing else.
func (r *MoveRecord) UnmarshalBinary(b []byte) error {
	if err := checkStored("MoveRecord", b, moveRecordVersion, MoveRecordBytes); err != nil {
		return err
	}
	le := binary.LittleEndian
	read := MoveRecord{
		Origin:  proto0500.Origin(le.Uint64(b[1:])),
		Source:  proto0500.NodeID(le.Uint64(b[9:])),
		Target:  proto0500.NodeID(le.Uint64(b[17:])),
		Epoch:   frame.Epoch(le.Uint64(b[25:])),
		Outcome: MoveOutcome(b[33]),
	}
	if read.Outcome > MoveMovedOn {
		return storedError("MoveRecord", "outcome", 33, fmt.Errorf("%w: %d", ErrRecordValue, uint8(read.Outcome)))
	}
	if read.Epoch == 0 || read.Source == read.Target {
		return fmt.Errorf("%w: %+v", ErrRecordValue, read)
	}
	*r = read
	return nil
}
