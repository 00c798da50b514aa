package sim

import (
	"errors"
	"fmt"

	"ferry/frame"
	"ferry/internal/weaken"
	"ferry/journal"
	"ferry/migration"
	"ferry/proto0500"
	"ferry/snapshot"
)

// host is one daemon at one node.
type host struct {
	w *world
	n *node
	d *dom
	p migration.Participant

	rep    *replica // the node's own copy, nil: none
	open   bool     // the daemon is started and may accept
	frozen bool     // a freeze is asked for, or done
	done   bool     // … done: nothing is accepted any more
	rogue  bool     // accepts as target, which only a canary does
	queue  []*write // not yet in the chain
	parked []*write
	commit bool // a commit is under way

	out *outbound
	in  *inbound
	run uint64 // attempts as source

	timers  [5]armed
	todo    []migration.Input
	busy    bool
	current Event // what Apply takes
	fx      []migration.Effect
	forget  bool
}

type armed struct {
	gen   uint32
	on    bool
	epoch frame.Epoch
}

// place is the role and state in which the host is.
func (h *host) place() place {
	switch s := h.p.State(); s {
	case proto0500.StateServing:
		if e := h.p.Record(); e.Epoch > 0 && e.LiveEpoch == e.Epoch {
			return placeLive
		}
		return placeServing
	case proto0500.StateBegun, proto0500.StateCopying, proto0500.StateFrozen:
		return place(1 + s - proto0500.StateBegun)
	case proto0500.StateRetired:
		return 4
	case proto0500.StateMoved:
		return 5
	case proto0500.StatePrepared, proto0500.StateRestored, proto0500.StateSealed:
		return place(7 + s - proto0500.StatePrepared)
	}
	return placeNone
}

// lose is the crash of the process: what is on disk is read again, but nothing is started.
func (h *host) lose() {
	rec := h.read()
	for _, wr := range append(h.queue, h.parked...) {
		_ = wr // their clients hear nothing
	}
	tried := h.in
	if h.d.durable {
		switch {
		case tried != nil && tried.rep != nil && rec.State == migration.RecordServing && rec.LiveEpoch == tried.epoch:
			h.rep = tried.rep.crashed() // live is on disk, and the state was flushed before
		case h.rep != nil && rec.State != migration.RecordNone && rec.State != migration.RecordMoved:
			h.rep = h.rep.crashed()
		case h.rep != nil && h.rep.epoch != uint64(rec.LiveEpoch):
			h.rep = nil
		}
	} else {
		held := h.rep != nil || tried != nil && tried.rep != nil
		if h.rep != nil && rec.State == migration.RecordServing {
			h.d.died = true
		}
		if tried != nil && rec.State == migration.RecordServing && rec.LiveEpoch == tried.epoch {
			h.d.died = true
		}
		if held {
			h.d.crashes++
		}
		h.rep = nil
	}
	h.reset()
	h.p = h.participant(rec)
	if rec.State == migration.RecordNone || rec.State == migration.RecordMoved {
		h.rep = nil
	}
}

// reset forgets what is in memory only.
func (h *host) reset() {
	h.open, h.frozen, h.done, h.commit, h.rogue, h.forget = false, false, false, false, false, false
	h.out, h.in = nil, nil
	h.queue, h.parked = nil, nil
	h.todo, h.busy = h.todo[:0], false
	for i := range h.timers {
		h.timers[i].on = false
		h.timers[i].gen++
	}
}

func (h *host) participant(rec migration.Record) migration.Participant {
	p := migration.New(migration.Config{Self: h.n.id, Origin: h.d.origin}, rec)
	p.Weaken(h.w.cfg.Weak)
	return p
}

// boot starts the process's part of this daemon: the record decides what it is.
func (h *host) boot() {
	rec := h.read()
	h.p = h.participant(rec)
	if rec.State == migration.RecordServing && h.rep == nil {
		h.recreate(rec)
		return
	}
	h.step(migration.Boot{})
	if h.w.cfg.Weak.Has(weaken.NoGateAtBoot) && h.rep != nil && h.n.up {
		h.open = true
		h.w.check(h.d)
	}
}

