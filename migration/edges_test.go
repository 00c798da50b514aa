package migration

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"ferry/frame"
	"ferry/proto0500"
)

// What the tables and scripts do not come to: orders that contradict themselves, hosts that err, journals that are lost,
// and our own invariants, broken by hand.

type oddInput struct{}

func (oddInput) input()     {}
func (oddInput) moveInput() {}

// An input that no machine knows is refused and changes nothing.
func TestUnknownInput(t *testing.T) {
	p, copy := participantIn(t, "copying")
	before := p
	if fx, err := p.Step(copy, oddInput{}, nil); !isRefused(err, proto0500.RejectStaleEpoch) || len(fx) > 0 || p != before {
		t.Errorf("%v, %v", fx, err)
	}
	m, _ := drivenTo(t, MoveConfig{}, toReplay()...)
	was := m
	if fx, err := m.Step(oddInput{}, nil); !isRefused(err, proto0500.RejectWrongState) || len(fx) > 0 || m != was {
		t.Errorf("%v, %v", fx, err)
	}
}

func isRefused(err error, why proto0500.RejectReason) bool {
	r, ok := errors.AsType[*Refused](err)
	return ok && r.Reason == why
}

// Orders that contradict themselves, or what is recorded, are refused by name, and change nothing.
func TestOrdersThatContradict(t *testing.T) {
	o := testOrigin
	for _, c := range []struct {
		state string
		epoch frame.Epoch
		m     proto0500.Message
		want  proto0500.RejectReason
	}{
		{"begun", tableEpoch, proto0500.TakeSnapshot{DaemonOrigin: o, TargetNode: 3}, proto0500.RejectMalformed},
		{"copying", tableEpoch, proto0500.CutoverNotify{DaemonOrigin: o, TargetNode: 3}, proto0500.RejectMalformed},
		{"retired", 0, proto0500.Force{DaemonOrigin: o, DeadNode: 1}, proto0500.RejectMalformed},
		{"retired", tableEpoch, proto0500.Force{DaemonOrigin: o}, proto0500.RejectMalformed},
		{"retired", tableEpoch, proto0500.Force{DaemonOrigin: o, DeadNode: 2}, proto0500.RejectMalformed},
		{"sealed", 0, proto0500.ActivateTarget{DaemonOrigin: o}, proto0500.RejectMalformed},
	} {
		t.Run(fmt.Sprintf("%s/%v@%d", c.state, c.m.Kind(), c.epoch), func(t *testing.T) {
			p, copy := participantIn(t, c.state)
			refusedAs(t, c.state, p, copy, Frame{From: 9, Orchestrator: true, Epoch: c.epoch, Message: c.m}, c.want)
		})
	}
	// The roles of epoch 0 are nobody's: a stranger is told nothing there either.
	p, copy := participantIn(t, "begun")
	for _, m := range []proto0500.Message{proto0500.Query{DaemonOrigin: o}, proto0500.Seal{DaemonOrigin: o}} {
		refusedAs(t, m.Kind().String(), p, copy, Frame{From: 7, Message: m}, proto0500.RejectWrongPeer)
	}
}

// After the last epoch there is none to serve at.
func TestForceAtTheLastEpoch(t *testing.T) {
	at := last(chain(2))
	rec := Record{Epoch: ^frame.Epoch(0), LiveEpoch: 2, State: RecordRetired, Peer: 1, Orchestrator: 9,
		SealSeq: at.Seq, SealHead: at.Head, SealHash: at.Hash}
	p, copy := New(Config{Self: 2, Origin: testOrigin}, rec), Copy{OK: true, Seq: at.Seq, Head: at.Head, Hash: at.Hash}
	if _, err := p.Step(copy, Boot{}, nil); err != nil {
		t.Fatal(err)
	}
	force := Frame{From: 9, Orchestrator: true, Epoch: rec.Epoch, Message: proto0500.Force{DaemonOrigin: testOrigin, DeadNode: 1}}
	refusedAs(t, "force", p, copy, force, proto0500.RejectWrongState)
}

