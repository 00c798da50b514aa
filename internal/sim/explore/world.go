package explore

import (
	"encoding/binary"
	"fmt"
	"slices"

	"ferry/frame"
	"ferry/migration"
	"ferry/proto0500"
)

// fly is a frame.
type fly struct {
	from, to proto0500.NodeID
	epoch    frame.Epoch
	msg      proto0500.Message
}

const (
	nodesMax   = 3
	driversMax = 2
	epochsMax  = 8
)

// budgets are what is left of the bounds.
const (
	leftMoves    = 0
	leftWrites   = 1
	leftCrashes  = 2
	leftLosses   = 3
	leftDoubles  = 4
	leftTimeouts = 5
	leftCancels  = 6
	leftRefusals = 7
	leftFails    = 8
	leftAsks     = 9
	lefts        = 10
)

// state is a world: numbers of cells, drivers and frames.
type state struct {
	cells   [nodesMax]uint32
	drivers [driversMax]uint32
	ghost   uint32
	left    [lefts]uint8
	flights []uint16 // a set, ascending
}

// ghost is what no node knows: what was accepted, and what has been said.
type ghost struct {
	accepted migration.Position
	died     bool
	words    [epochsMax]word
}

type word struct {
	source, target    proto0500.NodeID
	yes, no, activate bool
}

// summary is what the invariants look at.
type summary struct {
	accepts, open, whole, sealed, target bool
	busy, stays                          bool
	head, tried                          uint64
	epoch                                frame.Epoch
	live                                 frame.Epoch
}

// space is everything that has been numbered.
type space struct {
	b         Bounds
	frames    []fly
	lasts     []bool // by frame
	frameIDs  map[string]uint16
	cells     []cell
	sums      []summary
	cellIDs   map[cell]uint32
	drivers   []driver
	driverIDs map[driver]uint32
	ghosts    []ghost
	ghostIDs  map[ghost]uint32
	positions map[uint64]migration.Position
	cellSteps map[uint64]*outcome
	moveSteps map[uint64]*moveOutcome
	calms     map[[nodesMax]uint32]string
	scratch   []byte
	lim       frame.Limits
}

func newSpace(b Bounds) *space {
	return &space{
		b: b, frameIDs: map[string]uint16{}, cellIDs: map[cell]uint32{}, driverIDs: map[driver]uint32{}, ghostIDs: map[ghost]uint32{},
		positions: map[uint64]migration.Position{}, cellSteps: map[uint64]*outcome{}, moveSteps: map[uint64]*moveOutcome{},
		calms: map[[nodesMax]uint32]string{}, lim: frame.Default(),
	}
}

// lasting frames stay once they are sent: they may be received at any time from then on, any number of times, or never,
// as in the TLA+ model. The others are questions, and answers that any question brings again: they are received once, lost
// or doubled, as the bounds say.
func lasting(m proto0500.Message) bool {
	switch m := m.(type) {
	case proto0500.Begin, proto0500.Query, proto0500.Report, proto0500.Rejected, proto0500.RestoreComplete, proto0500.ReplayComplete,
		proto0500.TransferStatus, proto0500.Progress:
		return false
	case proto0500.BufferedEvents:
		return m.Events.Len() > 0
	case proto0500.MigrationFailed:
		return !m.Reason.Retriable()
	}
	return true
}

func (s *space) frame(f fly) uint16 {
	// What is for people, and what only a lag or a head is told by, makes no other world.
	switch m := f.msg.(type) {
	case proto0500.Report:
		m.Seq, m.Head, m.HeadHash = 0, proto0500.Link{}, 0
		if f.to < firstOrchestrator {
			m.Peer, m.Orchestrator = 0, 0
			if m.Copy = m.Copy && m.State == proto0500.StateServing; !m.Copy {
				m.State = proto0500.StateNone
			}
		}
		f.msg = m
	case proto0500.ActivateAck:
		m.ReplayedSeq = 0
		f.msg = m
	case proto0500.RestoreComplete:
		m.RestoredSeq = 0
		f.msg = m
	case proto0500.ReplayComplete:
		m.ReplayedSeq, m.TargetHead = 0, proto0500.Link{}
		f.msg = m
	case proto0500.MigrationFailed:
		m.Reason.Text = nil
		f.msg = m
	case proto0500.Rejected:
		m.Text = nil
		f.msg = m
	}
	b := append(s.scratch[:0], byte(f.from), byte(f.to), byte(f.epoch))
	b, err := f.msg.Append(b, &s.lim)
	if err != nil {
		panic(err)
	}
	s.scratch = b
	if id, ok := s.frameIDs[string(b)]; ok {
		return id
	}
	if len(s.frames) > 0xffff {
		panic("explore: too many different frames")
	}
	id := uint16(len(s.frames))
	s.lasts = append(s.lasts, s.b.Any || lasting(f.msg))
	s.frames = append(s.frames, f)
	s.frameIDs[string(b)] = id
	return id
}

