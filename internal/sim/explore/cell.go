package explore

import (
	"fmt"

	"ferry/frame"
	"ferry/internal/weaken"
	"ferry/migration"
	"ferry/proto0500"
)

const origin proto0500.Origin = 0xd43

// firstOrchestrator is the first id that is no node's.
const firstOrchestrator proto0500.NodeID = 8

// cell is one node: its participant, its journal, and its host. It is compared with ==.
type cell struct {
	id  proto0500.NodeID
	p   migration.Participant
	rec migration.Record // in the journal

	has, kept bool // a copy of its own; kept: it survives a crash
	head      migration.Position
	open      bool
	copying   bool
	seal      bool // frozen, and sealed: no writes

	// As target.
	in     frame.Epoch // 0: no attempt
	begun  bool        // the snapshot is here
	tried  migration.Position
	saved  bool // tried survives a crash
	rogue  bool // a canary's
	timers [5]bool
}

// input is what can happen to a cell, beside a frame.
type input uint32

const (
	inCrash input = 1 << 20
	inWrite input = 2 << 20
	inTimer input = 3 << 20 // + timer
	inFrame input = 4 << 20 // + frame
	inNever input = 5 << 20 // + frame: a Prepare to which the node says never
	inStart input = 6 << 20 // of an orchestrator
	inStop  input = 7 << 20 // cancel
)

const inputKind input = 15 << 20

// outcome is what an input makes of a cell.
type outcome struct {
	cell     uint32
	out      []uint16 // frames
	accepted migration.Position
	wrote    bool
	died     bool
	named    [2]uint64 // an epoch that the source has named, and its target: I5
	// What a crash makes of it right after each durable write, and a failed one: before, and after the write.
	crashes []branch
	fails   []branch
	broken  string // what its own checks say
}

type branch struct {
	cell uint32
	out  []uint16
	died bool
}

// stepper computes one step of one cell.
type stepper struct {
	s    *space
	c    cell
	out  []uint16
	res  *outcome
	todo []migration.Input
	main bool // not itself in a branch
	note *[]string
}

func (c *cell) copyOf() migration.Copy {
	if !c.has {
		return migration.Copy{}
	}
	return migration.Copy{OK: true, Seq: c.head.Seq, Head: c.head.Head, Hash: c.head.Hash}
}

func (s *space) participant(id proto0500.NodeID, rec migration.Record) migration.Participant {
	p := migration.New(migration.Config{Self: id, Origin: origin}, rec)
	p.Weaken(s.b.Weak)
	return p
}

// stepCell is the step of the cell from by the input in, once computed and then remembered.
func (s *space) stepCell(from uint32, in input) *outcome {
	key := uint64(from)<<32 | uint64(in)
	if res, ok := s.cellSteps[key]; ok {
		return res
	}
	res := s.compute(s.cells[from], in, nil)
	s.cellSteps[key] = res
	return res
}

func (s *space) compute(c cell, in input, note *[]string) *outcome {
	st := &stepper{s: s, c: c, res: &outcome{}, main: true, note: note}
	switch in & inputKind {
	case inCrash:
		st.crash()
	case inWrite:
		st.write()
	case inTimer:
		t := migration.Timer(in &^ inputKind)
		st.c.timers[t] = false
		st.step(migration.Fired{Timer: t, Epoch: st.c.p.Epoch()})
	case inFrame, inNever:
		st.frame(s.frames[in&^inputKind], in&inputKind == inNever)
	}
	if !s.b.Weak.Any() {
		if err := st.c.p.Check(); err != nil {
			st.res.broken = err.Error()
		}
	}
	st.res.cell, st.res.out = s.cell(st.c), st.out
	return st.res
}

func (st *stepper) say(format string, args ...any) {
	if st.note != nil {
		*st.note = append(*st.note, fmt.Sprintf(format, args...))
	}
}

// crash is the end of the process and its restart.
func (st *stepper) crash() {
	c := &st.c
	rec := c.rec
	lived := c.in != 0 && rec.State == migration.RecordServing && rec.LiveEpoch == c.in // before Activate
	if st.s.b.Memory {
		st.res.died = rec.State == migration.RecordServing && (c.has || lived)
		c.has = false
	} else {
		if lived {
			c.has, c.head, c.kept = c.saved, c.tried, true
		}
		c.has = c.has && c.kept
	}
	if rec.State == migration.RecordNone || rec.State == migration.RecordMoved {
		c.has = false
	}
	if !c.has {
		c.head, c.kept = migration.Position{}, false
	}
	c.open, c.copying, c.seal, c.in, c.begun, c.saved, c.rogue = false, false, false, 0, false, false, false
	c.tried, c.timers = migration.Position{}, [5]bool{}
	c.p = st.s.participant(c.id, rec)
	st.todo = nil
	st.step(migration.Boot{})
	if st.s.b.Weak.Has(weaken.NoGateAtBoot) && c.has {
		c.open = true
	}
}

