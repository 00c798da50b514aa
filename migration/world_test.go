package migration

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"ferry/frame"
	"ferry/proto0500"
)

// A world of nodes for the tests: participants over pretended hosts and journals, orchestrators, and a network in which
// everything ever sent stays until the test delivers, doubles or drops it. The invariants of safety.md, section 9, are
// held after every step.

const testOrigin proto0500.Origin = 0xd43

type event struct {
	link proto0500.Link
	hash uint64
}

// flight is something on its way: a message, with the snapshot behind a Transfer; or, local, what a host has finished.
type flight struct {
	id       int
	from, to proto0500.NodeID
	epoch    frame.Epoch
	msg      proto0500.Message
	snapshot []event
	local    Input
	boot     int // of the node to which local is, which must not have restarted since
}

type node struct {
	id      proto0500.NodeID
	p       Participant
	journal []byte
	boot    int
	timers  map[Timer]frame.Epoch

	// The host.
	durable bool
	copy    bool
	log     []event
	open    bool
	copying bool
	verdict *proto0500.Reason
	persist int // the persist to fail, 1: the next
	// The attempt in which the node is the target.
	held  []Event
	tried []event
	step  event // what Apply takes
	snap  []event
}

type orchestrator struct {
	id     proto0500.NodeID
	move   Move
	deputy *Deputy // whose move is move; nil: the orchestrator has the extensions itself
	timers map[Timer]frame.Epoch
	rec    MoveRecord
	result *Result
}

type said struct {
	from proto0500.NodeID
	e    frame.Epoch
}

type world struct {
	nodes    []*node
	orchs    []*orchestrator
	flights  []flight
	history  []flight // everything ever sent
	next     int
	accepted []event
	died     bool // an in-memory authority crashed
	crashes  int
	trace    strings.Builder
	quiet    bool

	yes, no map[said]bool
	pairs   map[frame.Epoch][2]proto0500.NodeID
}

func names(id proto0500.NodeID) string {
	switch id {
	case 1:
		return "S"
	case 2:
		return "T"
	case 3:
		return "U"
	case 8:
		return "P"
	case 9:
		return "O"
	}
	return fmt.Sprint(uint64(id))
}

func id(name string) proto0500.NodeID {
	return map[string]proto0500.NodeID{"S": 1, "T": 2, "U": 3, "P": 8, "O": 9}[name]
}

func newWorld(durable bool, events int) *world {
	w := &world{yes: map[said]bool{}, no: map[said]bool{}, pairs: map[frame.Epoch][2]proto0500.NodeID{}}
	for _, id := range []proto0500.NodeID{1, 2, 3} {
		n := &node{id: id, durable: durable, timers: map[Timer]frame.Epoch{}}
		var rec Record
		if id == 1 {
			rec, n.copy = Created(), true
		}
		n.journal, _ = rec.AppendBinary(nil)
		w.nodes = append(w.nodes, n)
		w.boot(n)
	}
	for range events {
		w.write(w.nodes[0])
	}
	return w
}

func (w *world) node(id proto0500.NodeID) *node {
	for _, n := range w.nodes {
		if n.id == id {
			return n
		}
	}
	return nil
}

func (w *world) printf(format string, args ...any) {
	if !w.quiet {
		fmt.Fprintf(&w.trace, format, args...)
	}
}

func last(log []event) Position {
	if len(log) == 0 {
		g := proto0500.Genesis(testOrigin)
		return Position{Head: g, Hash: g.Hash(nil)}
	}
	ev := log[len(log)-1]
	return Position{Seq: ev.link.Sequence, Head: ev.link, Hash: ev.hash}
}

func (n *node) hostCopy() Copy {
	if !n.copy {
		return Copy{}
	}
	at := last(n.log)
	return Copy{OK: true, Seq: at.Seq, Head: at.Head, Hash: at.Hash}
}

// write is a client's: an event accepted by whoever is open.
func (w *world) write(n *node) bool {
	if !n.open || !n.copy {
		return false
	}
	at := last(n.log)
	link, err := at.Head.Next(at.Hash, 0)
	if err != nil {
		panic(err)
	}
	ev := event{link: link, hash: link.Hash(fmt.Appendf(nil, "%s%d", names(n.id), link.Sequence))}
	n.log = append(slices.Clone(n.log), ev)
	w.accepted = append(w.accepted, ev)
	if n.copying {
		w.shipEvent(n, ev)
	}
	return true
}