func (s *space) cell(c cell) uint32 {
	if id, ok := s.cellIDs[c]; ok {
		return id
	}
	id := uint32(len(s.cells))
	s.cells = append(s.cells, c)
	s.cellIDs[c] = id
	st, rec := c.p.State(), c.p.Record()
	s.sums = append(s.sums, summary{
		accepts: c.accepts(), open: c.open && c.has,
		whole:  c.has && (rec.State == migration.RecordServing || rec.State == migration.RecordRetired),
		sealed: st == proto0500.StateSealed, target: st >= proto0500.StatePrepared,
		busy: st >= proto0500.StateBegun || st == proto0500.StateRetired, stays: c.has && !c.accepts(),
		head: c.head.Hash, tried: c.tried.Hash, epoch: rec.Epoch, live: rec.LiveEpoch,
	})
	return id
}

func (s *space) driver(d driver) uint32 {
	if id, ok := s.driverIDs[d]; ok {
		return id
	}
	id := uint32(len(s.drivers))
	s.drivers = append(s.drivers, d)
	s.driverIDs[d] = id
	return id
}

func (s *space) ghost(g ghost) uint32 {
	if id, ok := s.ghostIDs[g]; ok {
		return id
	}
	id := uint32(len(s.ghosts))
	s.ghosts = append(s.ghosts, g)
	s.ghostIDs[g] = id
	return id
}

