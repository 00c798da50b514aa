package daemon

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"

	"ferry/identity"
	"ferry/internal/drive"
	"ferry/migration"
	"ferry/proto0500"
)

// Create makes an empty daemon on this node, which becomes its authority. A
// node that already has a record of the name, moved away included, refuses with
// ErrExists. The record is durable before the first write is accepted.
//
// An in-memory daemon that a crash has taken is created anew by it: under the
// same identity, at a higher epoch, so that a move it was in stays dead.
func (h *Host) Create(ctx context.Context, name, kindName string) error {
	kind, ok := h.kinds[kindName]
	switch {
	case !ok:
		return fmt.Errorf("%w: %q", ErrUnknownKind, kindName)
	case len(name) == 0 || len(name) > 255 || validUTF8(name) != name:
		return fmt.Errorf("daemon: name %q must be 1 to 255 bytes of UTF-8", name)
	}
	if err := h.waitReady(ctx); err != nil {
		return err
	}
	h.mu.Lock()
	named := h.byName[name]
	if len(named) == 0 && h.making[name] {
		h.mu.Unlock()
		return fmt.Errorf("%w: %q is being created", ErrExists, name)
	}
	h.making[name] = true
	h.mu.Unlock()
	defer func() {
		h.mu.Lock()
		delete(h.making, name)
		h.mu.Unlock()
	}()
	if len(named) > 0 {
		return named[0].recreate(ctx, kind)
	}
	return h.create(ctx, name, kind)
}

func (h *Host) create(ctx context.Context, name string, kind Kind) error {
	key, err := identity.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	desc := drive.Descriptor{Name: name, Kind: kind.Name, Schema: kind.Schema, PublicKey: key.Public()}
	s := newSteward(h, proto0500.Origin(key.Origin()), migration.Created(), desc)
	undo := func(err error) error {
		s.removeDir(h.daemonDir(s.origin))
		return err
	}
	dir, err := s.makeEpochDir(0)
	if err == nil {
		err = identity.SaveKey(filepath.Join(dir, keyFile), key)
	}
	if err != nil {
		return undo(err)
	}
	rep, err := newReplica(kind, dir, s.env())
	if err != nil {
		return undo(err)
	}
	if err := h.records.PutDescriptor(s.origin, desc); err != nil {
		return undo(errors.Join(err, rep.close()))
	}
	if err := h.records.Put(s.origin, migration.Created()); err != nil {
		// The record may be on disk all the same: its state stays.
		return errors.Join(err, rep.close())
	}
	s.rep = rep
	return h.start(ctx, s)
}

// start adds a steward and waits until it has booted.
func (h *Host) start(ctx context.Context, s *steward) error {
	booted := make(chan struct{})
	h.mu.Lock()
	if h.ctx.Err() != nil {
		h.mu.Unlock()
		if s.rep != nil {
			_ = s.rep.close()
		}
		return ErrClosed
	}
	h.add(s)
	h.work.Go(func() { s.run(func() { close(booted) }) })
	h.mu.Unlock()
	select {
	case <-booted:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// recreate makes an in-memory daemon anew that a crash has taken.
func (s *steward) recreate(ctx context.Context, kind Kind) error {
	res := make(chan error, 1)
	s.post(func() { res <- s.recreateHere(kind) })
	select {
	case err := <-res:
		return err
	case <-s.h.ctx.Done():
		return ErrClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (s *steward) recreateHere(kind Kind) error {
	rec := s.p.Record()
	if !kind.InMemory || rec.State != migration.RecordServing || s.rep != nil || s.desc.Kind != kind.Name {
		return fmt.Errorf("%w: %q (%v at epoch %d)", ErrExists, s.name, rec.State, rec.Epoch)
	}
	old := s.stateDir(rec)
	rec, err := migration.Recreated(rec)
	if err != nil {
		return err
	}
	dir, err := s.makeEpochDir(rec.Epoch)
	if err != nil {
		return err
	}
	key, err := loadKey(old, s.origin)
	if err == nil && key != nil {
		err = identity.SaveKey(filepath.Join(dir, keyFile), key)
	}
	if err != nil {
		return err
	}
	if err := s.persist(rec); err != nil {
		return err // either record says serving, without a state
	}
	s.p = migration.New(migration.Config{Self: s.h.self, Origin: s.origin}, rec)
	s.removeDir(old)
	rep, err := newReplica(kind, dir, s.env())
	if err != nil {
		s.publish()
		return err
	}
	s.rep, s.failed = rep, nil
	return s.step(migration.Boot{})
}