func (w *world) shipEvent(n *node, ev event) {
	payload := fmt.Appendf(nil, "%s%d", names(n.id), ev.link.Sequence)
	msg := proto0500.BufferedEvents{DaemonOrigin: testOrigin, Events: proto0500.EventsOf(proto0500.Event{Link: ev.link, Payload: payload})}
	w.send(flight{from: n.id, to: n.p.Peer(), epoch: n.p.Epoch(), msg: msg})
}

func (w *world) send(f flight) {
	w.next++
	f.id = w.next
	w.flights = append(w.flights, f)
	w.history = append(w.history, f)
	w.witness(f)
}

// witness remembers what I4 and I5 are about.
func (w *world) witness(f flight) {
	key := said{f.from, f.epoch}
	switch m := f.msg.(type) {
	case proto0500.ActivateAck:
		w.yes[key] = true
	case proto0500.MigrationFailed:
		if n := w.node(f.from); n != nil && w.pairs[f.epoch][1] == f.from && !m.Reason.Retriable() && f.from != f.to {
			w.no[key] = true
		}
	case proto0500.Prepare:
		pair := [2]proto0500.NodeID{m.SourceNode, f.to}
		if old, ok := w.pairs[f.epoch]; ok && old != pair {
			panic(fmt.Sprintf("I5: epoch %d of %v and %v", f.epoch, old, pair))
		}
		w.pairs[f.epoch] = pair
	}
}

func (w *world) isOrch(id proto0500.NodeID) bool {
	return slices.ContainsFunc(w.orchs, func(o *orchestrator) bool { return o.id == id })
}

// boot is the start of a process: the record decides what the node is.
func (w *world) boot(n *node) {
	var rec Record
	if err := rec.UnmarshalBinary(n.journal); err != nil {
		panic(err)
	}
	n.boot++
	n.p = New(Config{Self: n.id, Origin: testOrigin}, rec)
	clear(n.timers)
	n.open, n.copying, n.held, n.tried, n.snap = false, false, nil, nil, nil
	w.step(n, Boot{})
}

func (w *world) crash(n *node) {
	w.crashes++
	if !n.durable && n.copy {
		w.died = w.died || n.p.Record().State == RecordServing
		n.copy, n.log = false, nil
	}
	w.printf("%s crashes\n", names(n.id))
	// A deputy is a part of its source's process.
	w.orchs = slices.DeleteFunc(w.orchs, func(o *orchestrator) bool { return o.deputy != nil && o.id == n.id })
	w.boot(n)
}

// step tells a participant something and carries out what it wants, in order.
func (w *world) step(n *node, in Input) error {
	before := n.p
	fx, err := n.p.Step(n.hostCopy(), in, nil)
	if err != nil {
		var refused *Refused
		if !errors.As(err, &refused) {
			panic(fmt.Sprintf("not a *Refused: %v", err))
		}
		if n.p != before {
			panic(fmt.Sprintf("refused, but changed: %v", err))
		}
		w.printf("  %s refuses: %s\n", names(n.id), refused.Detail)
	}
	if n.p.State() != before.State() || n.p.Epoch() != before.Epoch() {
		w.printf("  %s: %v@%d\n", names(n.id), n.p.State(), n.p.Epoch())
	}
	for _, f := range fx {
		if !w.carryOut(n, f) {
			w.printf("  %s: the write fails, the rest is dropped\n", names(n.id))
			w.boot(n)
			break
		}
	}
	w.check()
	return err
}

func (w *world) local(n *node, in Input) {
	w.send(flight{from: n.id, to: n.id, epoch: n.p.Epoch(), local: in, boot: n.boot})
}

