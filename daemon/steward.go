package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"ferry/frame"
	"ferry/internal/drive"
	"ferry/migration"
	"ferry/proto0500"
)

// steward is the one goroutine that owns a daemon at this node: its record and
// attempt (migration.Participant), its replica, and the data plane of whichever
// side it is on. Everything reaches it as a function on its inbox; what the
// core decides is carried out by effect, in order, before the next is taken.
type steward struct {
	h       *Host
	origin  proto0500.Origin
	name    string // fixed; "" for a record of a daemon that was never described
	log     *slog.Logger
	inbox   chan func()
	attempt atomic.Pointer[inbound]   // in, for the streams that look for it
	now     atomic.Pointer[situation] // for Status
	gate    atomic.Pointer[gate]
	timers  *drive.Timers

	// Owned by run.
	p        migration.Participant
	durable  migration.Record // the last that is surely in the journal
	desc     drive.Descriptor
	rep      *replica  // the authority's state here, or the copy a retired source keeps
	w        *writer   // serves rep
	failed   error     // why the daemon serves no more
	reopened time.Time // when it was last opened again
	halted   bool      // nothing may be said or done any more
	out      *outbound
	lastOut  *outbound // ended: its counters are still told
	in       *inbound
	inBase   Head
	inRep    *replica           // the restored daemon of in
	batch    []Event            // replayed by the core's word, not by the daemon yet
	current  Event              // the event being stepped
	todo     []migration.Input  // what effects have led to
	clocks   clocks             // of the attempt, as the source
	limit    rateLimit          // of the attempt, as the source
	room     *room              // for the daemon that the core is asked to take
	dep      *deputy            // the move that this source drives itself
	refusal  *refusal           // or why it is not taken
	told     frame.Epoch        // at which OnAuthority was told of the target
	active   uint64             // data plane progress when the attempt's timer was armed
	baseTurn <-chan struct{}    // closed when the last is done that was at the base
	losses   losses             // nodes whose way back is awaited
	cleanup  sync.WaitGroup     // replicas and data planes that are ending
	fx       []migration.Effect // reused
}

// clocks are the instants of a source's blackout.
type clocks struct{ freeze, frozen, retired time.Time }

func newSteward(h *Host, origin proto0500.Origin, rec migration.Record, desc drive.Descriptor) *steward {
	s := &steward{
		h: h, origin: origin, name: desc.Name, desc: desc,
		log:   h.log.With("daemon", desc.Name, "origin", fmt.Sprintf("%016x", uint64(origin))),
		inbox: make(chan func(), 256),
		p:     migration.New(migration.Config{Self: h.self, Origin: origin}, rec), durable: rec,
	}
	s.timers = drive.NewTimers(func(d drive.Due) {
		s.post(func() {
			if s.timers.Take(d) {
				s.fired(d.Timer, d.Epoch)
			}
		})
	})
	s.gate.Store(&gate{park: true, changed: make(chan struct{})})
	s.now.Store(&situation{
		Status: Status{Name: desc.Name, Kind: desc.Kind, Origin: origin},
		report: proto0500.Report{DaemonOrigin: origin, BootID: h.boot},
	})
	return s
}

// post puts f on the inbox; it is dropped when the host ends.
func (s *steward) post(f func()) { s.postFor(s.h.ctx, f) }

// postFor is post for a goroutine that the steward may wait for, once it has
// ended ctx.
func (s *steward) postFor(ctx context.Context, f func()) {
	s.postWith(ctx, f, func() {})
}

// postWith is postFor with a release that runs whether or not f still may.
func (s *steward) postWith(ctx context.Context, f, release func()) {
	select {
	case s.inbox <- func() {
		defer release()
		if !s.halted {
			f()
		}
	}:
	case <-ctx.Done():
		release()
	}
}

// run boots the daemon from its record and serves the inbox until the host ends.
func (s *steward) run(booted func()) {
	s.boot()
	booted()
	for {
		var broken <-chan struct{}
		if s.w != nil {
			broken = s.w.done
		}
		select {
		case f := <-s.inbox:
			f()
		case <-broken:
			s.stopWriter()
			// Without an attempt this is refused, and all that is left is to
			// publish it.
			_ = s.step(migration.Failed{Epoch: s.p.Epoch(), Reason: stateFailed(s.failed)})
			s.openSoon()
		case <-s.h.ctx.Done():
			s.shutdown()
			return
		}
	}
}

