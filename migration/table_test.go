package migration

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"ferry/frame"
	"ferry/proto0500"
)

// Every pair of state and input: what it does, or that it is refused and changes nothing. The participant is node 2, its
// peer node 1, the orchestrator node 9, the attempt's epoch 5; inputs come at that epoch, one below and one above.
func TestTable(t *testing.T) {
	datadriven.RunTest(t, "testdata/table.txt", func(t *testing.T, d *datadriven.TestData) string {
		state := d.CmdArgs[0].Key
		p, copy := participantIn(t, state)
		var out strings.Builder
		for _, at := range []struct {
			name  string
			epoch frame.Epoch
		}{{"", tableEpoch}, {"lower ", tableEpoch - 1}, {"higher ", tableEpoch + 1}} {
			group := newGroups()
			for i, in := range tableInputs(at.epoch) {
				if at.epoch != tableEpoch && reflect.DeepEqual(in, tableInputs(tableEpoch)[i]) {
					continue // belongs to no epoch
				}
				group.add(in.name, outcome(t, p, copy, in.in))
			}
			group.print(&out, at.name)
		}
		return out.String()
	})
}

const tableEpoch frame.Epoch = 5

type groups struct {
	order []string
	of    map[string][]string
}

func newGroups() *groups { return &groups{of: map[string][]string{}} }

func (g *groups) add(name, outcome string) {
	if g.of[outcome] == nil {
		g.order = append(g.order, outcome)
	}
	g.of[outcome] = append(g.of[outcome], name)
}

func (g *groups) print(out *strings.Builder, prefix string) {
	for _, o := range g.order {
		fmt.Fprintf(out, "%s%s\n    %s\n", prefix, strings.Join(g.of[o], ", "), o)
	}
}

func outcome(t *testing.T, p Participant, copy Copy, in Input) string {
	before := p
	fx, err := p.Step(copy, in, nil)
	var list []string
	for _, f := range fx {
		list = append(list, short(f))
	}
	effects := strings.Join(list, ", ")
	if err != nil {
		var refused *Refused
		if !errors.As(err, &refused) {
			t.Errorf("%T: not a *Refused: %v", in, err)
			return "?"
		}
		if p != before {
			t.Errorf("%T: refused (%v) and changed: %+v", in, err, p)
		}
		for _, f := range fx {
			switch f.(type) {
			case Send, Answer:
			default:
				t.Errorf("%T: refused (%v) with effect %T", in, err, f)
			}
		}
		return strings.TrimSpace("refused: " + refused.Reason.String() + " " + effects)
	}
	if err := p.Check(); err != nil {
		t.Errorf("%T: %v", in, err)
	}
	if again, err := before.Step(copy, in, nil); err != nil || len(again) != len(fx) || before != p {
		t.Errorf("%T: not the same twice", in)
	}
	if p.State() == before.State() && p == before && effects == "" {
		return "nothing"
	}
	return strings.TrimSpace(fmt.Sprintf("%v@%d: %s", p.State(), p.Epoch(), effects))
}

func short(f Effect) string {
	switch f := f.(type) {
	case Send:
		text := f.Message.Kind().String()
		switch m := f.Message.(type) {
		case proto0500.MigrationFailed:
			text += "(" + m.Reason.Code.String() + ")"
		case proto0500.Rejected:
			text = "Rejected"
		}
		return fmt.Sprintf("%s→%d", text, f.To)
	case Answer:
		return fmt.Sprintf("report→%d", f.To)
	case SendPrepared:
		return fmt.Sprintf("Prepared→%d", f.To)
	case Persist:
		return fmt.Sprintf("D %v", f.Record.State)
	case Flush:
		return "D flush"
	case Arm:
		return "arm " + f.Timer.String()
	case Disarm:
		return "disarm " + f.Timer.String()
	}
	return strings.ToLower(strings.TrimPrefix(fmt.Sprintf("%T", f), "migration."))
}

type namedInput struct {
	name string
	in   Input
}

// chain makes the links of events 1, 2, 3 …
func chain(n int) []event {
	var log []event
	for range n {
		at := last(log)
		link, _ := at.Head.Next(at.Hash, 0)
		log = append(log, event{link: link, hash: link.Hash(nil)})
	}
	return log
}

