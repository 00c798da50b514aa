package kv

import (
	"errors"
	"fmt"
	"iter"

	"ferry/daemon"
	"ferry/proto0500"
)

// GapError says that a twin was not given every event: Want was due, Got came.
type GapError struct{ Got, Want proto0500.Seq }

func (e *GapError) Error() string {
	return fmt.Sprintf("kv: twin was given event %d where %d was due", e.Got, e.Want)
}

// twinBatch is how many events the twin applies at once.
const twinBatch = 512

// Twin feeds a fresh store in dir with records, which must be all events from 1
// on in ascending order, and returns where it ends. It was never moved and never
// saw a chain, so a moved store that has the same digest has the same content.
// opts must be those with which the moved store was created.
func Twin(dir string, opts Options, records iter.Seq2[Record, error]) (Position, error) {
	s, err := openTwin(dir, opts)
	if err != nil {
		return Position{}, err
	}
	err = s.feed(records)
	pos, posErr := s.Position()
	return pos, errors.Join(err, posErr, s.Close())
}

// openTwin opens a store that need not survive a crash.
func openTwin(dir string, opts Options) (*Store, error) {
	s, err := Open(daemon.Env{Dir: dir, Name: "twin", Created: true}, opts)
	if err != nil {
		return nil, err
	}
	if h, err := s.Head(); err != nil || h.Seq != 0 {
		return nil, errors.Join(ErrNotEmpty, err, s.Close())
	}
	s.relaxed, s.db.NoSync = true, true
	return s, nil
}

func (s *Store) feed(records iter.Seq2[Record, error]) error {
	head := daemon.Genesis(s.origin)
	batch := make([]daemon.Event, 0, twinBatch)
	for rec, err := range records {
		if err != nil {
			return err
		}
		link, err := head.Link.Next(head.Hash, 0)
		if err != nil {
			return err
		}
		if rec.Seq != link.Sequence {
			return &GapError{Got: rec.Seq, Want: link.Sequence}
		}
		head = daemon.Head{Seq: link.Sequence, Link: link, Hash: link.Hash(rec.Payload)}
		batch = append(batch, daemon.Event{Seq: head.Seq, Link: link, Hash: head.Hash, Payload: rec.Payload})
		if len(batch) == twinBatch {
			if err := s.Apply(batch); err != nil {
				return err
			}
			batch = batch[:0]
		}
	}
	return s.Apply(batch)
}