func next(at migration.Position, id proto0500.NodeID) (migration.Position, []byte) {
	link, err := at.Head.Next(at.Hash, 0)
	if err != nil {
		panic(err)
	}
	payload := []byte{byte(id), byte(link.Sequence)}
	return migration.Position{Seq: link.Sequence, Head: link, Hash: link.Hash(payload)}, payload
}

func (st *stepper) write() {
	c := &st.c
	at := &c.head
	if c.rogue {
		at = &c.tried
	}
	pos, payload := next(*at, c.id)
	*at = pos
	st.res.accepted, st.res.wrote = pos, true
	if c.copying {
		st.send(c.p.Peer(), c.p.Epoch(), proto0500.BufferedEvents{
			DaemonOrigin: origin, Events: proto0500.EventsOf(proto0500.Event{Link: pos.Head, Payload: payload}),
		})
	}
}

// accepts tells whether an event may come to be here.
func (c *cell) accepts() bool { return c.open && c.has && !c.seal || c.rogue }

func (st *stepper) send(to proto0500.NodeID, e frame.Epoch, m proto0500.Message) {
	if m.Kind() == proto0500.KindRejected && to < firstOrchestrator {
		return
	}
	st.out = append(st.out, st.s.frame(fly{from: st.c.id, to: to, epoch: e, msg: m}))
}

// frame gives a frame to the participant, and what it lets through to the host.
func (st *stepper) frame(f fly, never bool) {
	c := &st.c
	switch m := f.msg.(type) {
	case proto0500.BufferedEvents:
		if m.Events.Len() > 0 {
			for ev := range m.Events.All() {
				st.event(f, ev)
			}
			return
		}
	case proto0500.Transfer:
		at := st.s.positions[m.HeadHash]
		if !c.begun && c.in != 0 && c.in == f.epoch {
			if st.step(migration.Frame{From: f.from, Epoch: f.epoch, Message: m}) == nil {
				c.begun, c.tried = true, at
				st.step(migration.SnapshotComplete{Epoch: f.epoch, Seq: at.Seq, Hash: at.Hash})
			}
		}
		return
	}
	in := migration.Frame{From: f.from, Orchestrator: f.from >= firstOrchestrator, Epoch: f.epoch, Message: f.msg}
	if never {
		r := proto0500.NewReason(proto0500.CodeFactoryNotFound, "")
		in.Verdict = &r
	}
	st.step(in)
}

func (st *stepper) event(f fly, ev proto0500.Event) {
	st.step(migration.Event{From: f.from, Epoch: f.epoch, Link: ev.Link, Hash: ev.Hash()})
	_ = ev
}

func (st *stepper) step(in migration.Input) (refused error) {
	st.todo = append(st.todo, in)
	for first := true; len(st.todo) > 0; first = false {
		now := st.todo[0]
		st.todo = st.todo[1:]
		fx, err := st.c.p.Step(st.c.copyOf(), now, nil)
		if first {
			refused = err
		}
		if err != nil {
			st.say("  refused: %v", err)
		}
		for _, e := range fx {
			if !st.effect(e, now) {
				break
			}
		}
	}
	return refused
}