func tableInputs(e frame.Epoch) []namedInput {
	at := last(chain(2))
	next := last(chain(3))
	o := testOrigin
	from := func(who proto0500.NodeID, m proto0500.Message) Frame {
		return Frame{From: who, Orchestrator: who == 9, Epoch: e, Message: m}
	}
	failed := func(c proto0500.Code) proto0500.Message {
		return proto0500.MigrationFailed{DaemonOrigin: o, Reason: proto0500.NewReason(c, "x")}
	}
	verdict := func(c proto0500.Code) Frame {
		f := from(9, proto0500.Prepare{DaemonOrigin: o, SourceNode: 1})
		r := proto0500.NewReason(c, "")
		f.Verdict = &r
		return f
	}
	begin := from(9, proto0500.Begin{DaemonOrigin: o, TargetNode: 1})
	begin.Epoch = 0
	other := from(8, begin.Message)
	other.Epoch, other.Orchestrator = 0, true
	report := func(r proto0500.Report) proto0500.Message { r.DaemonOrigin = o; return r }
	return []namedInput{
		{"boot", Boot{}},
		{"begin", begin},
		{"begin of another", other},
		{"prepare", from(9, proto0500.Prepare{DaemonOrigin: o, SourceNode: 1})},
		{"prepare not now", verdict(proto0500.CodeNotReady)},
		{"prepare never", verdict(proto0500.CodeFactoryNotFound)},
		{"TakeSnapshot", from(9, proto0500.TakeSnapshot{DaemonOrigin: o, TargetNode: 1})},
		{"Recipient", from(9, proto0500.Recipient{DaemonOrigin: o, SealingKey: [32]byte{1}})},
		{"CutoverNotify", from(9, proto0500.CutoverNotify{DaemonOrigin: o, TargetNode: 1})},
		{"Frozen", Frozen{Epoch: e, Round: 1, Seq: at.Seq, Head: at.Head, Hash: at.Hash}},
		{"Frozen of another round", Frozen{Epoch: e, Round: 9, Seq: at.Seq, Head: at.Head, Hash: at.Hash}},
		{"ack", from(1, proto0500.Ack{DaemonOrigin: o, Seq: at.Seq, Head: at.Head, HeadHash: at.Hash})},
		{"ack of another seal", from(1, proto0500.Ack{DaemonOrigin: o, Seq: at.Seq, Head: at.Head, HeadHash: 7})},
		{"ActivateAck", from(1, proto0500.ActivateAck{DaemonOrigin: o})},
		{"release", from(9, proto0500.Release{DaemonOrigin: o})},
		{"force", from(9, proto0500.Force{DaemonOrigin: o, DeadNode: 1})},
		{"force of peer", from(1, proto0500.Force{DaemonOrigin: o, DeadNode: 1})},
		{"force against another", from(9, proto0500.Force{DaemonOrigin: o, DeadNode: 3})},
		{"empty BufferedEvents", from(9, proto0500.BufferedEvents{DaemonOrigin: o})},
		{"SnapshotReady", from(1, proto0500.SnapshotReady{DaemonOrigin: o})},
		{"chunk", from(1, proto0500.Chunk{DaemonOrigin: o})},
		{"have", from(1, proto0500.Have{DaemonOrigin: o})},
		{"transfer", from(1, proto0500.Transfer{DaemonOrigin: o})},
		{"transfer status", from(1, proto0500.TransferStatus{DaemonOrigin: o})},
		{"SnapshotComplete", SnapshotComplete{Epoch: e, Seq: at.Seq, Hash: at.Hash}},
		{"Restored", Restored{Epoch: e, Seq: at.Seq, Head: at.Head, Hash: at.Hash}},
		{"Restored otherwise", Restored{Epoch: e, Seq: at.Seq, Head: at.Head, Hash: 7}},
		{"event had", Event{From: 1, Epoch: e, Link: at.Head, Hash: at.Hash}},
		{"event next", Event{From: 1, Epoch: e, Link: next.Head, Hash: next.Hash}},
		{"event that does not follow", Event{From: 1, Epoch: e, Link: proto0500.Link{OriginHash: o, Sequence: 3, ParentHash: 7}}},
		{"event after a gap", Event{From: 1, Epoch: e, Link: proto0500.Link{OriginHash: o, Sequence: 4}}},
		{"seal", from(1, proto0500.Seal{DaemonOrigin: o, Seq: at.Seq, Head: at.Head, HeadHash: at.Hash})},
		{"seal of another payload", from(1, proto0500.Seal{DaemonOrigin: o, Seq: at.Seq, Head: at.Head, HeadHash: 7})},
		{"seal to come", from(1, proto0500.Seal{DaemonOrigin: o, Seq: next.Seq, Head: next.Head, HeadHash: next.Hash})},
		{"ActivateTarget of peer", from(1, proto0500.ActivateTarget{DaemonOrigin: o})},
		{"ActivateTarget of orchestrator", from(9, proto0500.ActivateTarget{DaemonOrigin: o})},
		{"MigrationFailed of peer", from(1, failed(proto0500.CodeStateFailed))},
		{"NotReady of peer", from(1, failed(proto0500.CodeNotReady))},
		{"MigrationFailed of orchestrator", from(9, failed(proto0500.CodeStateFailed))},
		{"query of peer", from(1, proto0500.Query{DaemonOrigin: o})},
		{"query of orchestrator", from(9, proto0500.Query{DaemonOrigin: o})},
		{"report serving", from(1, report(proto0500.Report{Epoch: e, State: proto0500.StateServing, Copy: true}))},
		{"report serving without a copy", from(1, report(proto0500.Report{Epoch: e, State: proto0500.StateServing}))},
		{"report retired", from(1, report(proto0500.Report{Epoch: e, State: proto0500.StateRetired, Copy: true}))},
		{"report of a later epoch", from(1, report(proto0500.Report{Epoch: e + 3}))},
		{"report live", from(1, report(proto0500.Report{Epoch: e, LiveEpoch: e, State: proto0500.StateServing, Copy: true}))},
		{"report live since", from(1, report(proto0500.Report{Epoch: e + 3, LiveEpoch: e + 2, State: proto0500.StateMoved}))},
		{"another daemon", Frame{From: 9, Orchestrator: true, Message: proto0500.Query{DaemonOrigin: o + 1}}},
		{"hello", Frame{From: 1, Message: proto0500.Hello{}}},
		{"CleanupComplete", Frame{From: 1, Message: proto0500.CleanupComplete{DaemonOrigin: o}}},
		{"Prepared", Frame{From: 1, Message: proto0500.Prepared{DaemonOrigin: o}}},
		{"RestoreComplete", Frame{From: 1, Message: proto0500.RestoreComplete{DaemonOrigin: o}}},
		{"ReplayComplete", Frame{From: 1, Message: proto0500.ReplayComplete{DaemonOrigin: o}}},
		{"progress", Frame{From: 1, Message: proto0500.Progress{DaemonOrigin: o}}},
		{"rejected", Frame{From: 1, Message: proto0500.Rejected{DaemonOrigin: o}}},
		{"nothing", Frame{From: 1}},
		{"Failed", Failed{Epoch: e, Reason: proto0500.NewReason(proto0500.CodeStateFailed, "x")}},
		{"lost peer", PeerLost{Peer: 1}},
		{"lost orchestrator", PeerLost{Peer: 9}},
		{"lost another", PeerLost{Peer: 7}},
		{"back peer", Reconnected{Peer: 1}},
		{"back another", Reconnected{Peer: 7}},
		{"timer attempt", Fired{Timer: TimerAttempt, Epoch: e}},
		{"timer blackout", Fired{Timer: TimerBlackout, Epoch: e}},
		{"timer ask", Fired{Timer: TimerAsk, Epoch: e}},
		{"timer retain", Fired{Timer: TimerRetain, Epoch: e}},
		{"timer of a move", Fired{Timer: TimerStep, Epoch: e}},
	}
}

