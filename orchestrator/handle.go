package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"ferry/frame"
	"ferry/internal/drive"
	"ferry/migration"
	"ferry/proto0500"
)

// Move says what is to be moved where.
type Move struct {
	Daemon         proto0500.Origin
	Source, Target proto0500.NodeID
	// Timeout ends a phase that has made no progress for so long. 0: as
	// configured.
	Timeout time.Duration
	// RateLimit bounds how fast the snapshot travels, in bytes a second of its
	// frames; events and control are never held back. 0: no limit; otherwise at
	// least 65,536. See Handle.SetRate.
	RateLimit uint64
	// DryRun stops after prepare: it says whether the target would take the
	// daemon, and leaves everything as it was.
	DryRun bool
}

// Progress is how far a move is. Counters only grow; those of a side are zero
// until it has told any.
type Progress struct {
	Phase migration.Phase
	Epoch frame.Epoch
	// Source and Target hold what each side has counted; see proto0500.Counter.
	Source, Target Counters
	Notice         string // the last sentence for whoever watches
}

// Counters are one side's, by proto0500.Counter.
type Counters map[proto0500.Counter]uint64

// PhaseTime is when a phase began.
type PhaseTime struct {
	Phase migration.Phase
	At    time.Time
}

// Result is how a move ended.
type Result struct {
	migration.Result
	// Phases has each phase that was reached, in order.
	Phases []PhaseTime
	Ended  time.Time
	// Last is the move's last progress.
	Last Progress
}

// Handle is one move under way.
type Handle struct {
	o      *Orchestrator
	req    Move
	inbox  chan inbound
	done   chan struct{}
	timers *drive.Timers
	log    *slog.Logger
	phases []PhaseTime // owned by run, then the result's

	mu      sync.Mutex
	rate    *uint64     // the limit of the snapshot that was asked for; nil: none was
	copying frame.Epoch // at which the source was told to take the snapshot; 0: not yet
	now     Progress
	changed chan struct{}
	result  Result
	err     error
}

// inbound is what the machine is told: an input, or a timer that may have been
// armed anew while it waited here.
type inbound struct {
	in    migration.MoveInput
	due   *drive.Due
	bytes int64 // of the orchestrator's room for messages that wait; given back when it is taken
}

// Migrate begins a move, which then goes on without the caller. What this
// orchestrator has left open of an earlier move of the same daemon is settled
// first. ctx bounds nothing but the wait for that; use Cancel to end the move.
func (o *Orchestrator) Migrate(ctx context.Context, req Move) (*Handle, error) {
	if req.Source == req.Target {
		return nil, fmt.Errorf("orchestrator: daemon %016x is on the target already", uint64(req.Daemon))
	}
	if o.self == req.Source || o.self == req.Target {
		return nil, errors.New("orchestrator: the orchestrator must be a third node")
	}
	open, err := o.records.OpenMoves(req.Daemon)
	if err != nil {
		return nil, err
	}
	for _, rec := range open {
		h, err := o.begin(Move{Daemon: rec.Origin, Source: rec.Source, Target: rec.Target}, &rec)
		if err != nil {
			return nil, err
		}
		res, err := h.Wait(ctx)
		if err != nil {
			return nil, err
		}
		if res.Outcome == migration.OutcomeInDoubt {
			return h, nil
		}
		if res.Outcome != migration.OutcomeCommitted || rec.Source != req.Source {
			continue
		}
		if rec.Target == req.Target {
			return h, nil // just what is wanted
		}
		return nil, fmt.Errorf("orchestrator: an earlier move had taken daemon %016x to node %016x: it is not at its source any more", uint64(req.Daemon), uint64(rec.Target))
	}
	return o.begin(req, nil)
}

func (o *Orchestrator) begin(req Move, rec *migration.MoveRecord) (*Handle, error) {
	h := &Handle{
		o: o, req: req, inbox: make(chan inbound, inboxFrames),
		done: make(chan struct{}), changed: make(chan struct{}),
		log: o.log.With("daemon", fmt.Sprintf("%016x", uint64(req.Daemon))),
	}
	if req.RateLimit > 0 {
		h.rate = &req.RateLimit
	}
	h.timers = drive.NewTimers(func(d drive.Due) { h.put(inbound{due: &d}) })
	cfg := migration.MoveConfig{
		Self: o.self, Source: req.Source, Target: req.Target, Origin: req.Daemon,
		LagMax: o.cfg.LagMax, DryRun: req.DryRun,
	}
	m := migration.NewMove(cfg)
	if rec != nil {
		m = migration.ResumeMove(cfg, *rec)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.ctx.Err() != nil:
		return nil, ErrClosed
	case o.moves[req.Daemon] != nil:
		return nil, ErrBusy
	}
	o.moves[req.Daemon] = h
	o.work.Go(func() { h.run(m) })
	return h, nil
}

// Progress is how far the move is now, and a channel that is closed when it is
// further.
func (h *Handle) Progress() (Progress, <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.now
	p.Source, p.Target = maps.Clone(p.Source), maps.Clone(p.Target)
	return p, h.changed
}

// Cancel asks for the move to be undone. Until the source has retired it is:
// the source serves on. After that the move only goes forward, and says so in
// Progress.Notice.
func (h *Handle) Cancel() { h.post(migration.Cancel{}) }

// Done is closed when the move has ended.
func (h *Handle) Done() <-chan struct{} { return h.done }

// Wait waits for the move's end.
func (h *Handle) Wait(ctx context.Context) (Result, error) {
	select {
	case <-h.done:
		return h.result, h.err
	case <-ctx.Done():
		return Result{}, context.Cause(ctx)
	}
}

