package kv

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"go.etcd.io/bbolt"

	"ferry/daemon"
)

// Restore implements [daemon.Daemon]: the state's file becomes the store's own.
// It is believed only after every entry was counted (*[DigestError]) and the log
// was found to end at the head (*[CorruptError]). After an error the store is
// closed.
//
// Until the first Sync the commits are not synced one by one, so that the events
// which came meanwhile are replayed quickly; what Restore itself was given is on
// disk when it returns, so that Sync has only those to wait for.
func (s *Store) Restore(state daemon.State) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.db == nil {
		return ErrClosed
	}
	if s.pos.Load().Head.Seq != 0 {
		return ErrNotEmpty
	}
	s.endSnapshots()
	err := s.db.Close()
	s.db = nil
	s.pos.Store(nil)
	if err != nil {
		return err
	}
	if err := s.restore(state); err != nil {
		return fmt.Errorf("kv: restore %s: %w", s.path, err)
	}
	return nil
}

func (s *Store) restore(state daemon.State) error {
	if err := checkImage(state, state.Size()); err != nil {
		return err
	}
	if err := os.Remove(s.path); err != nil {
		return err
	}
	if err := state.Take(s.path); err != nil {
		return err
	}
	if err := s.open(true); err != nil {
		return err
	}
	err := s.recheck()
	if err == nil {
		err = s.db.Sync()
	}
	if err == nil {
		err = syncDir(filepath.Dir(s.path))
	}
	if err != nil {
		err = errors.Join(err, s.db.Close())
		s.db = nil
		s.pos.Store(nil)
	}
	return err
}

// recheck counts every entry of a store that was just opened.
func (s *Store) recheck() error {
	said := s.pos.Load().Content
	return guard("entries", func() error {
		return s.db.View(func(tx *bbolt.Tx) error {
			if counted := count(tx); counted != said {
				return &DigestError{Said: said, Counted: counted}
			}
			return nil
		})
	})
}
