package drive

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"

	"ferry/frame"
	"ferry/journal"
	"ferry/migration"
	"ferry/proto0500"
)

// Records are the journal's entries of one node, none of which is ever deleted:
//
//	'r' origin u64 BE             → migration.Record
//	'd' origin u64 BE             → Descriptor, JSON
//	'm' origin u64 BE epoch u64 BE → migration.MoveRecord
type Records struct{ J journal.Journal }

// Descriptor is what a daemon is called and made by. It is written before the
// first record of its daemon.
type Descriptor struct {
	Name      string `json:"name"`
	Kind      string `json:"kind"`
	Schema    uint32 `json:"schema"`
	PublicKey []byte `json:"public_key"`
}

// Entity is the daemon's public key as messages carry it.
func (d Descriptor) Entity() (id [32]byte) {
	copy(id[:], d.PublicKey)
	return id
}

const (
	prefixRecord     = 'r'
	prefixDescriptor = 'd'
	prefixMove       = 'm'
)

func key(prefix byte, nums ...uint64) []byte {
	k := []byte{prefix}
	for _, n := range nums {
		k = binary.BigEndian.AppendUint64(k, n)
	}
	return k
}

// Record reads a daemon's record; a daemon without one has the zero Record.
func (r Records) Record(o proto0500.Origin) (rec migration.Record, err error) {
	b, err := r.J.Get(key(prefixRecord, uint64(o)))
	if errors.Is(err, journal.ErrNotFound) {
		return rec, nil
	}
	if err != nil {
		return rec, err
	}
	return rec, rec.UnmarshalBinary(b)
}

// Put makes a record durable.
func (r Records) Put(o proto0500.Origin, rec migration.Record) error {
	b, err := rec.AppendBinary(nil)
	if err != nil {
		return err
	}
	return r.J.Put(key(prefixRecord, uint64(o)), b)
}

// Each calls f for every daemon that has a record.
func (r Records) Each(f func(proto0500.Origin, migration.Record) error) error {
	return r.J.Range([]byte{prefixRecord}, func(k, v []byte) error {
		if len(k) != 9 {
			return fmt.Errorf("journal: record key of %d bytes", len(k))
		}
		var rec migration.Record
		if err := rec.UnmarshalBinary(v); err != nil {
			return fmt.Errorf("journal: record %x: %w", k[1:], err)
		}
		return f(proto0500.Origin(binary.BigEndian.Uint64(k[1:])), rec)
	})
}

// Descriptor reads a daemon's descriptor.
func (r Records) Descriptor(o proto0500.Origin) (d Descriptor, err error) {
	b, err := r.J.Get(key(prefixDescriptor, uint64(o)))
	if err != nil {
		return d, err
	}
	return d, json.Unmarshal(b, &d)
}

// PutDescriptor makes a descriptor durable.
func (r Records) PutDescriptor(o proto0500.Origin, d Descriptor) error {
	b, err := json.Marshal(d)
	if err != nil {
		return err
	}
	return r.J.Put(key(prefixDescriptor, uint64(o)), b)
}

// PutMove makes an orchestrator's record durable.
func (r Records) PutMove(m migration.MoveRecord) error {
	b, err := m.AppendBinary(nil)
	if err != nil {
		return err
	}
	return r.J.Put(key(prefixMove, uint64(m.Origin), uint64(m.Epoch)), b)
}

// Move reads an orchestrator's record, journal.ErrNotFound where there is none.
func (r Records) Move(o proto0500.Origin, e frame.Epoch) (m migration.MoveRecord, err error) {
	b, err := r.J.Get(key(prefixMove, uint64(o), uint64(e)))
	if err != nil {
		return m, err
	}
	return m, m.UnmarshalBinary(b)
}

// OpenMoves are the moves of a daemon that have no outcome yet; origin 0: of all.
func (r Records) OpenMoves(o proto0500.Origin) (open []migration.MoveRecord, err error) {
	prefix := []byte{prefixMove}
	if o != 0 {
		prefix = key(prefixMove, uint64(o))
	}
	err = r.J.Range(prefix, func(k, v []byte) error {
		var m migration.MoveRecord
		if err := m.UnmarshalBinary(v); err != nil {
			return fmt.Errorf("journal: move %x: %w", k[1:], err)
		}
		if m.Outcome == migration.MoveOpen {
			open = append(open, m)
		}
		return nil
	})
	return open, err
}