// recreate is what an operator does, some time after an in-memory daemon died with its node.
func (h *host) recreate(rec migration.Record) {
	h.step(migration.Boot{})
	boot := h.n.boot
	h.w.after(h.w.soon(20_000), func() {
		if !h.n.up || h.n.boot != boot || h.rep != nil || h.p.Record() != rec {
			return
		}
		again, err := migration.Recreated(rec)
		if err != nil {
			h.w.fail("record", "%v", err)
		}
		h.put(again)
		if h.rep, err = newReplica(h.w, h.d, uint64(again.LiveEpoch)); err != nil {
			h.w.fail("daemon", "Open: %v", err)
		}
		h.d.begin(h.w)
		h.reset()
		h.p = h.participant(again)
		h.step(migration.Boot{})
	})
}

func (h *host) copyOf() migration.Copy {
	if h.rep == nil {
		return migration.Copy{}
	}
	at := &h.rep.head
	return migration.Copy{OK: true, Seq: at.Seq, Head: at.Head, Hash: at.Hash}
}

// step tells the participant something and carries out what it wants, until nothing follows. The error is the refusal
// of in itself.
func (h *host) step(in migration.Input) (refused error) {
	h.todo = append(h.todo, in)
	if h.busy {
		return nil
	}
	h.busy = true
	boot := h.n.boot
	for first := true; len(h.todo) > 0; first = false {
		next := h.todo[0]
		h.todo = h.todo[:copy(h.todo, h.todo[1:])]
		before, was := h.place(), h.p
		fx, err := h.p.Step(h.copyOf(), next, h.fx[:0])
		if first {
			refused = err
		}
		if h.w.cfg.Trace {
			h.traceStep(next, err, fx)
		}
		if h.w.model != nil {
			h.w.model.step(h, &was, &h.p)
		}
		for _, e := range fx {
			if h.w.toCrash--; h.w.toCrash <= 0 && !h.w.calm {
				h.w.toCrash = h.w.crashAfter()
				h.w.hit(CrashMidway, h, h.place())
				h.n.crash(0)
			}
			if h.n.boot != boot {
				return refused // it has crashed
			}
			if !h.effect(e, before) {
				if h.n.boot != boot {
					return refused
				}
				h.reboot()
				break
			}
			if h.n.boot != boot {
				return refused
			}
		}
		clear(fx)
		h.fx = fx[:0]
		if h.forget {
			h.forget = false
			h.p = h.participant(migration.Record{})
		}
		h.w.check(h.d)
	}
	h.busy = false
	return refused
}

func (h *host) traceStep(in migration.Input, err error, fx []migration.Effect) {
	switch in := in.(type) {
	case migration.Frame, migration.Event:
	default:
		h.w.printf("  %d d%d %T %+v", h.n.id, h.d.i, in, in)
	}
	if err != nil {
		h.w.printf("  %d d%d %v", h.n.id, h.d.i, err)
	}
	for _, e := range fx {
		switch e := e.(type) {
		case migration.Send, migration.Arm, migration.Disarm, migration.Apply:
		case migration.Persist:
			h.w.printf("    %d d%d persist %v@%d live=%d", h.n.id, h.d.i, e.Record.State, e.Record.Epoch, e.Record.LiveEpoch)
		default:
			h.w.printf("    %d d%d %T", h.n.id, h.d.i, e)
		}
	}
}

// reboot is what follows a durable effect that failed: the record, written again, says what this node is.
func (h *host) reboot() {
	rec := h.read()
	h.put(rec)
	if in := h.in; in != nil && in.rep != nil && rec.State == migration.RecordServing && rec.LiveEpoch == in.epoch {
		h.adopt()
	}
	if h.in != nil && h.in.rep != nil && !h.d.durable {
		h.d.crashes++ // it is one, of this daemon alone
	}
	h.in, h.out = nil, nil
	h.frozen, h.done = false, false
	if rec.State != migration.RecordServing {
		h.open = false
	}
	for i := range h.timers {
		h.timers[i].on = false
	}
	if h.w.cfg.Trace {
		h.w.printf("  %d d%d goes on from its record: %v@%d", h.n.id, h.d.i, rec.State, rec.Epoch)
	}
	h.p = h.participant(rec)
	h.todo = append(h.todo[:0], migration.Boot{})
}