func (st *state) append(b []byte) []byte {
	for _, v := range st.cells {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	for _, v := range st.drivers {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	b = binary.LittleEndian.AppendUint32(b, st.ghost)
	b = append(b, st.left[:]...)
	for _, f := range st.flights {
		b = binary.LittleEndian.AppendUint16(b, f)
	}
	return b
}

func (st *state) read(b []byte) {
	for i := range st.cells {
		st.cells[i] = binary.LittleEndian.Uint32(b)
		b = b[4:]
	}
	for i := range st.drivers {
		st.drivers[i] = binary.LittleEndian.Uint32(b)
		b = b[4:]
	}
	st.ghost = binary.LittleEndian.Uint32(b)
	b = b[4+copy(st.left[:], b[4:]):]
	st.flights = st.flights[:0]
	for ; len(b) > 0; b = b[2:] {
		st.flights = append(st.flights, binary.LittleEndian.Uint16(b))
	}
}

// first is the world at its start: the daemon is at node 1.
func (s *space) first() state {
	var st state
	genesis := proto0500.Genesis(origin)
	at := migration.Position{Head: genesis, Hash: genesis.Hash(nil)}
	s.positions[at.Hash] = at
	for i := range nodesMax {
		c := cell{id: proto0500.NodeID(i + 1)}
		if i == 0 {
			c.rec, c.has, c.kept, c.head, c.open = migration.Created(), true, true, at, true
		}
		c.p = s.participant(c.id, c.rec)
		st.cells[i] = s.cell(c)
	}
	for i := range driversMax {
		st.drivers[i] = s.driver(driver{id: firstOrchestrator + proto0500.NodeID(i), dead: true})
	}
	st.ghost = s.ghost(ghost{accepted: at})
	for i, n := range []int{s.b.Moves, s.b.Writes, s.b.Crashes, s.b.Losses, s.b.Doubles, s.b.Timeouts, s.b.Cancels, s.b.Refusals, s.b.Fails, s.b.Asks} {
		st.left[i] = uint8(n)
	}
	return st
}

// action is what happens between two states: what (8 bits), whose (4), a variant (4), an argument (16).
type action uint32

const (
	actDeliver = 1  // arg: frame
	actDouble  = 2  // … which stays in flight
	actLose    = 3  // …
	actNever   = 4  // … a Prepare to which the node says never
	actTimer   = 5  // of node; arg: timer
	actCrash   = 6  // of node
	actWrite   = 7  // at node
	actDTimer  = 8  // of driver; arg: timer
	actStart   = 9  // driver; arg: source<<4 | target
	actCancel  = 10 // driver
	actDCrash  = 11 // driver
	actResume  = 12 // driver
	actBegin   = 13 // of an orchestrator without memory, at node; arg: target
	actWish    = 14 // … that the attempt at node ends

	// Variants: the step crashes after its n-th durable write, or that write fails.
	varCrash = 1
	varFail  = 4
)

func act(what, whose, variant int, arg uint16) action {
	return action(what)<<24 | action(whose)<<20 | action(variant)<<16 | action(arg)
}

func (a action) what() int    { return int(a >> 24) }
func (a action) whose() int   { return int(a >> 20 & 15) }
func (a action) variant() int { return int(a >> 16 & 15) }
func (a action) arg() uint16  { return uint16(a) }

// broken is a violation: of what, and how.
type broken struct{ name, detail string }

func (b *broken) Error() string { return b.name + ": " + b.detail }

// step makes to what from becomes by a. It returns false where a cannot happen, and what it violates.
func (s *space) step(from, to *state, a action) (bool, *broken) {
	flights := append(to.flights[:0], from.flights...)
	*to = *from
	to.flights = flights
	arg := a.arg()
	switch a.what() {
	case actDeliver, actDouble, actNever:
		f := &s.frames[arg]
		if a.what() != actDouble && !s.lasts[arg] {
			to.remove(arg)
		}
		if f.to >= firstOrchestrator {
			return true, s.moved(to, int(f.to-firstOrchestrator), inFrame|input(arg))
		}
		in := inFrame | input(arg)
		if a.what() == actNever {
			in = inNever | input(arg)
		}
		return s.cellStep(to, int(f.to-1), in, a.variant())
	case actLose:
		to.remove(arg)
		return true, nil
	case actTimer:
		return s.cellStep(to, a.whose(), inTimer|input(arg), a.variant())
	case actCrash:
		return s.cellStep(to, a.whose(), inCrash, 0)
	case actBegin:
		target := proto0500.NodeID(arg)
		f := s.frame(fly{from: firstOrchestrator, to: proto0500.NodeID(a.whose() + 1), msg: proto0500.Begin{
			DaemonOrigin: origin, TargetNode: target, Floor: s.cells[to.cells[target-1]].p.Epoch(),
		}})
		before := s.cells[to.cells[a.whose()]].p.Epoch()
		if ok, bad := s.cellStep(to, a.whose(), inFrame|input(f), a.variant()); !ok || bad != nil {
			return ok, bad
		}
		e := s.cells[to.cells[a.whose()]].p.Epoch()
		if e == before && !s.b.Weak.Any() || s.cells[to.cells[a.whose()]].p.State() != proto0500.StateBegun {
			return true, nil
		}
		prepare := s.frame(fly{from: firstOrchestrator, to: target, epoch: e, msg: proto0500.Prepare{DaemonOrigin: origin, SourceNode: proto0500.NodeID(a.whose() + 1)}})
		return true, s.sent(to, []uint16{prepare})
	case actWish:
		f := s.frame(fly{from: firstOrchestrator, to: proto0500.NodeID(a.whose() + 1), epoch: s.cells[to.cells[a.whose()]].p.Epoch(),
			msg: proto0500.MigrationFailed{DaemonOrigin: origin, Reason: proto0500.NewReason(proto0500.CodeStateFailed, "")}})
		return s.cellStep(to, a.whose(), inFrame|input(f), 0)
	case actWrite:
		return s.cellStep(to, a.whose(), inWrite, 0)
	case actDTimer:
		return true, s.moved(to, a.whose(), inTimer|input(arg))
	case actStart:
		d := driver{id: firstOrchestrator + proto0500.NodeID(a.whose()), source: proto0500.NodeID(arg >> 4), target: proto0500.NodeID(arg & 15)}
		d.move = migration.NewMove(migration.MoveConfig{Self: d.id, Source: d.source, Target: d.target, Origin: origin})
		to.drivers[a.whose()] = s.driver(d)
		return true, s.moved(to, a.whose(), inStart)
	case actCancel:
		return true, s.moved(to, a.whose(), inStop)
	case actDCrash:
		d := s.drivers[to.drivers[a.whose()]]
		d.dead, d.move, d.timers = true, migration.Move{}, [2]bool{}
		to.drivers[a.whose()] = s.driver(d)
		s.forget(to, a.whose())
	case actResume:
		d := s.drivers[to.drivers[a.whose()]]
		d.dead = false
		d.move = migration.ResumeMove(migration.MoveConfig{Self: d.id}, d.rec)
		to.drivers[a.whose()] = s.driver(d)
		return true, s.moved(to, a.whose(), inStart)
	}
	return true, nil
}

func (st *state) remove(f uint16) {
	if i, ok := slices.BinarySearch(st.flights, f); ok {
		st.flights = slices.Delete(st.flights, i, i+1)
	}
}

// cellStep steps a node.
func (s *space) cellStep(to *state, i int, in input, variant int) (bool, *broken) {
	res := s.stepCell(to.cells[i], in)
	if res.broken != "" {
		return true, &broken{"P", res.broken}
	}
	g := &s.ghosts[to.ghost]
	if res.wrote {
		again := *g
		again.accepted = res.accepted
		to.ghost = s.ghost(again)
		if res.accepted.Seq != g.accepted.Seq+1 || res.accepted.Head.ParentHash != g.accepted.Hash {
			return true, &broken{"I2", fmt.Sprintf("node %d accepts event %d after %d", i+1, res.accepted.Seq, g.accepted.Seq)}
		}
	}
	if res.named[0] != 0 {
		if b := s.says(to, func(w *word) *broken {
			if w.source != 0 && (w.source != proto0500.NodeID(i+1) || w.target != proto0500.NodeID(res.named[1])) {
				return &broken{"I5", fmt.Sprintf("epoch %d is of %d and %d, and of %d and %d", res.named[0], w.source, w.target, i+1, res.named[1])}
			}
			w.source, w.target = proto0500.NodeID(i+1), proto0500.NodeID(res.named[1])
			return nil
		}, frame.Epoch(res.named[0])); b != nil {
			return true, b
		}
	}
	cellID, out, died := res.cell, res.out, res.died
	if variant != 0 {
		list, k := res.crashes, variant-varCrash
		if variant >= varFail {
			list, k = res.fails, variant-varFail
		}
		if k >= len(list) {
			return false, nil
		}
		cellID, out, died = list[k].cell, list[k].out, list[k].died
	}
	to.cells[i] = cellID
	if died {
		again := s.ghosts[to.ghost]
		again.died = true
		to.ghost = s.ghost(again)
	}
	return true, s.sent(to, out)
}

// moved steps a driver.
func (s *space) moved(to *state, i int, in input) *broken {
	res := s.stepMove(to.drivers[i], in)
	if res.broken != "" {
		return &broken{"M", res.broken}
	}
	to.drivers[i] = res.driver
	if !s.drivers[res.driver].open() {
		s.forget(to, i)
	}
	return s.sent(to, res.out)
}

// forget takes out the frames to a driver that is gone.
func (s *space) forget(to *state, i int) {
	id := firstOrchestrator + proto0500.NodeID(i)
	to.flights = slices.DeleteFunc(to.flights, func(f uint16) bool { return s.frames[f].to == id })
}

// sent puts frames in flight, and witnesses what they say.
func (s *space) sent(to *state, out []uint16) *broken {
	for _, id := range out {
		f := &s.frames[id]
		if b := s.witness(to, f); b != nil {
			return b
		}
		if s.b.Any {
			s.allows(to, f)
			if f.to >= firstOrchestrator {
				continue
			}
		}
		if f.to >= firstOrchestrator && !s.drivers[to.drivers[f.to-firstOrchestrator]].open() {
			continue
		}
		if int(f.to) > s.b.Nodes && f.to < firstOrchestrator {
			continue
		}
		if i, ok := slices.BinarySearch(to.flights, id); !ok {
			to.flights = slices.Insert(to.flights, i, id)
		}
	}
	s.clean(to)
	return nil
}

// clean takes out what cannot change anything any more.
func (s *space) clean(to *state) {
	if !s.b.Weak.Any() {
		to.flights = slices.DeleteFunc(to.flights, func(id uint16) bool { return s.useless(to, id) })
	}
}

// allows puts in flight what an orchestrator without memory may send because of f.
func (s *space) allows(to *state, f *fly) {
	put := func(f fly) {
		id := s.frame(f)
		if i, ok := slices.BinarySearch(to.flights, id); !ok {
			to.flights = slices.Insert(to.flights, i, id)
		}
	}
	switch f.msg.(type) {
	case proto0500.Prepared:
		source := s.cells[to.cells[f.from-1]].p.Peer()
		put(fly{from: firstOrchestrator, to: source, epoch: f.epoch, msg: proto0500.TakeSnapshot{DaemonOrigin: origin, TargetNode: f.from}})
	case proto0500.Transfer:
		put(fly{from: firstOrchestrator, to: f.from, epoch: f.epoch, msg: proto0500.CutoverNotify{DaemonOrigin: origin, TargetNode: f.to}})
	case proto0500.ActivateAck:
		if f.to < firstOrchestrator {
			put(fly{from: firstOrchestrator, to: f.to, epoch: f.epoch, msg: proto0500.Release{DaemonOrigin: origin}})
		}
	}
}

// useless is a frame of the data plane that can change nothing any more.
func (s *space) useless(to *state, id uint16) bool {
	f := &s.frames[id]
	switch m := f.msg.(type) {
	case proto0500.Report:
		if f.to >= firstOrchestrator {
			return false
		}
		// Its facts do not age: what is not news to its receiver now never will be.
		c := &s.cells[to.cells[f.to-1]]
		e := c.p.Epoch()
		over := m.Epoch > e || m.Epoch == e && m.Copy
		return !over && (m.LiveEpoch < e || c.rec.State != migration.RecordRetired)
	case proto0500.BufferedEvents:
		if m.Events.Len() == 0 {
			return false
		}
		c := &s.cells[to.cells[f.to-1]]
		if c.in == f.epoch && c.begun {
			for ev := range m.Events.All() {
				return ev.Link.Sequence <= c.tried.Seq
			}
		}
		return c.in != f.epoch && c.p.Epoch() >= f.epoch
	case proto0500.Transfer:
		c := &s.cells[to.cells[f.to-1]]
		return c.in != f.epoch && c.p.Epoch() >= f.epoch || c.in == f.epoch && c.begun
	}
	return false
}

// says changes what is known of an epoch.
func (s *space) says(to *state, change func(*word) *broken, e frame.Epoch) *broken {
	if e == 0 || e >= epochsMax {
		return nil
	}
	g := s.ghosts[to.ghost]
	before := g.words[e]
	if b := change(&g.words[e]); b != nil {
		return b
	}
	if g.words[e] != before {
		to.ghost = s.ghost(g)
	}
	return nil
}

func (s *space) witness(to *state, f *fly) *broken {
	switch m := f.msg.(type) {
	case proto0500.Prepare:
		return s.says(to, func(w *word) *broken {
			if w.source != 0 && (w.source != m.SourceNode || w.target != f.to) {
				return &broken{"I5", fmt.Sprintf("epoch %d is of %d and %d, and of %d and %d", f.epoch, w.source, w.target, m.SourceNode, f.to)}
			}
			w.source, w.target = m.SourceNode, f.to
			return nil
		}, f.epoch)
	case proto0500.ActivateAck:
		return s.says(to, func(w *word) *broken {
			w.yes = true
			if w.no && f.from == w.target {
				return &broken{"I4", fmt.Sprintf("node %d says ActivateAck of epoch %d, which it has refused", f.from, f.epoch)}
			}
			return nil
		}, f.epoch)
	case proto0500.MigrationFailed:
		if m.Reason.Retriable() {
			return nil
		}
		return s.says(to, func(w *word) *broken {
			if f.from != w.target {
				return nil
			}
			w.no = true
			if w.yes {
				return &broken{"I4", fmt.Sprintf("node %d refuses epoch %d, to which it has said ActivateAck", f.from, f.epoch)}
			}
			return nil
		}, f.epoch)
	case proto0500.ActivateTarget:
		return s.says(to, func(w *word) *broken { w.activate = true; return nil }, f.epoch)
	}
	return nil
}

// check holds the invariants of a state.
func (s *space) check(st *state) *broken {
	g := &s.ghosts[st.ghost]
	accepting, whole := 0, false
	for i, id := range st.cells {
		c := &s.sums[id]
		if c.accepts {
			accepting++
		}
		if c.open && c.head != g.accepted.Hash {
			return &broken{"I2", fmt.Sprintf("node %d is the authority without every event", i+1)}
		}
		whole = whole || c.whole && c.head == g.accepted.Hash || c.sealed && c.tried == g.accepted.Hash
		if c.target && c.epoch < epochsMax && g.words[c.epoch].activate && (!c.sealed || c.tried != g.accepted.Hash) {
			return &broken{"I6", fmt.Sprintf("ActivateTarget of epoch %d can meet node %d, which is not at the final seal", c.epoch, i+1)}
		}
	}
	if accepting > 1 {
		return &broken{"I1", "two nodes accept writes"}
	}
	one := s.b.Crashes-int(st.left[leftCrashes])+s.b.Fails-int(st.left[leftFails]) <= 1
	if !whole && !g.died && (!s.b.Memory || one) {
		return &broken{"I3", "no node that has, or can become, the authority has every event"}
	}
	for i, id := range st.drivers {
		d := &s.drivers[id]
		if d.done == 0 || d.epoch == 0 || d.epoch >= epochsMax {
			continue
		}
		yes := g.words[d.epoch].yes
		lived := s.sums[st.cells[d.target-1]].live >= d.epoch
		switch d.done {
		case migration.OutcomeCommitted, migration.OutcomeMovedOn:
			if !yes && !lived {
				return &broken{"result", fmt.Sprintf("orchestrator %d says %v of epoch %d, which its target has not lived", i, d.done, d.epoch)}
			}
		case migration.OutcomeRolledBack, migration.OutcomeRefused, migration.OutcomePrepared:
			if yes {
				return &broken{"result", fmt.Sprintf("orchestrator %d says %v of epoch %d, in which its target went live", i, d.done, d.epoch)}
			}
		}
	}
	if g.died {
		return nil
	}
	// Of a daemon in memory, two crashes may take every copy but one in an attempt that is over.
	if why, ok := s.calms[st.cells]; ok {
		if why != "" && (!s.b.Memory || whole && one) {
			return &broken{"L1", why}
		}
		return nil
	}
	why := s.calm(st.cells)
	s.calms[st.cells] = why
	if why != "" && (!s.b.Memory || whole && one) {
		return &broken{"L1", why}
	}
	return nil
}

// calm: faults over, everything in flight lost, no orchestrator. It says how that does not end, "" where it does.
func (s *space) calm(cells [nodesMax]uint32) string {
	var flights []uint16
	add := func(out []uint16) {
		for _, f := range out {
			if s.frames[f].to < firstOrchestrator {
				flights = append(flights, f)
			}
		}
	}
	for range 8 {
		for i := range cells {
			for _, t := range []migration.Timer{migration.TimerAttempt, migration.TimerAsk, migration.TimerRetain} {
				if s.cells[cells[i]].timers[t] {
					res := s.stepCell(cells[i], inTimer|input(t))
					cells[i] = res.cell
					add(res.out)
				}
			}
		}
		for n := 0; len(flights) > 0; n++ {
			if n > 1000 {
				return "they never stop talking"
			}
			f := flights[0]
			flights = flights[1:]
			i := s.frames[f].to - 1
			res := s.stepCell(cells[i], inFrame|input(f))
			cells[i] = res.cell
			add(res.out)
		}
	}
	authorities := 0
	for i, id := range cells {
		c := &s.sums[id]
		if c.busy {
			return fmt.Sprintf("node %d stays %v", i+1, s.cells[id].p.State())
		}
		if c.stays {
			return fmt.Sprintf("node %d keeps a copy", i+1)
		}
		if c.accepts {
			authorities++
		}
	}
	if authorities != 1 {
		return fmt.Sprintf("%d authorities", authorities)
	}
	return ""
}