func (w *world) carryOut(n *node, fx Effect) bool {
	if text := describe(fx); text != "" {
		w.printf("    %s\n", text)
	}
	switch f := fx.(type) {
	case Persist:
		if n.persist > 0 {
			if n.persist--; n.persist == 0 {
				return false
			}
		}
		n.journal, _ = f.Record.AppendBinary(nil)
	case Flush:
		log := n.tried
		if n.open || n.p.Record().State != RecordNone {
			log = n.log
		}
		if last(log).Seq < f.Seq {
			panic("flush of what is not there")
		}
	case Send:
		w.send(flight{from: n.id, to: f.To, epoch: f.Epoch, msg: f.Message})
	case Answer:
		r := n.p.Report(n.hostCopy(), uint64(n.boot))
		r.Name, r.DaemonKind = proto0500.Text("d"), proto0500.Text("kind")
		w.send(flight{from: n.id, to: f.To, epoch: f.Epoch, msg: r})
	case SendPrepared:
		w.send(flight{from: n.id, to: f.To, epoch: f.Epoch, msg: proto0500.Prepared{DaemonOrigin: testOrigin}})
	case StartCopy:
		n.copying = true
		at := last(n.log)
		w.send(flight{from: n.id, to: f.Target, epoch: f.Epoch, snapshot: slices.Clone(n.log), msg: proto0500.Transfer{
			DaemonOrigin: testOrigin, SeqThrough: at.Seq, HeadHash: at.Hash, Final: true,
		}})
	case StopCopy:
		n.copying = false
	case Freeze:
		n.open = false
		at := last(n.log)
		w.local(n, Frozen{Epoch: f.Epoch, Round: f.Round, Seq: at.Seq, Head: at.Head, Hash: at.Hash})
	case Thaw, Serve:
		n.open = n.copy
	case ShipSeal:
		w.send(flight{from: n.id, to: f.To, epoch: f.Epoch, msg: f.Seal})
	case Retire:
		n.open = false
	case DropState:
		n.open, n.copy, n.log = false, false, nil
	case Prepare:
		n.held, n.tried, n.snap = nil, nil, nil
	case Restore:
		n.tried = slices.Clone(n.snap)
		at := last(n.tried)
		w.local(n, Restored{Epoch: f.Epoch, Seq: at.Seq, Head: at.Head, Hash: at.Hash})
	case Apply:
		n.tried = append(slices.Clone(n.tried), n.step)
	case DropAttempt:
		n.held, n.tried, n.snap = nil, nil, nil
	case Activate:
		n.log, n.copy, n.open, n.tried = n.tried, true, true, nil
	case Arm:
		n.timers[f.Timer] = f.Epoch
	case Disarm:
		delete(n.timers, f.Timer)
	}
	return true
}

// take removes a flight; deliver gives it to whom it is for and leaves it where it is.
func (w *world) take(id int) (flight, bool) {
	for i, f := range w.flights {
		if f.id == id {
			w.flights = slices.Delete(w.flights, i, i+1)
			return f, true
		}
	}
	return flight{}, false
}

func (w *world) deliver(f flight) {
	w.printf("%s\n", f)
	n := w.node(f.to)
	if f.local != nil {
		if f.boot == n.boot {
			w.step(n, f.local)
			if _, ok := f.local.(Restored); ok {
				w.feed(n)
			}
		}
		return
	}
	if n != nil && forParticipant(f.msg) {
		in := Frame{From: f.from, Orchestrator: f.from >= 8 || w.isOrch(f.from), Epoch: f.epoch, Message: f.msg}
		if _, ok := f.msg.(proto0500.Prepare); ok {
			in.Verdict = n.verdict
		}
		if w.step(n, in) == nil {
			w.data(n, f)
		}
	}
	for _, o := range w.orchs {
		if o.id == f.to && o.result == nil {
			w.drive(o, Frame{From: f.from, Epoch: f.epoch, Message: f.msg})
		}
	}
}

// data is the shell's part of a data plane frame whose role was checked.
func (w *world) data(n *node, f flight) {
	switch m := f.msg.(type) {
	case proto0500.Transfer:
		if n.p.State() == proto0500.StatePrepared && n.snap == nil {
			n.snap = append([]event{}, f.snapshot...)
			w.step(n, SnapshotComplete{Epoch: f.epoch, Seq: m.SeqThrough, Hash: m.HeadHash})
		}
	case proto0500.BufferedEvents:
		for ev := range m.Events.All() {
			n.held = append(n.held, Event{From: f.from, Epoch: f.epoch, Link: ev.Link, Hash: ev.Hash()})
		}
		w.feed(n)
	}
}

