package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"ferry/frame"
	"ferry/internal/drive"
	"ferry/migration"
	"ferry/proto0500"
	"ferry/transport"
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
	state   atomic.Pointer[proto0500.Report] // as of the last step, for Status
	timers  *drive.Timers

	// Owned by run.
	p       migration.Participant
	desc    drive.Descriptor
	rep     *replica // the authority's state here, or the copy a retired source keeps
	w       *writer  // serves rep
	wStop   context.CancelCauseFunc
	failed  error // why the daemon serves no more
	out     *outbound
	lastOut *outbound // ended: its counters are still told
	in      *inbound
	inBase  Head
	inRep   *replica           // the restored daemon of in, until it goes live
	batch   []Event            // replayed by the core's word, not by the daemon yet
	current Event              // the event being stepped
	todo    []migration.Input  // what effects have led to
	clocks  clocks             // of the attempt, as the source
	active  uint64             // data plane progress when the attempt's timer was armed
	cleanup sync.WaitGroup     // data planes that are ending
	fx      []migration.Effect // reused
}

// clocks are the instants of a source's blackout.
type clocks struct{ freeze, frozen, shipped, acked, retired time.Time }

// gate is what a writer at this node finds. It is replaced whenever the
// daemon's situation changes; changed is closed then.
type gate struct {
	w       *writer // serves; it parks writes by itself while frozen
	park    bool    // a move to here is under way: wait
	err     error   // otherwise: why not
	changed chan struct{}
}

func newSteward(h *Host, origin proto0500.Origin, rec migration.Record, desc drive.Descriptor) *steward {
	s := &steward{
		h: h, origin: origin, name: desc.Name, desc: desc,
		log:   h.log.With("daemon", desc.Name, "origin", fmt.Sprintf("%016x", uint64(origin))),
		inbox: make(chan func(), 256),
		p:     migration.New(migration.Config{Self: h.self, Origin: origin}, rec),
	}
	s.timers = drive.NewTimers(func(t migration.Timer, e frame.Epoch) {
		s.post(func() { s.fired(t, e) })
	})
	s.gate.Store(&gate{park: true, changed: make(chan struct{})})
	s.now.Store(&situation{Status: Status{Name: desc.Name, Kind: desc.Kind, Origin: origin}})
	s.state.Store(&proto0500.Report{DaemonOrigin: origin, BootID: h.boot, Last: true})
	return s
}

// post puts f on the inbox; it is dropped when the host ends.
func (s *steward) post(f func()) {
	select {
	case s.inbox <- f:
	case <-s.h.ctx.Done():
	}
}

// call runs f on the steward and waits for it.
func (s *steward) call(ctx context.Context, f func()) error {
	done := make(chan struct{})
	select {
	case s.inbox <- func() { f(); close(done) }:
	case <-s.h.ctx.Done():
		return ErrClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case <-done:
		return nil
	case <-s.h.ctx.Done():
		return ErrClosed
	}
}

