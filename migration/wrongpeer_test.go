package migration

import (
	"errors"
	"fmt"
	"testing"

	"ferry/frame"
	"ferry/proto0500"
)

// who may send a message to a participant, by the migration recorded there (safety.md, section 4).
type who uint8

const (
	anyOrchestrator who = 1 << iota // whoever may orchestrate the daemon
	itsOrchestrator                 // the one recorded for the epoch
	itsPeer                         // the other side recorded for the epoch
	nobody          who = 0         // a participant is never told this
)

// The nodes of the table: what each of them is to a participant whose peer is node 1 and whose orchestrator node 9.
var senders = []struct {
	node         proto0500.NodeID
	orchestrator bool
	what         string
}{
	{1, false, "the peer"},
	{9, true, "its orchestrator"},
	{8, true, "another orchestrator"},
	{3, false, "a former peer"},
	{7, false, "a stranger"},
}

// mayTell is the role of each message, written down once more from safety.md and not from the code.
func mayTell() []struct {
	m    proto0500.Message
	from who
} {
	o, at := testOrigin, last(chain(2))
	events := proto0500.EventsOf(proto0500.Event{Link: at.Head})
	type row = struct {
		m    proto0500.Message
		from who
	}
	return []row{
		{proto0500.Begin{DaemonOrigin: o, TargetNode: 1}, anyOrchestrator},
		{proto0500.Prepare{DaemonOrigin: o, SourceNode: 1}, anyOrchestrator},
		{proto0500.Release{DaemonOrigin: o}, anyOrchestrator},
		{proto0500.Force{DaemonOrigin: o, DeadNode: 1}, anyOrchestrator},
		{proto0500.Query{DaemonOrigin: o}, anyOrchestrator | itsPeer},
		{proto0500.MigrationFailed{DaemonOrigin: o, Reason: proto0500.NewReason(proto0500.CodeStateFailed, "x")}, anyOrchestrator | itsPeer},
		{proto0500.ActivateTarget{DaemonOrigin: o}, anyOrchestrator | itsPeer},
		{proto0500.TakeSnapshot{DaemonOrigin: o, TargetNode: 1}, itsOrchestrator},
		{proto0500.CutoverNotify{DaemonOrigin: o, TargetNode: 1}, itsOrchestrator},
		{proto0500.Recipient{DaemonOrigin: o}, itsOrchestrator},
		{proto0500.BufferedEvents{DaemonOrigin: o}, itsOrchestrator},
		{proto0500.SnapshotReady{DaemonOrigin: o, TotalChunks: 1}, itsPeer},
		{proto0500.Chunk{DaemonOrigin: o, TotalChunks: 1, RawLen: 1, Encoding: proto0500.EncodingZeros}, itsPeer},
		{proto0500.BufferedEvents{DaemonOrigin: o, Events: events}, itsPeer},
		{proto0500.Transfer{DaemonOrigin: o}, itsPeer},
		{proto0500.Seal{DaemonOrigin: o, Seq: at.Seq, Head: at.Head, HeadHash: at.Hash}, itsPeer},
		{proto0500.TransferStatus{DaemonOrigin: o}, itsPeer},
		{proto0500.Have{DaemonOrigin: o}, itsPeer},
		{proto0500.Ack{DaemonOrigin: o, Seq: at.Seq, Head: at.Head, HeadHash: at.Hash}, itsPeer},
		{proto0500.ActivateAck{DaemonOrigin: o}, itsPeer},
		{proto0500.Report{DaemonOrigin: o, State: proto0500.StateServing, Copy: true}, itsPeer},
		{proto0500.Hello{Version: proto0500.HelloVersion}, nobody},
		{proto0500.Prepared{DaemonOrigin: o}, nobody},
		{proto0500.RestoreComplete{DaemonOrigin: o}, nobody},
		{proto0500.ReplayComplete{DaemonOrigin: o}, nobody},
		{proto0500.CleanupComplete{DaemonOrigin: o}, nobody},
		{proto0500.Progress{DaemonOrigin: o}, nobody},
		{proto0500.Rejected{DaemonOrigin: o}, nobody},
		{proto0500.Pace{DaemonOrigin: o}, nobody}, // the shell's
	}
}