// boot opens what the record says is here. The gate of safety.md, section 3:
// only a record that says serving starts a daemon; one that says retired keeps
// the state as a copy.
func (s *steward) boot() {
	rec := s.p.Record()
	if s.rep == nil && (rec.State == migration.RecordServing || rec.State == migration.RecordRetired) {
		s.open(rec)
	}
	s.sweep(rec)
	if rec.State == migration.RecordMoved {
		s.told = rec.Epoch // no news
	}
	s.step(migration.Boot{})
}

func (s *steward) open(rec migration.Record) {
	kind, ok := s.h.kinds[s.desc.Kind]
	if !ok {
		s.failed = fmt.Errorf("%w: %q", ErrUnknownKind, s.desc.Kind)
		s.log.Error("daemon cannot be opened", "err", s.failed)
		return
	}
	rep, err := openReplica(kind, s.stateDir(rec), s.env())
	switch {
	case err == nil:
		s.rep = rep
	case kind.InMemory && errors.Is(err, errNoReplica):
		s.log.Warn("the state is gone: the daemon was in memory, and an earlier process had it", "state", rec.State, "epoch", rec.Epoch)
	default:
		s.failed = errors.Join(ErrStopped, err)
		s.log.Error("daemon cannot be opened", "err", err)
	}
}

func (s *steward) env() Env {
	return Env{Origin: s.origin, Name: s.desc.Name, Log: s.log}
}

// serve starts the writer on the replica.
func (s *steward) serve() {
	if s.w != nil {
		return
	}
	s.w = newWriter(s.rep, int(s.h.cfg.Limits.EventPayloadBytesMax), s.h.cfg.Now)
	if log, ok := s.rep.log.(*boltLog); ok {
		s.w.checkpointer = newCheckpointer(s.rep, log, s.h.cfg.LogBytes, s.log)
	}
	go s.w.run() // stopWriter waits for it
}

// stopWriter ends the writer and waits for it. Parked writes look again.
func (s *steward) stopWriter() {
	if s.w == nil {
		return
	}
	s.w.stop()
	if err := s.w.broken; err != nil {
		s.failed = errors.Join(ErrStopped, err)
		until := "until the node is restarted"
		if diskFull(err) && !s.inMemory() {
			until = "until it is opened again"
		}
		s.log.Error("daemon failed and serves no more "+until, "err", err)
	}
	s.w = nil
}

// copyOf is what the host really holds of the daemon.
func (s *steward) copyOf() migration.Copy {
	if s.rep == nil || s.failed != nil {
		return migration.Copy{}
	}
	head := s.rep.head.Load()
	return migration.Copy{OK: true, Seq: head.Seq, Head: head.Link, Hash: head.Hash}
}

// step tells the core and carries out what it wants, until nothing follows.
// The error is the core's refusal of in itself.
func (s *steward) step(in migration.Input) (refused error) {
	refused = s.drain(in)
	s.publish()
	s.drive()
	return refused
}

func (s *steward) drain(in migration.Input) (refused error) {
	if s.halted {
		return s.failed
	}
	s.todo = append(s.todo, in)
	for first := true; len(s.todo) > 0; first = false {
		next := s.todo[0]
		s.todo = s.todo[1:]
		fx, err := s.p.Step(s.copyOf(), next, s.fx[:0])
		if err != nil {
			s.logRefusal(next, err)
			if first {
				refused = err
			}
		}
		if err := s.carryOut(fx); err != nil {
			s.reboot(err)
		}
		clear(fx)
		s.fx = fx[:0]
	}
	if err := s.p.Check(); err != nil && !s.halted {
		panic("daemon: " + err.Error())
	}
	return refused
}

func (s *steward) carryOut(fx []migration.Effect) error {
	for _, e := range fx {
		if _, isApply := e.(migration.Apply); !isApply {
			if err := s.replayBatch(); err != nil {
				return err
			}
		}
		if err := s.effect(e); err != nil {
			return fmt.Errorf("%T: %w", e, err)
		}
	}
	return nil
}