func (h *Handle) post(in migration.MoveInput) { h.put(inbound{in: in}) }

// put says whether the move will be told.
func (h *Handle) put(in inbound) bool {
	select {
	case h.inbox <- in:
		select {
		case <-h.done:
			h.empty() // the move may have done so before
		default:
		}
		return true
	case <-h.done:
	case <-h.o.ctx.Done():
	}
	return false
}

// run owns the machine until it is done or the orchestrator ends.
func (h *Handle) run(m migration.Move) {
	defer func() {
		h.timers.Stop()
		h.o.mu.Lock()
		delete(h.o.moves, h.req.Daemon)
		h.o.mu.Unlock()
		close(h.done)
		h.empty()
	}()
	var fx []migration.MoveEffect
	var in migration.MoveInput = migration.Start{}
	for {
		if back, ok := in.(migration.Reconnected); ok && back.Peer == h.req.Source {
			h.resendRate()
		}
		var err error
		if fx, err = m.Step(in, fx[:0]); err != nil {
			h.log.Debug("refused", "input", fmt.Sprintf("%T", in), "err", err)
		}
		if err := m.Check(); err != nil {
			panic("orchestrator: " + err.Error())
		}
		epoch := m.Record().Epoch
		for _, e := range fx {
			if ended := h.carryOut(e, epoch); ended {
				return
			}
		}
		clear(fx)
		if in = h.next(); in == nil {
			h.end(migration.Result{Outcome: migration.OutcomeInDoubt, Epoch: epoch, Text: "the orchestrator was stopped"}, ErrClosed)
			return
		}
	}
}

// empty gives back the room of what nobody takes any more.
func (h *Handle) empty() {
	for {
		select {
		case m := <-h.inbox:
			h.o.inbox.Release(m.bytes)
		default:
			return
		}
	}
}

// next waits for the next input, nil when the orchestrator ends.
func (h *Handle) next() migration.MoveInput {
	for {
		select {
		case m := <-h.inbox:
			h.o.inbox.Release(m.bytes)
			switch {
			case m.due == nil:
				return m.in
			case h.timers.Take(*m.due):
				return migration.Fired{Timer: m.due.Timer, Epoch: m.due.Epoch}
			}
		case <-h.o.ctx.Done():
			return nil
		}
	}
}

// carryOut does what the machine wants; ended when that was the last.
func (h *Handle) carryOut(e migration.MoveEffect, epoch frame.Epoch) (ended bool) {
	switch e := e.(type) {
	case migration.PersistMove:
		err := h.o.records.PutMove(e.Record)
		if err == nil {
			break
		}
		h.log.Error("journal", "epoch", epoch, "err", err)
		if e.Record.Outcome != migration.MoveOpen {
			break // source and target have ended it; a later start asks them again
		}
		// A move must not begin that could not be found again. The source has
		// begun, and nothing was copied: it ends at once by our wish, or later
		// by itself.
		reason := "the orchestrator's journal: " + err.Error()
		h.o.sender.Send(h.o.ctx, h.req.Source, epoch, proto0500.MigrationFailed{
			DaemonOrigin: h.req.Daemon, Reason: proto0500.NewReason(proto0500.CodeStateFailed, reason),
		})
		h.end(migration.Result{Outcome: migration.OutcomeRefused, Text: reason, Epoch: epoch}, err)
		return true
	case migration.Send:
		if _, ok := e.Message.(proto0500.TakeSnapshot); ok {
			h.sendRate(e.Epoch)
		}
		h.o.sender.Send(h.o.ctx, e.To, e.Epoch, e.Message)
	case migration.Arm:
		length := h.o.cfg.timer(e.Timer)
		if e.Timer == migration.TimerPhase && h.req.Timeout > 0 {
			length = h.req.Timeout
		}
		h.timers.Arm(e.Timer, e.Epoch, length)
	case migration.Disarm:
		h.timers.Disarm(e.Timer)
	case migration.Progress:
		h.phases = append(h.phases, PhaseTime{e.Phase, time.Now()})
		h.log.Info("move", "phase", e.Phase, "epoch", epoch)
		h.update(func(p *Progress) {
			if p.Epoch != epoch {
				p.Source, p.Target = nil, nil // begun anew
			}
			p.Phase, p.Epoch = e.Phase, epoch
		})
		h.rateIn(e.Phase, epoch)
	case migration.Notice:
		h.log.Info("move", "notice", e.Text)
		h.update(func(p *Progress) { p.Notice = e.Text })
	case migration.Done:
		h.end(e.Result, nil)
		return true
	}
	return false
}

func (h *Handle) end(res migration.Result, err error) {
	last, _ := h.Progress()
	h.result, h.err = Result{Result: res, Phases: h.phases, Ended: time.Now(), Last: last}, err
}

// count keeps what a side has counted.
func (h *Handle) count(from proto0500.NodeID, e frame.Epoch, m proto0500.Progress) {
	h.update(func(p *Progress) {
		side := &p.Source
		switch from {
		case h.req.Source:
		case h.req.Target:
			side = &p.Target
		default:
			return
		}
		if e != p.Epoch {
			return // of an attempt before
		}
		if *side == nil {
			*side = make(Counters)
		}
		for v := range m.Counters.All() {
			(*side)[v.Counter] = v.Value
		}
	})
}

func (h *Handle) update(f func(*Progress)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f(&h.now)
	close(h.changed)
	h.changed = make(chan struct{})
}