// adopt makes the attempt's copy the node's own.
func (h *host) adopt() {
	h.rep = h.in.rep
	h.in = nil
}

// effect carries out one effect; false is a durable one that failed. before is where the step began.
func (h *host) effect(e migration.Effect, before place) bool {
	w := h.w
	switch e := e.(type) {
	case migration.Persist:
		return h.persist(e.Record, before)
	case migration.Flush:
		return h.flush(e, before)
	case migration.Send:
		h.send(e.To, e.Epoch, e.Message)
	case migration.Answer:
		h.send(e.To, e.Epoch, h.report())
	case migration.SendPrepared:
		h.send(e.To, e.Epoch, proto0500.Prepared{DaemonOrigin: h.d.origin, ChunkBytes: w.chunkBytes, Lanes: 4})
	case migration.Arm:
		h.arm(e.Timer, e.Epoch)
	case migration.Disarm:
		t := &h.timers[e.Timer]
		t.on = false
		t.gen++
	case migration.StartCopy:
		h.startCopy(e)
	case migration.StopCopy:
		h.out = nil
	case migration.Freeze:
		h.freeze(e)
	case migration.Thaw:
		h.frozen, h.done = false, false
		if h.out != nil {
			h.out.seal = nil
		}
		h.unpark()
	case migration.ShipSeal:
		if h.out != nil {
			seal := e.Seal
			h.out.seal = &seal
			h.out.pump()
		}
	case migration.Retire:
		h.open = false
		h.turnAway()
	case migration.Serve:
		h.frozen, h.done = false, false
		h.open = h.rep != nil
		h.unpark()
	case migration.DropState:
		if h.rep != nil {
			w.closeDaemon(h.rep.d)
		}
		h.open, h.rep = false, nil
		if w.cfg.Weak.Has(weaken.RecordForgotten) {
			h.put(migration.Record{})
			h.forget = true
		}
		h.turnAway()
	case migration.Prepare:
		h.in = &inbound{h: h, epoch: e.Epoch, source: e.Source}
	case migration.Restore:
		h.in.restore()
	case migration.Apply:
		if err := h.in.rep.extend(h.current); err != nil {
			w.fail("daemon", "%v", err)
		}
	case migration.DropAttempt:
		if h.in != nil && h.in.rep != nil {
			w.closeDaemon(h.in.rep.d)
		}
		h.in = nil
		h.turnAway()
	case migration.Activate:
		w.sameAsTwin(h.d, h.in.rep, "activated at node %d", h.n.id)
		h.adopt()
		h.open, h.frozen, h.done = true, false, false
		h.unpark()
	default:
		panic(fmt.Sprintf("sim: unknown effect %T", e))
	}
	return true
}

var errInjected = errors.New("injected")