// Every message from every wrong peer in every state: WrongPeer, and nothing has changed. The epoch is the one recorded,
// the only one whose roles a node knows.
func TestWrongPeer(t *testing.T) {
	refusedWrong, refusedUnknown := 0, 0
	for state := range participantStates() {
		p, copy := participantIn(t, state)
		rec := p.Record()
		for _, row := range mayTell() {
			for _, s := range senders {
				right := row.from&anyOrchestrator != 0 && s.orchestrator ||
					row.from&itsOrchestrator != 0 && s.node == rec.Orchestrator && s.node != 0 ||
					row.from&itsPeer != 0 && s.node == rec.Peer && s.node != 0
				if right {
					continue
				}
				in := Frame{From: s.node, Orchestrator: s.orchestrator, Epoch: rec.Epoch, Message: row.m}
				if _, begin := row.m.(proto0500.Begin); begin {
					in.Epoch = 0
				}
				want := proto0500.RejectWrongPeer
				if row.from == nobody {
					want = proto0500.RejectUnsupported
				}
				name := fmt.Sprintf("%s: %v from %s", state, row.m.Kind(), s.what)
				if !refusedAs(t, name, p, copy, in, want) {
					continue
				}
				if row.from == nobody {
					refusedUnknown++
				} else {
					refusedWrong++
				}
			}
		}
	}
	t.Logf("%d states: %d messages from a wrong peer refused as WrongPeer, %d that no participant takes as Unsupported",
		len(participantStates()), refusedWrong, refusedUnknown)
}

// refusedAs holds that in is refused for that reason, changes nothing, and does no more than tell its sender so.
func refusedAs(t *testing.T, name string, p Participant, copy Copy, in Frame, want proto0500.RejectReason) bool {
	t.Helper()
	before := p
	fx, err := p.Step(copy, in, nil)
	refused, ok := errors.AsType[*Refused](err)
	switch {
	case !ok:
		t.Errorf("%s: %v, %v", name, err, fx)
	case refused.Reason != want:
		t.Errorf("%s: refused as %v (%s), not as %v", name, refused.Reason, refused.Detail, want)
	case p != before:
		t.Errorf("%s: refused, and changed the participant", name)
	default:
		for _, f := range fx {
			if send, ok := f.(Send); !ok || send.To != in.From || send.Message.Kind() != proto0500.KindRejected {
				t.Errorf("%s: refused with %v", name, short(f))
				return false
			}
		}
		return true
	}
	return false
}

// moveStates are the steps of a move, each with the way there.
func moveStates(t *testing.T) map[string]Move {
	states := map[string]Move{"new": NewMove(MoveConfig{Self: 9, Source: 1, Target: 2, Origin: testOrigin})}
	add := func(name string, answers ...MoveInput) { states[name], _ = drivenTo(t, MoveConfig{}, answers...) }
	lag := append(toReplay(), replayed(6))
	cutover := append(lag[:len(lag):len(lag)], sourceReport(proto0500.StateCopying, 8))
	activate := append(cutover[:len(cutover):len(cutover)], source(proto0500.CleanupComplete{DaemonOrigin: testOrigin}))
	failed := proto0500.MigrationFailed{DaemonOrigin: testOrigin, Reason: proto0500.NewReason(proto0500.CodeStateFailed, "x")}
	add("begin")
	add("prepare", toReplay()[:1]...)
	add("copy", toReplay()[:2]...)
	add("replay", toReplay()...)
	add("lag", lag...)
	add("cutover", cutover...)
	add("activate", activate...)
	add("reinstate", append(activate[:len(activate):len(activate)], target(failed))...)
	add("release", append(activate[:len(activate):len(activate)], target(proto0500.ActivateAck{DaemonOrigin: testOrigin, ReplayedSeq: 8}))...)
	add("cancel", append(toReplay(), Cancel{})...)
	add("done", append(toReplay()[:2:2], source(failed))...)
	rec := MoveRecord{Origin: testOrigin, Source: 1, Target: 2, Epoch: 1}
	resumed := ResumeMove(MoveConfig{Self: 9}, rec)
	if _, err := resumed.Step(Start{}, nil); err != nil {
		t.Fatal(err)
	}
	states["askSource"] = resumed
	if _, err := resumed.Step(Fired{Timer: TimerPhase, Epoch: 1}, nil); err != nil {
		t.Fatal(err)
	}
	states["askTarget"] = resumed
	for name, m := range states {
		if doing := m.Doing(); doing != name && doing != "" {
			t.Fatalf("the way to %s leads to %s", name, doing)
		}
	}
	return states
}

