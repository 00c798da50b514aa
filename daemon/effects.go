package daemon

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"ferry/frame"
	"ferry/identity"
	"ferry/migration"
	"ferry/proto0500"
	"ferry/snapshot"
)

// effect carries out one effect. Only a durable one's error counts: it ends the
// list. What may fail in its own time says so by an input of its own.
func (s *steward) effect(e migration.Effect) error {
	switch e := e.(type) {
	case migration.Persist:
		return s.persist(e.Record)
	case migration.Flush:
		return s.flush(e)
	case migration.Send:
		s.publish() // whoever is told finds it so
		s.sayNotReady(e)
		s.send(e.To, e.Epoch, e.Message)
	case migration.Answer:
		s.publish()
		s.send(e.To, e.Epoch, s.reportFor(e.To))
	case migration.SendPrepared:
		s.publish()
		s.send(e.To, e.Epoch, s.prepared())
	case migration.Arm:
		if e.Timer == migration.TimerAttempt {
			s.active = s.progress()
		}
		s.timers.Arm(e.Timer, e.Epoch, s.h.cfg.timer(e.Timer))
	case migration.Disarm:
		s.timers.Disarm(e.Timer)

	case migration.StartCopy:
		if err := s.startCopy(e); err != nil {
			s.todo = append(s.todo, migration.Failed{Epoch: e.Epoch, Reason: stateFailed(err)})
		}
	case migration.StopCopy:
		s.endOut(errDropped)
	case migration.Freeze:
		s.freeze(e)
	case migration.Thaw:
		s.thaw()
	case migration.ShipSeal:
		if out, frozen := s.out, s.clocks.frozen; out != nil {
			out.shipSeal(e.Seal, func() { out.stats.took(proto0500.CounterTailNs, time.Since(frozen)) })
		}
	case migration.Retire:
		s.stopWriter()
		s.publish()
	case migration.Serve:
		s.reopen()
	case migration.DropState:
		s.dropState()

	case migration.Prepare:
		if err := s.prepare(e); err != nil {
			s.todo = append(s.todo, migration.Failed{Epoch: e.Epoch, Reason: stateFailed(err)})
		}
	case migration.Restore:
		kind, ok := s.h.kinds[s.desc.Kind]
		if !ok || s.in == nil {
			s.todo = append(s.todo, migration.Failed{Epoch: e.Epoch, Reason: stateFailed(ErrUnknownKind)})
			break
		}
		s.in.restore(kind, s.env(), s.inBase)
	case migration.Apply:
		s.batch = append(s.batch, s.current)
	case migration.DropAttempt:
		s.endIn(errDropped, dropFiles)
	case migration.Activate:
		s.activate(e.Epoch)
	default:
		panic(fmt.Sprintf("daemon: unknown effect %T", e))
	}
	return nil
}

func (s *steward) persist(rec migration.Record) error {
	begun := time.Now()
	if err := s.h.records.Put(s.origin, rec); err != nil {
		return err
	}
	s.durable = rec
	took := time.Since(begun)
	switch {
	case rec.State == migration.RecordRetired && s.out != nil:
		s.clocks.retired = time.Now()
		s.out.stats.took(proto0500.CounterRetireNs, took)
	case rec.State == migration.RecordServing && s.in != nil:
		s.in.stats.took(proto0500.CounterLiveNs, took)
	}
	return nil
}

func (s *steward) flush(e migration.Flush) error {
	rep, stats := s.rep, (*moveStats)(nil)
	if s.in != nil {
		rep, stats = s.inRep, s.in.stats
	} else if s.out != nil {
		s.out.stats.took(proto0500.CounterAckNs, time.Since(s.clocks.frozen))
	}
	if rep == nil {
		return ErrNoState
	}
	if head := rep.head.Load(); head.Seq < e.Seq {
		return fmt.Errorf("flush through %d, but the state ends at %d", e.Seq, head.Seq)
	}
	begun := time.Now()
	if e.Digest != 0 && s.in != nil { // the source's own is the sealed one
		digest, err := rep.digest()
		if err != nil {
			return fmt.Errorf("digest: %w", err)
		}
		if digest != 0 && digest != e.Digest {
			return fmt.Errorf("state digest %016x differs from the sealed %016x: Apply is not deterministic, or the snapshot was not consistent", digest, e.Digest)
		}
	}
	if err := rep.sync(); err != nil {
		return err
	}
	if stats != nil {
		stats.took(proto0500.CounterFlushNs, time.Since(begun))
	}
	return nil
}