func (h *host) persist(rec migration.Record, before place) bool {
	w, j, key := h.w, h.n.j, recordKeys[h.d.i]
	if h.notDurable(rec) {
		return true
	}
	b := recordBytes(rec)
	// Where a write seldom happens its faults are made to happen.
	seldom := rec.State == migration.RecordNone && before > placeNone && before < placeLive && !w.calm && w.rng.IntN(6) == 0
	first := seldom && w.rng.IntN(2) == 0
	switch {
	case w.chance(WriteFails) || first && !w.cfg.Off[WriteFails]:
		w.hit(WriteFails, h, before)
		fails := errInjected
		if w.rng.IntN(2) == 0 {
			fails = fmt.Errorf("%w, %w", errInjected, journal.ErrAfterWrite)
		}
		j.FailPut(func([]byte) error { return fails })
		err := j.Put(key, b)
		j.FailPut(nil)
		return err == nil
	case w.chance(CrashUnsync) || seldom && !w.cfg.Off[CrashUnsync]:
		w.hit(CrashUnsync, h, before)
		j.HoldSync()
		if err := j.Put(key, b); err != nil {
			panic(err)
		}
		h.n.crash(w.rng.IntN(2))
		return true
	}
	if err := j.Put(key, b); err != nil {
		panic(err)
	}
	if rec.State == migration.RecordServing && rec.LiveEpoch == rec.Epoch {
		h.d.word(rec.Epoch).liveSeq = h.d.last.Seq
	}
	if w.chance(CrashPersist) {
		w.hit(CrashPersist, h, h.place())
		h.n.crash(0)
	}
	return true
}

// notDurable is for the canaries whose rule the host keeps.
func (h *host) notDurable(rec migration.Record) bool {
	weak := h.w.cfg.Weak
	switch {
	case !weak.Any():
	case rec.State == migration.RecordServing && rec.LiveEpoch == rec.Epoch:
		return weak.Has(weaken.LiveNotDurable)
	case rec.State == migration.RecordServing && h.p.State() == proto0500.StateBegun:
		return weak.Has(weaken.SourceEpochNotDurable)
	case rec.State == migration.RecordNone:
		return weak.Has(weaken.TargetEpochNotDurable)
	case rec.State == migration.RecordRetired:
		return weak.Has(weaken.RetiredNotDurable)
	}
	return false
}

func (h *host) flush(e migration.Flush, before place) bool {
	if h.w.cfg.Weak.Has(weaken.StateNotFlushed) {
		return true
	}
	rep := h.rep
	if h.in != nil {
		rep = h.in.rep
	}
	if rep == nil || rep.head.Seq < e.Seq {
		h.w.fail("flush", "node %d is to flush through %d, which is not there", h.n.id, e.Seq)
	}
	if e.Digest != 0 && h.in != nil {
		digest, err := rep.digest()
		if err != nil || digest != 0 && digest != e.Digest {
			h.w.fail("daemon", "the target's state differs from the source's at event %d, though both applied the same events: "+
				"Apply is not deterministic, Snapshot is not consistent, or Restore forgets something (%v)", e.Seq, err)
		}
	}
	if h.w.chance(WriteFails) {
		h.w.hit(WriteFails, h, before)
		return false
	}
	rep.sync()
	return true
}

func (h *host) send(to proto0500.NodeID, e frame.Epoch, m proto0500.Message) {
	h.w.send(&flight{from: h.n.id, to: to, dom: h.d.i, epoch: e, msg: m})
}

func (h *host) report() proto0500.Report {
	r := h.p.Report(h.copyOf(), uint64(h.n.boot))
	r.EntityID, r.Last = h.d.entity, true
	h.w.named(h)
	return r
}

func (h *host) arm(t migration.Timer, e frame.Epoch) {
	a := &h.timers[t]
	a.gen++
	a.on, a.epoch = true, e
	d := int64(askEvery)
	switch t {
	case migration.TimerAttempt:
		d = attemptTimeout
	case migration.TimerBlackout:
		d = h.w.blackoutMax
	case migration.TimerRetain:
		d = retain
	}
	if h.w.chance(EarlyTimer) {
		h.w.hit(EarlyTimer, h, h.place())
		d = h.w.soon(100)
	}
	gen := a.gen
	h.w.after(d, func() {
		if a := &h.timers[t]; a.on && a.gen == gen && h.n.up {
			h.fire(t)
		}
	})
}

func (h *host) fire(t migration.Timer) {
	a := &h.timers[t]
	if t == migration.TimerAttempt && h.progressed() {
		h.arm(t, a.epoch)
		return
	}
	a.on = false
	h.step(migration.Fired{Timer: t, Epoch: a.epoch})
}