// The same of an orchestrator, at whatever epoch: the source and the target of a move never change.
func TestMoveWrongPeer(t *testing.T) {
	o := testOrigin
	rows := []struct {
		m              proto0500.Message
		source, target bool
	}{
		{proto0500.Report{DaemonOrigin: o}, true, true},
		{proto0500.Rejected{DaemonOrigin: o}, true, true},
		{proto0500.MigrationFailed{DaemonOrigin: o}, true, true},
		{proto0500.Progress{DaemonOrigin: o}, true, true},
		{proto0500.CleanupComplete{DaemonOrigin: o}, true, false},
		{proto0500.Prepared{DaemonOrigin: o}, false, true},
		{proto0500.RestoreComplete{DaemonOrigin: o}, false, true},
		{proto0500.ReplayComplete{DaemonOrigin: o}, false, true},
		{proto0500.ActivateAck{DaemonOrigin: o}, false, true},
	}
	for _, row := range mayTell() {
		switch row.m.(type) {
		case proto0500.Report, proto0500.Rejected, proto0500.MigrationFailed, proto0500.Progress, proto0500.CleanupComplete,
			proto0500.Prepared, proto0500.RestoreComplete, proto0500.ReplayComplete, proto0500.ActivateAck:
		default:
			rows = append(rows, struct {
				m              proto0500.Message
				source, target bool
			}{row.m, false, false})
		}
	}
	states := moveStates(t)
	counts := map[proto0500.RejectReason]int{}
	for name, before := range states {
		for _, row := range rows {
			for _, from := range []proto0500.NodeID{1, 2, 3, 8, 9} {
				if row.source && from == before.cfg.Source || row.target && from == before.cfg.Target {
					continue
				}
				for _, e := range []frame.Epoch{0, 1, 2} {
					want := proto0500.RejectWrongPeer
					if !row.source && !row.target {
						want = proto0500.RejectUnsupported
					}
					m := before
					fx, err := m.Step(Frame{From: from, Orchestrator: true, Epoch: e, Message: row.m}, nil)
					refused, ok := errors.AsType[*Refused](err)
					if !ok || refused.Reason != want || m != before || len(fx) != 0 {
						t.Errorf("%s: %v of epoch %d from node %d: %v, %v", name, row.m.Kind(), e, from, err, fx)
						continue
					}
					counts[want]++
				}
			}
		}
	}
	t.Logf("%d steps: %d messages from a wrong peer refused as WrongPeer, %d that no orchestrator takes as Unsupported",
		len(states), counts[proto0500.RejectWrongPeer], counts[proto0500.RejectUnsupported])
}

// No message is forgotten in the tables above.
func TestMayTellHasEveryMessage(t *testing.T) {
	has := map[proto0500.Kind]bool{}
	for _, row := range mayTell() {
		has[row.m.Kind()] = true
	}
	for k := range 256 {
		kind := proto0500.Kind(k)
		if known := kind.String() != fmt.Sprintf("kind(%d)", k); known != has[kind] {
			t.Errorf("%v: in the table %v", kind, has[kind])
		}
	}
}