// reboot is what follows a durable effect that failed: as after a restart of
// the process, the record alone says what this node is.
func (s *steward) reboot(cause error) {
	s.log.Error("going on from the record, as after a restart", "err", cause)
	wanted := s.p.Record()
	s.todo = nil
	s.endOut(cause)
	rec, err := s.reread()
	if err != nil {
		rec = s.durable
		serves := rec.State == migration.RecordServing
		if serves != (wanted.State == migration.RecordServing) || serves && rec.LiveEpoch != wanted.LiveEpoch {
			s.halt(err)
			return
		}
		// Whichever of the two is on disk, this node is the authority, or is not;
		// and the epoch that could not be written was never named.
		s.log.Error("the journal fails: going on as before, but this daemon cannot move", "err", err)
	}
	if rec.State == migration.RecordServing && s.in != nil && rec.LiveEpoch == s.in.epoch && s.inRep != nil {
		s.adopt() // the write did land: live
		s.endIn(cause, keepFiles)
		s.h.authority(s.desc.Name, s.origin, s.h.self, rec.LiveEpoch)
	}
	s.endIn(cause, dropFiles)
	if rec.State != migration.RecordServing {
		s.stopWriter()
	}
	s.p = migration.New(migration.Config{Self: s.h.self, Origin: s.origin}, rec)
	s.sayWhy(rec, cause)
	s.todo = append(s.todo, migration.Boot{})
}

// reread reads the record, and writes it again: whoever acts on it must know
// that no later restart finds another one.
func (s *steward) reread() (migration.Record, error) {
	rec, err := s.h.records.Record(s.origin)
	if err == nil {
		err = s.h.records.Put(s.origin, rec)
	}
	if err == nil {
		s.durable = rec
	}
	return rec, err
}

// sayWhy tells the reason beforehand to those to whom Boot says no more than
// that the attempt is over, which it is.
func (s *steward) sayWhy(rec migration.Record, cause error) {
	over := rec.State == migration.RecordServing && rec.Epoch != rec.LiveEpoch && s.copyOf().OK
	refused := rec.State == migration.RecordNone && rec.Epoch != 0
	if !over && !refused {
		return
	}
	m := proto0500.MigrationFailed{DaemonOrigin: s.origin, Reason: stateFailed(cause)}
	s.send(rec.Orchestrator, rec.Epoch, m)
	s.send(rec.Peer, rec.Epoch, m)
}

// halt is for a journal that does not say what this node is. Nothing is
// removed: after a restart the record decides.
func (s *steward) halt(err error) {
	s.stopWriter()
	s.endIn(err, keepFiles)
	s.timers.Stop()
	s.endDeputy()
	s.halted = true
	s.failed = errors.Join(ErrStopped, err)
	s.log.Error("the journal does not say what this node is: this daemon stops until the node is restarted", "err", err)
}

func (s *steward) send(to proto0500.NodeID, epoch frame.Epoch, m proto0500.Message) {
	if to == s.h.self {
		s.hear(epoch, m)
		return
	}
	// Where there is no direct way the orchestrator may be one.
	s.h.sender.Send(s.h.ctx, to, epoch, m, s.p.Record().Orchestrator)
}

// stateFailed is err as a reason on the wire.
func stateFailed(err error) proto0500.Reason {
	text := err.Error()
	const textMax = 1000
	if len(text) > textMax {
		text = text[:textMax]
	}
	code := proto0500.CodeStateFailed
	if errors.Is(err, errIdentity) {
		code = proto0500.CodeIdentityTransportFailed
	}
	return proto0500.NewReason(code, validUTF8(text))
}

func (s *steward) shutdown() {
	s.timers.Stop()
	s.endDeputy()
	s.endOut(ErrClosed)
	s.stopWriter()
	s.endIn(ErrClosed, dropFiles)
	s.cleanup.Wait()
	if s.rep != nil {
		if err := s.rep.close(); err != nil {
			s.log.Warn("daemon closed with an error", "err", err)
		}
		s.rep = nil
	}
	s.failed = ErrClosed
	s.publish()
}