// feed steps the events that are held and next in order; the network of these tests brings them in any order.
func (w *world) feed(n *node) {
	for again := true; again; {
		again = false
		for _, ev := range n.held {
			s := n.p.State()
			if s != proto0500.StateRestored && s != proto0500.StateSealed {
				return
			}
			if ev.Epoch == n.p.Epoch() && ev.Link.Sequence == n.p.att.head.Seq+1 {
				n.step = event{link: ev.Link, hash: ev.Hash}
				w.step(n, ev)
				again = true
			}
		}
	}
}

func forParticipant(m proto0500.Message) bool {
	switch m.(type) {
	case proto0500.Prepared, proto0500.RestoreComplete, proto0500.ReplayComplete, proto0500.CleanupComplete,
		proto0500.Progress, proto0500.Rejected:
		return false
	}
	return true
}

// drive tells an orchestrator something.
func (w *world) drive(o *orchestrator, in MoveInput) {
	before := o.move
	step := o.move.Step
	if o.deputy != nil {
		step = o.deputy.Step
	}
	fx, err := step(in, nil)
	if o.deputy != nil {
		o.move = o.deputy.move
	}
	if err != nil {
		var refused *Refused
		if !errors.As(err, &refused) || o.move != before || len(fx) != 0 {
			panic(fmt.Sprintf("refused, but: %v, %v", err, fx))
		}
		w.printf("  %s refuses: %s\n", names(o.id), refused.Detail)
	}
	for _, f := range fx {
		if text := describe(f); text != "" {
			w.printf("    %s\n", text)
		}
		switch f := f.(type) {
		case PersistMove:
			o.rec = f.Record
		case Send:
			w.send(flight{from: o.id, to: f.To, epoch: f.Epoch, msg: f.Message})
		case Arm:
			o.timers[f.Timer] = f.Epoch
		case Disarm:
			delete(o.timers, f.Timer)
		case Done:
			o.result = &f.Result
		}
	}
	w.check()
}

func (w *world) orchestrate(o *orchestrator) {
	o.timers = map[Timer]frame.Epoch{}
	w.orchs = append(w.orchs, o)
	w.drive(o, Start{})
}

// check holds the invariants.
func (w *world) check() {
	var open []string
	whole := false
	for _, n := range w.nodes {
		if err := n.p.Check(); err != nil {
			panic(fmt.Sprintf("%s: %v", names(n.id), err))
		}
		all := slices.Equal(n.log, w.accepted)
		if n.open && n.copy {
			open = append(open, names(n.id))
			if !all {
				panic(fmt.Sprintf("I2: %s accepts with %d events of %d", names(n.id), len(n.log), len(w.accepted)))
			}
			if n.p.Record().State != RecordServing {
				panic(fmt.Sprintf("gate: %s accepts while %v", names(n.id), n.p.Record().State))
			}
		}
		state := n.p.Record().State
		whole = whole || n.copy && all && (state == RecordServing || state == RecordRetired) ||
			n.p.State() == proto0500.StateSealed && slices.Equal(n.tried, w.accepted)
	}
	if len(open) > 1 {
		panic("I1: accept writes: " + strings.Join(open, " "))
	}
	if bound := !w.nodes[0].durable && w.crashes > 1; !whole && !w.died && !bound {
		panic("I3: nobody who has, or can become, the authority has everything")
	}
	for key := range w.yes {
		if w.no[key] {
			panic(fmt.Sprintf("I4: %s says both of epoch %d", names(key.from), key.e))
		}
	}
	for _, f := range w.flights {
		if _, ok := f.msg.(proto0500.ActivateTarget); !ok || f.from >= 100 {
			continue
		}
		if n := w.node(f.to); n.p.targetOf(f.epoch) && (n.p.State() != proto0500.StateSealed || !slices.Equal(n.tried, w.accepted)) {
			panic(fmt.Sprintf("I6: ActivateTarget(%d) can meet %s %v", f.epoch, names(n.id), n.p.State()))
		}
	}
	for _, o := range w.orchs {
		check := o.move.Check
		if o.deputy != nil {
			check = o.deputy.Check
		}
		if err := check(); err != nil {
			panic(err)
		}
	}
}