// A host whose head is not of the daemon's chain has no snapshot to seal: the source serves on and says why.
func TestFrozenWithAnotherHead(t *testing.T) {
	at := last(chain(2))
	for name, in := range map[string]Frozen{
		"of another daemon":   {Epoch: tableEpoch, Round: 1, Seq: at.Seq, Head: proto0500.Link{OriginHash: testOrigin + 1, Sequence: at.Seq}},
		"of another sequence": {Epoch: tableEpoch, Round: 1, Seq: at.Seq + 1, Head: at.Head},
	} {
		p, copy := participantIn(t, "freezing")
		fx, err := p.Step(copy, in, nil)
		if err != nil || p.State() != proto0500.StateServing {
			t.Fatalf("%s: %v, %v", name, p.State(), err)
		}
		told := false
		for _, f := range fx {
			if s, ok := f.(Send); ok {
				m, failed := s.Message.(proto0500.MigrationFailed)
				told = told || failed && m.Reason.Code == proto0500.CodeStateFailed
			}
		}
		if !told {
			t.Errorf("%s: nobody is told: %v", name, fx)
		}
	}
}

// Events come from the source and from nobody else.
func TestEventOfAStranger(t *testing.T) {
	p, copy := participantIn(t, "restored")
	before, next := p, last(chain(3))
	fx, err := p.Step(copy, Event{From: 7, Epoch: tableEpoch, Link: next.Head, Hash: next.Hash}, nil)
	if !isRefused(err, proto0500.RejectWrongPeer) || len(fx) > 0 || p != before {
		t.Errorf("%v, %v", fx, err)
	}
	if text := err.Error(); !strings.Contains(text, "WrongPeer") || !strings.Contains(text, "epoch 5") {
		t.Errorf("%q", text)
	}
}

// A broken invariant is named.
func TestBrokenInvariants(t *testing.T) {
	in := func(state string, broken func(p *Participant)) *Participant {
		p, _ := participantIn(t, state)
		if err := p.Check(); err != nil {
			t.Fatalf("%s: %v", state, err)
		}
		broken(&p)
		return &p
	}
	move := func(broken func(m *Move)) *Move {
		m, _ := drivenTo(t, MoveConfig{}, toReplay()...)
		broken(&m)
		return &m
	}
	for _, c := range []struct {
		number string
		of     interface{ Check() error }
	}{
		{"P1", in("serving", func(p *Participant) { p.rec.State = 99 })},
		{"P2", in("serving", func(p *Participant) { p.att.round = 1 })},
		{"P2", in("begun", func(p *Participant) { p.rec.State = RecordMoved })},
		{"P2", in("prepared", func(p *Participant) { p.rec.State = RecordMoved })},
		{"P3", in("begun", func(p *Participant) { p.rec.Peer = p.cfg.Self })},
		{"P4", in("sealed", func(p *Participant) { p.att.seal.Hash++ })},
		{"P5", in("copying", func(p *Participant) { p.att.hasSeal = true })},
		{"P5", in("freezing", func(p *Participant) { p.att.round = 0 })},
		{"P6", in("serving", func(p *Participant) { p.word = true })},
		{"M1", move(func(m *Move) { m.rec.Epoch = 0 })},
		{"M2", move(func(m *Move) { m.step = stepRelease })},
		{"M3", move(func(m *Move) { m.step = stepActivate })},
	} {
		e, ok := errors.AsType[*InvariantError](c.of.Check())
		if !ok || e.Number != c.number || !strings.Contains(e.Error(), c.number) {
			t.Errorf("%s: %v", c.number, c.of.Check())
		}
	}
}