// progressed is the data plane's own progress since the timer was armed.
func (h *host) progressed() bool {
	switch {
	case h.out != nil && h.out.moved:
		h.out.moved = false
		return true
	case h.in != nil && h.in.moved:
		h.in.moved = false
		return true
	}
	return false
}

// freeze makes new writes wait; what is being written comes into the chain first.
func (h *host) freeze(e migration.Freeze) {
	w := h.w
	if h.rep == nil || h.out == nil {
		h.todo = append(h.todo, migration.Failed{Epoch: e.Epoch, Reason: failure("not serving")})
		return
	}
	late := w.cfg.Weak.Has(weaken.FreezeTooLate)
	h.frozen, h.done = !late, false
	at := h.rep.head
	boot, out := h.n.boot, h.out
	w.after(w.soon(200), func() {
		if h.n.boot != boot || h.out != out || !h.n.up || h.p.State() != proto0500.StateFrozen {
			return // thawed, or over
		}
		if !late {
			if !h.frozen {
				return
			}
			h.commitNow()
			at = h.rep.head
		}
		h.frozen, h.done = true, true
		digest, err := h.rep.digest()
		if err != nil {
			w.fail("daemon", "Digest: %v", err)
		}
		if late {
			digest = 0
		}
		h.step(migration.Frozen{Epoch: e.Epoch, Round: e.Round, Seq: at.Seq, Head: at.Head, Hash: at.Hash, Digest: digest})
	})
}

func failure(text string) proto0500.Reason {
	return proto0500.NewReason(proto0500.CodeStateFailed, text)
}

// take gives a control or event frame to the participant, and what it has let through to the data plane.
func (h *host) take(f *flight) {
	switch f.msg.(type) {
	case proto0500.Prepared, proto0500.RestoreComplete, proto0500.ReplayComplete, proto0500.CleanupComplete,
		proto0500.Progress, proto0500.Rejected:
		return
	}
	in := migration.Frame{From: f.from, Orchestrator: h.w.mayOrchestrate(f.from), Epoch: f.epoch, Message: f.msg}
	if _, ok := f.msg.(proto0500.Prepare); ok {
		in.Verdict = h.verdict()
	}
	boot := h.n.boot
	if h.step(in) != nil || h.n.boot != boot {
		return
	}
	switch m := f.msg.(type) {
	case proto0500.Transfer:
		h.takeTransfer(f, m)
	case proto0500.TransferStatus:
		if h.out != nil && h.out.epoch == f.epoch {
			h.out.status(m)
		}
	case proto0500.BufferedEvents:
		if m.Events.Len() > 0 {
			h.takeEvents(f, m)
		}
	}
}

// verdict is what the node thinks of taking the daemon.
func (h *host) verdict() *proto0500.Reason {
	if h.w.calm {
		return nil
	}
	switch h.w.rng.IntN(h.w.refusals) {
	case 0:
		r := proto0500.NewReason(proto0500.CodeNotReady, "")
		return &r
	case 1:
		r := proto0500.NewReason(proto0500.CodeFactoryNotFound, "")
		return &r
	}
	return nil
}

// takeChunk decodes a chunk, as a lane does.
func (h *host) takeChunk(f *flight) {
	fr, _, err := frame.Parse(f.chunk, &h.w.lim)
	if err != nil {
		panic(err)
	}
	var m proto0500.SnapshotReady
	if err := m.Decode(fr.Message(), &h.w.lim); err != nil {
		panic(err)
	}
	boot := h.n.boot
	if h.step(migration.Frame{From: f.from, Orchestrator: h.w.mayOrchestrate(f.from), Epoch: fr.Epoch(), Message: m}) != nil || h.n.boot != boot {
		return
	}
	if h.in == nil || h.in.placer == nil || h.in.epoch != fr.Epoch() {
		return
	}
	_, err = h.in.placer.Place(&m)
	h.in.moved = true
	if errors.Is(err, snapshot.ErrConflict) {
		h.step(migration.Failed{Epoch: h.in.epoch, Reason: failure(err.Error())})
		return
	}
	h.in.complete()
}