// startCopy takes the snapshot between two batches and starts the data plane.
func (s *steward) startCopy(e migration.StartCopy) error {
	if s.w == nil {
		return ErrNotServing
	}
	var (
		snap Snapshot
		base Head
		err  error
	)
	alive := s.w.do(func() {
		base = *s.rep.head.Load()
		if snap, err = s.rep.snapshot(); err == nil {
			if mem, ok := s.rep.log.(*memLog); ok {
				mem.hold(base.Seq + 1)
			}
			s.w.checkpointer.keep(true)
		}
	})
	switch {
	case !alive:
		return errWriterGone
	case err != nil:
		return err
	}
	sealed, err := s.sealKey(e, base.Link)
	if err != nil {
		return errors.Join(err, snap.Close())
	}
	ctx, cancel := context.WithCancelCause(s.h.ctx)
	out := &outbound{
		h: s.h, origin: s.origin, epoch: e.Epoch, target: e.Target, orchestrator: e.Orchestrator,
		header: snapshot.Header{
			EntityID: s.desc.Entity(), ThroughSeq: base.Seq, ChainLink: base.Link,
			CreatedAt: uint64(s.h.cfg.Now().UnixNano()), StateLen: uint64(snap.Size()),
		},
		identity: sealed, tuner: snapshot.NewTuner(time.Now),
		base: base, snap: snap, log: s.rep.log, head: &s.rep.head, grown: &s.w.grown,
		paced: s.h.pacer.move(s.limitAt(e.Epoch)), stats: new(moveStats), status: make(chan targetStatus, 1),
		cancel: cancel, done: make(chan struct{}),
		catchUp: catchUp{behind: s.h.cfg.Behind, window: s.h.cfg.BehindWindow},
	}
	s.out, s.clocks = out, clocks{}
	out.stats.set(proto0500.CounterRateLimit, s.limitAt(e.Epoch))
	s.log.Info("snapshot taken", "epoch", e.Epoch, "seq", base.Seq, "bytes", snap.Size())
	go func() { // endOut waits for it
		defer close(out.done)
		if err := out.run(ctx); err != nil {
			s.fail(ctx, e.Epoch, err)
		}
	}()
	return nil
}

// freeze makes every accepted write part of the chain, and further ones wait.
func (s *steward) freeze(e migration.Freeze) {
	if s.w == nil || s.out == nil {
		s.todo = append(s.todo, migration.Failed{Epoch: e.Epoch, Reason: stateFailed(ErrNotServing)})
		return
	}
	s.clocks.freeze = time.Now()
	var digest uint64
	var err error
	alive := s.w.do(func() {
		s.w.frozen = true
		digest, err = s.rep.digest()
	})
	if !alive {
		err = errWriterGone
	}
	if err != nil {
		s.todo = append(s.todo, migration.Failed{Epoch: e.Epoch, Reason: stateFailed(err)})
		return
	}
	s.clocks.frozen = time.Now()
	s.out.stats.took(proto0500.CounterFreezeNs, s.clocks.frozen.Sub(s.clocks.freeze))
	head := s.rep.head.Load()
	s.todo = append(s.todo, migration.Frozen{
		Epoch: e.Epoch, Round: e.Round, Seq: head.Seq, Head: head.Link, Hash: head.Hash, Digest: digest,
	})
}

func (s *steward) thaw() {
	if s.out != nil {
		s.out.unseal()
	}
	if s.w != nil {
		s.w.thaw()
	}
}

// reopen serves again, after boot, a freeze, or a target's refusal.
func (s *steward) reopen() {
	if s.rep == nil || s.failed != nil {
		return
	}
	s.serve()
	s.w.thaw()
	s.publish()
}

// dropState lets go of a daemon that has moved away.
func (s *steward) dropState() {
	s.stopWriter()
	rec, rep := s.durable, s.rep // the core may be in the next attempt already
	s.rep, s.failed = nil, nil
	s.tellMoved(rec)
	turn, inMemory := s.nextTurn(), s.inMemory()
	s.cleanup.Go(func() {
		turn.wait()
		defer close(turn.done)
		if rep != nil {
			if err := rep.close(); err != nil {
				s.log.Warn("moved daemon closed with an error", "err", err)
			}
		}
		if inMemory {
			s.removeDir(s.stateDir(rec))
			return
		}
		s.leave(s.stateDir(rec), true, true)
	})
}

// prepare makes room for the attempt.
func (s *steward) prepare(e migration.Prepare) error {
	dir, err := s.makeEpochDir(e.Epoch)
	if err != nil {
		return err
	}
	recipient, err := identity.NewRecipient(s.h.cfg.Key, identity.Origin(s.origin), uint64(e.Epoch))
	if err != nil {
		return err
	}
	if s.in, err = newInbound(s, e.Epoch, e.Source, s.p.Record().Orchestrator, dir, recipient); err == nil {
		s.room = nil // the attempt's
	}
	return err
}

// activate: this node is the authority from here on.
func (s *steward) activate(e frame.Epoch) {
	in := s.in
	if in == nil || s.inRep == nil {
		s.failed = errors.Join(ErrStopped, errors.New("live, but the restored daemon is gone"))
		s.log.Error("daemon cannot be activated: restart the node", "epoch", e)
		return
	}
	in.count()
	in.stats.set(proto0500.CounterBytesDone, in.stats.counters[proto0500.CounterStateBytes].Load())
	s.h.sendProgress(in.orch, s.origin, e, in.stats)
	s.adopt()
	s.endIn(errDropped, keepFiles)
	s.publish()
	s.log.Info("live: this node is the authority", "epoch", e, "seq", s.rep.head.Load().Seq)
	s.h.authority(s.desc.Name, s.origin, s.h.self, e)
}

func validUTF8(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}