// run boots the daemon from its record and serves the inbox until the host ends.
func (s *steward) run(booted func()) {
	s.boot()
	booted()
	for {
		select {
		case f := <-s.inbox:
			f()
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
		switch rep, err := s.openReplica(rec); {
		case err == nil:
			s.rep = rep
		case errors.Is(err, errNoReplica):
			s.log.Warn("the state is gone: this node was the authority, and the daemon was in memory only", "epoch", rec.Epoch)
		default:
			s.failed = err
			s.log.Error("daemon cannot be opened", "err", err)
		}
	}
	if rec.State == migration.RecordServing && s.rep != nil {
		s.serve()
	}
	s.sweep(rec)
	s.step(migration.Boot{})
}

func (s *steward) openReplica(rec migration.Record) (*replica, error) {
	kind, ok := s.h.kinds[s.desc.Kind]
	if !ok {
		return nil, fmt.Errorf("%w: %q", ErrUnknownKind, s.desc.Kind)
	}
	return openReplica(kind, s.stateDir(rec), s.env())
}

// stateDir is where the state lies whose authority began at rec.LiveEpoch: the
// record decides which of several is the daemon.
func (s *steward) stateDir(rec migration.Record) string { return s.epochDir(rec.LiveEpoch) }

func (s *steward) epochDir(e frame.Epoch) string {
	return filepath.Join(s.h.daemonDir(s.origin), fmt.Sprintf("e%d", e))
}

func (s *steward) env() Env {
	return Env{Origin: s.origin, Name: s.desc.Name, Log: s.log}
}

// sweep removes what attempts of earlier processes left behind.
func (s *steward) sweep(rec migration.Record) {
	entries, err := os.ReadDir(s.h.daemonDir(s.origin))
	if err != nil {
		return
	}
	keep := ""
	if rec.State == migration.RecordServing || rec.State == migration.RecordRetired {
		keep = filepath.Base(s.stateDir(rec))
	}
	for _, e := range entries {
		if e.IsDir() && e.Name() != keep {
			if err := os.RemoveAll(filepath.Join(s.h.daemonDir(s.origin), e.Name())); err != nil {
				s.log.Warn("left over state cannot be removed", "dir", e.Name(), "err", err)
			}
		}
	}
}

// serve starts the writer on the replica.
func (s *steward) serve() {
	if s.w != nil {
		return
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	s.wStop = cancel
	s.w = newWriter(s.rep, int(s.h.cfg.Limits.EventPayloadBytesMax), s.h.cfg.Now, func(err error) {
		go s.post(func() { s.writerFailed(err) })
	})
	if log, ok := s.rep.log.(*boltLog); ok {
		s.w.checkpointer = newCheckpointer(s.rep, log, s.h.cfg.LogBytes, s.log)
	}
	go s.w.run(ctx)
}

// stopWriter ends the writer and waits for it. Parked writes look again.
func (s *steward) stopWriter(cause error) {
	if s.w == nil {
		return
	}
	s.wStop(cause)
	<-s.w.done
	s.w.checkpointer.wait()
	s.w = nil
}

func (s *steward) writerFailed(err error) {
	s.log.Error("daemon failed and serves no more", "err", err)
	s.failed = errors.Join(ErrStopped, err)
	s.stopWriter(err)
	if e := s.p.Epoch(); s.out != nil {
		s.step(migration.Failed{Epoch: e, Reason: stateFailed(err)})
		return
	}
	s.publish()
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
	return refused
}

func (s *steward) drain(in migration.Input) (refused error) {
	s.todo = append(s.todo, in)
	for first := true; len(s.todo) > 0; first = false {
		next := s.todo[0]
		s.todo = s.todo[1:]
		fx, err := s.p.Step(s.copyOf(), next, s.fx[:0])
		if err != nil {
			s.log.Debug("refused", "input", fmt.Sprintf("%T", next), "err", err)
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
	if err := s.p.Check(); err != nil {
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
	s.log.Error("durable write failed; going on from the record", "err", cause)
	s.todo, s.batch = nil, nil
	s.endOut(cause)
	rec, err := s.h.records.Record(s.origin)
	if err != nil {
		s.failed = errors.Join(ErrStopped, err)
		s.stopWriter(err)
		s.endIn(cause, true)
		s.log.Error("the journal cannot be read: this daemon stops until the node is restarted", "err", err)
		return
	}
	if rec.State == migration.RecordServing && s.in != nil && rec.LiveEpoch == s.in.epoch {
		s.adopt() // the write did land: live
	}
	s.endIn(cause, true)
	s.p = migration.New(migration.Config{Self: s.h.self, Origin: s.origin}, rec)
	switch {
	case rec.State != migration.RecordServing:
		s.stopWriter(cause)
	case s.rep != nil:
		s.serve()
		s.w.thaw()
	}
	s.todo = append(s.todo, migration.Boot{})
}

// publish shows the daemon's situation to writers and to Status.
func (s *steward) publish() {
	g := gate{}
	rec := s.p.Record()
	switch {
	case s.w != nil:
		g.w = s.w
	case s.failed != nil:
		g.err = s.failed
	case rec.State == migration.RecordRetired || rec.State == migration.RecordMoved && s.in == nil:
		g.err = &MovedError{Name: s.desc.Name, Target: rec.Peer, Epoch: rec.Epoch}
	case s.in != nil:
		g.park = true
	case rec.State == migration.RecordServing:
		g.err = ErrNoState
	default:
		g.err = ErrNotServing
	}
	if old := s.gate.Load(); old.w != g.w || old.park != g.park || !sameError(old.err, g.err) {
		g.changed = make(chan struct{})
		s.gate.Store(&g)
		close(old.changed)
	}
	s.attempt.Store(s.in)
	s.now.Store(s.situation())
	report := s.report()
	s.state.Store(&report)
}

func sameError(a, b error) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Error() == b.Error()
}

// report is what this node says of the daemon when it is asked.
func (s *steward) report() proto0500.Report {
	r := s.p.Report(s.copyOf(), s.h.boot)
	if s.in != nil && s.inRep != nil {
		head := s.inRep.head.Load()
		r.Seq, r.Head, r.HeadHash = head.Seq, head.Link, head.Hash
	}
	r.EntityID, r.Schema = s.desc.Entity(), s.desc.Schema
	r.Name, r.DaemonKind = proto0500.Text(s.desc.Name), proto0500.Text(s.desc.Kind)
	if sizer, ok := s.sizer(); ok {
		r.StateBytes = uint64(sizer.StateBytes())
	}
	r.Last = true
	return r
}

func (s *steward) sizer() (Sizer, bool) {
	if s.rep == nil {
		return nil, false
	}
	sizer, ok := s.rep.d.(Sizer)
	return sizer, ok
}

func (s *steward) send(to proto0500.NodeID, epoch frame.Epoch, m proto0500.Message) {
	s.h.sender.Send(s.h.ctx, to, epoch, m)
}

// fail says that the attempt e cannot go on here; from any goroutine.
func (s *steward) fail(e frame.Epoch, err error) {
	s.post(func() {
		if (s.out == nil || s.out.epoch != e) && (s.in == nil || s.in.epoch != e) {
			return
		}
		s.log.Warn("attempt failed", "epoch", e, "err", err)
		s.step(migration.Failed{Epoch: e, Reason: stateFailed(err)})
	})
}

// stateFailed is err as a reason on the wire.
func stateFailed(err error) proto0500.Reason {
	text := err.Error()
	const textMax = 1000
	if len(text) > textMax {
		text = text[:textMax]
	}
	return proto0500.NewReason(proto0500.CodeStateFailed, validUTF8(text))
}

// fired steps a timer, unless the data plane has moved on since it was armed:
// an attempt times out since its last progress, however long it takes.
func (s *steward) fired(t migration.Timer, e frame.Epoch) {
	if t == migration.TimerAttempt {
		if now := s.progress(); now != s.active {
			s.active = now
			s.timers.Arm(t, e, s.h.cfg.AttemptTimeout)
			return
		}
	}
	s.step(migration.Fired{Timer: t, Epoch: e})
}

// progress is a number that changes while bytes or events move.
func (s *steward) progress() uint64 {
	switch {
	case s.out != nil:
		return s.out.stats.counters[proto0500.CounterBytesWire].Load()
	case s.in != nil:
		return s.in.stats.counters[proto0500.CounterBytesWire].Load() +
			s.in.stats.counters[proto0500.CounterEventsReplayed].Load()
	}
	return 0
}

// endOut ends the source's data plane in the background: the snapshot it holds
// is closed when its readers are done.
func (s *steward) endOut(cause error) {
	out := s.out
	if out == nil {
		return
	}
	s.out, s.lastOut = nil, out
	out.cancel(cause)
	<-out.done
	if mem, ok := out.log.(*memLog); ok {
		mem.release()
	}
	if s.w != nil {
		s.w.hold(false)
	}
}

// endIn ends the target's data plane; drop also removes what it has gathered.
func (s *steward) endIn(cause error, drop bool) {
	in, rep := s.in, s.inRep
	if in == nil {
		return
	}
	s.in, s.inRep, s.batch = nil, nil, nil
	in.mu.Lock()
	in.cancel(cause)
	in.mu.Unlock()
	s.cleanup.Go(func() {
		in.end(cause)
		if !drop {
			return
		}
		if rep != nil {
			if err := rep.close(); err != nil {
				s.log.Warn("dropped daemon closed with an error", "err", err)
			}
		}
		if err := os.RemoveAll(in.dir); err != nil {
			s.log.Warn("dropped attempt cannot be removed", "dir", in.dir, "err", err)
		}
	})
}

// adopt makes the restored daemon this node's own.
func (s *steward) adopt() {
	s.rep, s.inRep, s.failed = s.inRep, nil, nil
	s.serve()
}

func (s *steward) shutdown() {
	s.timers.Stop()
	s.endOut(ErrClosed)
	s.stopWriter(ErrClosed)
	s.endIn(ErrClosed, true)
	s.cleanup.Wait()
	if s.rep != nil {
		if err := s.rep.close(); err != nil {
			s.log.Warn("daemon closed with an error", "err", err)
		}
	}
	s.failed = ErrClosed
	s.publish()
}

// replay takes one frame of the event stream, and returns when the daemon has
// applied it: the frame's bytes are borrowed.
func (s *steward) replay(in *inbound, m proto0500.Message) error {
	res := make(chan error, 1)
	s.post(func() { res <- s.replayFrame(in, m) })
	select {
	case err := <-res:
		return err
	case <-s.h.ctx.Done():
		return ErrClosed
	}
}

func (s *steward) replayFrame(in *inbound, m proto0500.Message) error {
	if s.in != in {
		return errDropped
	}
	events, ok := m.(proto0500.BufferedEvents)
	if !ok {
		return s.step(migration.Frame{From: in.source, Epoch: in.epoch, Message: m})
	}
	defer s.publish()
	for ev := range events.Events.All() {
		s.current = Event{
			Seq: ev.Link.Sequence, Link: ev.Link, Hash: ev.Link.Hash(ev.Payload),
			Payload: ev.Payload, ReceivedAt: ev.ReceivedAt,
		}
		if err := s.drain(migration.Event{From: in.source, Epoch: in.epoch, Link: ev.Link, Hash: s.current.Hash}); err != nil {
			return err
		}
		if s.in != in {
			return errDropped
		}
	}
	if err := s.replayBatch(); err != nil {
		s.log.Warn("replay failed", "err", err)
		s.drain(migration.Failed{Epoch: in.epoch, Reason: stateFailed(err)})
		return err
	}
	return nil
}

// replayBatch applies the events that the core has let through.
func (s *steward) replayBatch() error {
	if len(s.batch) == 0 {
		return nil
	}
	err := s.inRep.extend(s.batch)
	s.in.stats.add(proto0500.CounterEventsReplayed, uint64(len(s.batch)))
	clear(s.batch)
	s.batch = s.batch[:0]
	return err
}

// snapshotComplete: every byte of the state is here and on disk.
func (s *steward) snapshotComplete(e frame.Epoch, base Head) {
	s.post(func() {
		if s.in == nil || s.in.epoch != e {
			return
		}
		s.inBase = base
		s.step(migration.SnapshotComplete{Epoch: e, Seq: base.Seq, Hash: base.Hash})
	})
}

// restoredReplica: the daemon is open on that state.
func (s *steward) restoredReplica(e frame.Epoch, rep *replica) {
	s.post(func() {
		if s.in == nil || s.in.epoch != e {
			s.cleanup.Go(func() { _ = rep.close() })
			return
		}
		s.inRep = rep
		head := rep.head.Load()
		s.step(migration.Restored{Epoch: e, Seq: head.Seq, Head: head.Link, Hash: head.Hash})
		if s.in != nil {
			close(s.in.restored)
		}
	})
}

// transfer takes the source's announcement.
func (s *steward) transfer(from proto0500.NodeID, sess *transport.Session, e frame.Epoch, t proto0500.Transfer) {
	if s.in == nil || s.in.epoch != e {
		s.send(from, e, s.report())
		return
	}
	if s.in.source != from {
		s.send(from, e, proto0500.Rejected{DaemonOrigin: s.origin, Refused: t.Kind(), Reason: proto0500.RejectWrongPeer})
		return
	}
	status, err := s.in.announce(t)
	if err != nil {
		s.log.Warn("transfer refused", "epoch", e, "err", err)
		s.step(migration.Failed{Epoch: e, Reason: stateFailed(err)})
		return
	}
	if !t.Final {
		if err := send(sess, e, status); err != nil {
			s.log.Debug("transfer status not sent", "err", err)
		}
	}
}