// The stored forms are one, whichever interface asks for them.
func TestMarshalIsAppend(t *testing.T) {
	p, _ := participantIn(t, "retired")
	m, _ := drivenTo(t, MoveConfig{}, toReplay()...)
	rec, move := p.Record(), m.Record()
	for name, c := range map[string]struct {
		marshal func() ([]byte, error)
		append  func([]byte) ([]byte, error)
		read    func([]byte) error
	}{
		"record": {rec.MarshalBinary, rec.AppendBinary, func(b []byte) error {
			var r Record
			return errors.Join(r.UnmarshalBinary(b), same(r, rec))
		}},
		"move record": {move.MarshalBinary, move.AppendBinary, func(b []byte) error {
			var r MoveRecord
			return errors.Join(r.UnmarshalBinary(b), same(r, move))
		}},
	} {
		a, err := c.marshal()
		if err != nil {
			t.Fatal(err)
		}
		b, err := c.append([]byte("before"))
		if err != nil || !bytes.Equal(b[len("before"):], a) {
			t.Errorf("%s: %x, %x, %v", name, a, b, err)
		}
		if err := c.read(a); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func same[T comparable](got, want T) error {
	if got != want {
		return fmt.Errorf("%+v, not %+v", got, want)
	}
	return nil
}

// A value that has no name yet is printed as one, and does not stop whoever prints it.
func TestNamesOfTheUnknown(t *testing.T) {
	for _, c := range []struct {
		of   fmt.Stringer
		want string
	}{
		{Timer(99), "timer?"}, {Phase(99), "phase?"}, {Outcome(99), "outcome?"}, {SuperpositionState(99), "superposition?"},
		{MoveMovedOn, "moved on"}, {OutcomeMovedOn, "moved on"},
	} {
		if got := c.of.String(); got != c.want {
			t.Errorf("%q, not %q", got, c.want)
		}
	}
}

// endOf steps a move until it has ended, and gives its result.
func endOf(t *testing.T, m *Move, inputs ...MoveInput) Result {
	t.Helper()
	for i, in := range inputs {
		fx, err := m.Step(in, nil)
		if err != nil {
			t.Fatalf("input %d: %v", i, err)
		}
		for _, f := range fx {
			if d, ok := f.(Done); ok {
				if i != len(inputs)-1 {
					t.Fatalf("ended by input %d: %+v", i, d.Result)
				}
				return d.Result
			}
		}
	}
	t.Fatalf("not ended but waiting for %s", m.Doing())
	return Result{}
}

// A move that is taken up again knows from its record how it ended.
func TestResumedAfterItsEnd(t *testing.T) {
	for outcome, want := range map[MoveOutcome]Outcome{MoveRolledBack: OutcomeRolledBack, MoveMovedOn: OutcomeMovedOn} {
		m := ResumeMove(MoveConfig{Self: 9}, MoveRecord{Origin: testOrigin, Source: 1, Target: 2, Epoch: 1, Outcome: outcome})
		if got := endOf(t, &m, Start{}); got.Outcome != want {
			t.Errorf("%v: %v", outcome, got.Outcome)
		}
	}
}

// Where neither side's word settles it the move ends in doubt and says what is missing; with the source's word that it
// has let go, the target's silence is no doubt.
func TestEndsInDoubt(t *testing.T) {
	report := func(from proto0500.NodeID, r proto0500.Report) Frame {
		r.DaemonOrigin = testOrigin
		return Frame{From: from, Epoch: 5, Message: r}
	}
	phase := Fired{Timer: TimerPhase, Epoch: 5}
	moved := report(1, proto0500.Report{Epoch: 5, State: proto0500.StateMoved})
	for _, c := range []struct {
		name    string
		in      []MoveInput
		outcome Outcome
		text    string
	}{
		{"the source's journal is lost", []MoveInput{report(1, proto0500.Report{Epoch: 4, State: proto0500.StateServing})},
			OutcomeInDoubt, "the source knows only lower epochs"},
		{"the target is silent", []MoveInput{phase, phase}, OutcomeInDoubt, "the target does not answer"},
		{"the source is silent, the target is not live", []MoveInput{phase, report(2, proto0500.Report{Epoch: 5, State: proto0500.StateSealed})},
			OutcomeInDoubt, "the source does not answer, and the target is not live"},
		{"the target's journal is lost", []MoveInput{moved, report(2, proto0500.Report{Epoch: 4})},
			OutcomeInDoubt, "the target knows only lower epochs"},
		{"let go, but never live", []MoveInput{moved, report(2, proto0500.Report{Epoch: 5, State: proto0500.StateSealed})},
			OutcomeInDoubt, "the target says that it was never live"},
		{"live, but without its state", []MoveInput{moved, report(2, proto0500.Report{Epoch: 5, LiveEpoch: 5, State: proto0500.StateServing})},
			OutcomeInDoubt, "lost the daemon's state"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := ResumeMove(MoveConfig{Self: 9}, MoveRecord{Origin: testOrigin, Source: 1, Target: 2, Epoch: 5})
			got := endOf(t, &m, append([]MoveInput{Start{}}, c.in...)...)
			if got.Outcome != c.outcome || !strings.Contains(got.Reason.String(), c.text) {
				t.Errorf("%v: %v", got.Outcome, got.Reason)
			}
		})
	}
	// The source has retired, and the target does not know the epoch any more.
	all := append(toReplay(), replayed(6), sourceReport(proto0500.StateCopying, 8), source(proto0500.CleanupComplete{DaemonOrigin: testOrigin}))
	m, _ := drivenTo(t, MoveConfig{}, all...)
	got := endOf(t, &m, target(proto0500.Report{DaemonOrigin: testOrigin, Epoch: 0}))
	if got.Outcome != OutcomeInDoubt || !strings.Contains(got.Reason.String(), "the target knows only lower epochs") {
		t.Errorf("%v: %v", got.Outcome, got.Reason)
	}
	m = ResumeMove(MoveConfig{Self: 9}, MoveRecord{Origin: testOrigin, Source: 1, Target: 2, Epoch: 5})
	for _, in := range []MoveInput{Start{}, moved, phase} {
		if _, err := m.Step(in, nil); err != nil {
			t.Fatal(err)
		}
	}
	if m.Record().Outcome != MoveCommitted {
		t.Errorf("let go, and the target is silent: %v", m.Record().Outcome)
	}
}

// Reports from before this move end nothing while it is under way, and one of a target that has restored moves it on.
func TestReportsOnTheWay(t *testing.T) {
	begun := sourceReport(proto0500.StateBegun, 5)
	old := proto0500.Report{DaemonOrigin: testOrigin, Epoch: 0, State: proto0500.StateServing, Copy: true}
	for name, c := range map[string]struct {
		path []MoveInput
		in   Frame
	}{
		"source": {toReplay()[:2], source(old)},
		"target": {[]MoveInput{begun}, target(old)},
	} {
		m, _ := drivenTo(t, MoveConfig{}, c.path...)
		before := m
		if fx, err := m.Step(c.in, nil); !isRefused(err, proto0500.RejectWrongState) || len(fx) > 0 || m != before {
			t.Errorf("%s: %v, %v", name, fx, err)
		}
	}
	m, _ := drivenTo(t, MoveConfig{}, append(toReplay()[:2:2],
		target(proto0500.Report{DaemonOrigin: testOrigin, Epoch: 1, State: proto0500.StateRestored, Seq: 5}))...)
	if m.Doing() != "replay" {
		t.Errorf("the target has restored, and the move waits for %s", m.Doing())
	}
	m = ResumeMove(MoveConfig{Self: 9}, MoveRecord{Origin: testOrigin, Source: 1, Target: 2, Epoch: 1, Outcome: MoveCommitted})
	if _, err := m.Step(Start{}, nil); err != nil || m.Doing() != "release" || m.Phase() != PhaseComplete {
		t.Errorf("a committed move goes on with %s, %v", m.Doing(), err)
	}
}

// What a move is taken up from at the source.
func TestGoesOnWhereTheSourceIs(t *testing.T) {
	for state, doing := range map[proto0500.State]string{
		proto0500.StateBegun: "prepare", proto0500.StateCopying: "copy", proto0500.StateFrozen: "cutover",
	} {
		m := ResumeMove(MoveConfig{Self: 9}, MoveRecord{Origin: testOrigin, Source: 1, Target: 2, Epoch: 1})
		for _, in := range []MoveInput{Start{}, sourceReport(state, 5)} {
			if _, err := m.Step(in, nil); err != nil {
				t.Fatal(err)
			}
		}
		if m.Doing() != doing {
			t.Errorf("%v: %s, not %s", state, m.Doing(), doing)
		}
	}
}

// Refusals of what was asked end the move where nothing has begun; the target's key goes on to the source.
func TestRejectedAndSealed(t *testing.T) {
	rejected := func(k proto0500.Kind) proto0500.Message {
		return proto0500.Rejected{DaemonOrigin: testOrigin, Refused: k, Reason: proto0500.RejectWrongPeer}
	}
	begun := sourceReport(proto0500.StateBegun, 5)
	for name, c := range map[string]struct {
		path []MoveInput
		in   Frame
	}{
		"prepare":  {[]MoveInput{begun}, target(rejected(proto0500.KindPrepare))},
		"snapshot": {toReplay()[:2], source(rejected(proto0500.KindTakeSnapshot))},
		"cutover": {append(toReplay(), replayed(6), sourceReport(proto0500.StateCopying, 6)),
			source(rejected(proto0500.KindCutoverNotify))},
	} {
		m, _ := drivenTo(t, MoveConfig{}, append(c.path, c.in)...)
		if m.Doing() != "cancel" {
			t.Errorf("%s rejected: %s", name, m.Doing())
		}
	}
	// One that only is not ready now says so to whoever wants to try again.
	notNow := target(proto0500.Rejected{DaemonOrigin: testOrigin, Refused: proto0500.KindPrepare, Reason: proto0500.RejectNotReady})
	busy, _ := drivenTo(t, MoveConfig{}, begun, notNow)
	if busy.Doing() != "cancel" || busy.why.code != proto0500.CodeNotReady {
		t.Errorf("not ready: %s, %v", busy.Doing(), busy.why.code)
	}
	_, fx := drivenTo(t, MoveConfig{}, begun, target(proto0500.Prepared{DaemonOrigin: testOrigin, SealingKey: [32]byte{1}}))
	sent := false
	for _, f := range fx {
		s, ok := f.(Send)
		if !ok {
			continue
		}
		r, ok := s.Message.(proto0500.Recipient)
		sent = sent || ok && s.To == 1 && r.SealingKey == [32]byte{1}
	}
	if !sent {
		t.Errorf("the source is not told for whom to seal: %v", fx)
	}
	// Another daemon's message is nobody's business here.
	m, _ := drivenTo(t, MoveConfig{}, begun)
	if _, err := m.Step(source(proto0500.CleanupComplete{DaemonOrigin: testOrigin + 1}), nil); !isRefused(err, proto0500.RejectUnknownDaemon) {
		t.Errorf("%v", err)
	}
}

// The target's counters keep a copy alive as the source's do, and show no phase; after the copy nothing counts.
func TestCountersOfTheTarget(t *testing.T) {
	done := func(n uint64) proto0500.Message {
		return proto0500.Progress{DaemonOrigin: testOrigin, Counters: proto0500.CountersOf(
			proto0500.CounterValue{Counter: proto0500.CounterBytesDone, Value: n})}
	}
	m, _ := drivenTo(t, MoveConfig{}, toReplay()[:2]...)
	for _, c := range []struct {
		n     uint64
		alive bool
	}{{10, true}, {10, false}, {20, true}} {
		fx, err := m.Step(target(done(c.n)), nil)
		if err != nil || (len(fx) > 0) != c.alive || m.Phase() != PhaseSnapshot {
			t.Errorf("%d: %v, %v, %v", c.n, m.Phase(), fx, err)
		}
	}
	m, _ = drivenTo(t, MoveConfig{}, toReplay()...)
	if fx, err := m.Step(source(done(30)), nil); err != nil || len(fx) > 0 {
		t.Errorf("after the copy: %v, %v", fx, err)
	}
}