// participantIn brings a participant into a state, through its own inputs.
func participantIn(t *testing.T, state string) (Participant, Copy) {
	t.Helper()
	path, ok := participantStates()[state]
	if !ok {
		t.Fatalf("no such state: %s", state)
	}
	at := last(chain(2))
	copy := Copy{OK: true, Seq: at.Seq, Head: at.Head, Hash: at.Hash}
	in := map[string]Input{}
	for _, i := range tableInputs(tableEpoch) {
		in[i.name] = i.in
	}
	p := New(Config{Self: 2, Origin: testOrigin}, path.rec)
	for _, name := range path.path {
		if _, err := p.Step(copy, in[name], nil); err != nil {
			t.Fatalf("%s: %s: %v", state, name, err)
		}
	}
	return p, path.copy
}

// statePath is the way into a state: from a record, through the inputs of these names. copy is what the host holds there.
type statePath struct {
	rec  Record
	copy Copy
	path []string
}

// participantStates are the states of a participant, in which the tables try every input.
func participantStates() map[string]statePath {
	at := last(chain(2))
	copy := Copy{OK: true, Seq: at.Seq, Head: at.Head, Hash: at.Hash}
	source := Record{Epoch: tableEpoch - 1, LiveEpoch: 2, State: RecordServing}
	target := Record{Epoch: tableEpoch - 1, LiveEpoch: 2, State: RecordMoved, Peer: 3}
	begun := []string{"begin"}
	frozen := []string{"begin", "TakeSnapshot", "CutoverNotify"}
	retired := append(frozen[:3:3], "Frozen", "ack")
	restored := []string{"prepare", "SnapshotComplete", "Restored"}
	return map[string]statePath{
		"new":           {Record{}, Copy{}, nil},
		"serving":       {source, copy, nil},
		"over":          {source, copy, append(begun[:1:1], "timer attempt")},
		"serving-lost":  {source, Copy{}, nil},
		"begun":         {source, copy, begun},
		"copying":       {source, copy, frozen[:2]},
		"freezing":      {source, copy, frozen},
		"frozen":        {source, copy, append(frozen[:3:3], "Frozen")},
		"retired":       {source, copy, retired},
		"retired-lost":  {source, Copy{}, retired},
		"retired-told":  {source, copy, append(retired[:5:5], "ActivateAck")},
		"retired-freed": {source, copy, append(retired[:5:5], "release")},
		"moved":         {source, copy, append(retired[:5:5], "release", "ActivateAck")},
		"refused":       {target, Copy{}, []string{"prepare never"}},
		"prepared":      {target, Copy{}, restored[:1]},
		"prepared-seal": {target, Copy{}, []string{"prepare", "seal to come"}},
		"restoring":     {target, Copy{}, restored[:2]},
		"restored":      {target, Copy{}, restored},
		"sealed":        {target, Copy{}, append(restored[:3:3], "seal")},
		"live":          {target, copy, append(restored[:3:3], "seal", "ActivateTarget of peer")},
		"live-lost":     {target, Copy{}, append(restored[:3:3], "seal", "ActivateTarget of peer")},
		"dropped":       {target, Copy{}, append(restored[:3:3], "timer attempt")},
	}
}