func (st *stepper) effect(e migration.Effect, in migration.Input) bool {
	c := &st.c
	switch e := e.(type) {
	case migration.Persist:
		if st.main {
			st.branch(&st.res.fails, c.rec, true)
			st.branch(&st.res.fails, e.Record, true)
		}
		if !st.s.notDurable(c, e.Record) {
			c.rec = e.Record
		}
		st.say("  persists %v@%d live=%d", e.Record.State, e.Record.Epoch, e.Record.LiveEpoch)
		if st.main {
			st.branch(&st.res.crashes, c.rec, false)
		}
	case migration.Flush:
		if st.s.b.Weak.Has(weaken.StateNotFlushed) {
			break
		}
		if c.in != 0 {
			c.saved = true
		} else {
			c.kept = true
		}
	case migration.Send:
		st.send(e.To, e.Epoch, e.Message)
	case migration.Answer:
		r := c.p.Report(c.copyOf(), 0)
		st.names()
		st.send(e.To, e.Epoch, r)
	case migration.SendPrepared:
		st.send(e.To, e.Epoch, proto0500.Prepared{DaemonOrigin: origin})
	case migration.StartCopy:
		c.copying = true
		st.names()
		st.s.positions[c.head.Hash] = c.head
		st.send(e.Target, e.Epoch, proto0500.Transfer{DaemonOrigin: origin, SeqThrough: c.head.Seq, HeadHash: c.head.Hash, Final: true})
	case migration.StopCopy:
		c.copying = false
	case migration.Freeze:
		late := st.s.b.Weak.Has(weaken.FreezeTooLate)
		c.seal = !late
		st.todo = append(st.todo, migration.Frozen{Epoch: e.Epoch, Round: e.Round, Seq: c.head.Seq, Head: c.head.Head, Hash: c.head.Hash})
	case migration.Thaw:
		c.seal = false
	case migration.ShipSeal:
		st.send(e.To, e.Epoch, e.Seal)
	case migration.Retire:
		c.open = false
	case migration.Serve:
		c.open, c.seal = c.has, false
	case migration.DropState:
		c.open, c.has, c.kept, c.head, c.seal = false, false, false, migration.Position{}, false
		if st.s.b.Weak.Has(weaken.RecordForgotten) {
			c.rec = migration.Record{}
			c.p = st.s.participant(c.id, c.rec)
			c.timers = [5]bool{}
			return false
		}
	case migration.Prepare:
		c.in, c.begun, c.saved, c.tried, c.rogue = e.Epoch, false, false, migration.Position{}, false
	case migration.Restore:
		st.todo = append(st.todo, migration.Restored{Epoch: e.Epoch, Seq: c.tried.Seq, Head: c.tried.Head, Hash: c.tried.Hash})
	case migration.Apply:
		ev := in.(migration.Event)
		c.tried = migration.Position{Seq: ev.Link.Sequence, Head: ev.Link, Hash: ev.Hash}
		c.saved = false
	case migration.DropAttempt:
		c.in, c.begun, c.saved, c.tried, c.rogue = 0, false, false, migration.Position{}, false
	case migration.Activate:
		c.has, c.head, c.kept, c.open, c.seal = true, c.tried, c.saved, true, false
		c.in, c.begun, c.saved, c.tried, c.rogue = 0, false, false, migration.Position{}, false
	case migration.Arm:
		c.timers[e.Timer] = true
	case migration.Disarm:
		c.timers[e.Timer] = false
	}
	if st.s.b.Weak.Has(weaken.HintIsAuthority) {
		c.rogue = c.p.State() == proto0500.StateSealed
	}
	return true
}

// names: a source has told somebody its epoch.
func (st *stepper) names() {
	switch st.c.p.State() {
	case proto0500.StateBegun, proto0500.StateCopying, proto0500.StateFrozen:
		st.res.named = [2]uint64{uint64(st.c.p.Epoch()), uint64(st.c.p.Peer())}
	}
}

// branch is what becomes of the cell when it crashes here, with rec in its journal. A failed write is no crash of the
// process: the host keeps its copy, and the participant begins anew.
func (st *stepper) branch(to *[]branch, rec migration.Record, failed bool) {
	other := &stepper{s: st.s, c: st.c, res: &outcome{}, out: append([]uint16(nil), st.out...)}
	other.c.rec = rec
	if failed {
		c := &other.c
		if c.in != 0 && rec.State == migration.RecordServing && rec.LiveEpoch == c.in {
			c.has, c.head, c.kept, c.open = true, c.tried, c.saved, true
		}
		c.copying, c.seal, c.in, c.begun, c.saved, c.rogue = false, false, 0, false, false, false
		c.tried, c.timers = migration.Position{}, [5]bool{}
		if rec.State != migration.RecordServing {
			c.open = false
		}
		c.p = st.s.participant(c.id, rec)
		other.step(migration.Boot{})
	} else {
		other.crash()
	}
	*to = append(*to, branch{cell: st.s.cell(other.c), out: other.out, died: other.res.died})
}

func (s *space) notDurable(c *cell, rec migration.Record) bool {
	weak := s.b.Weak
	switch {
	case !weak.Any():
	case rec.State == migration.RecordServing && rec.LiveEpoch == rec.Epoch:
		return weak.Has(weaken.LiveNotDurable)
	case rec.State == migration.RecordServing && c.p.State() == proto0500.StateBegun:
		return weak.Has(weaken.SourceEpochNotDurable)
	case rec.State == migration.RecordNone:
		return weak.Has(weaken.TargetEpochNotDurable)
	case rec.State == migration.RecordRetired && c.p.State() == proto0500.StateRetired:
		return weak.Has(weaken.RetiredNotDurable)
	}
	return false
}
