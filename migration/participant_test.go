package migration

import (
	"errors"
	"testing"

	"ferry/proto0500"
)

// Replaying is the only thing that is done per event; it must not cost an allocation.
func TestEventAllocates(t *testing.T) {
	const events = 2000
	log := chain(events + 3)
	p, copy := participantIn(t, "restored")
	fx := make([]Effect, 0, 4)
	at := 2
	got := testing.AllocsPerRun(events, func() {
		ev := log[at]
		at++
		var err error
		fx, err = p.Step(copy, Event{From: 1, Epoch: tableEpoch, Link: ev.link, Hash: ev.hash}, fx[:0])
		if err != nil || len(fx) != 1 {
			t.Fatal(err, fx)
		}
	})
	if got != 0 {
		t.Errorf("an event costs %v allocations", got)
	}
}

// A report says copy = yes of a state that may count, and of no other.
func TestReport(t *testing.T) {
	for state, want := range map[string]bool{
		"serving": true, "begun": true, "frozen": true, "live": true, "over": true, "retired": true,
		"serving-lost": false, "retired-lost": false, "moved": false, "new": false, "restored": false, "sealed": false, "live-lost": false,
	} {
		p, copy := participantIn(t, state)
		r := p.Report(copy, 7)
		if r.Copy != want || r.State != p.State() || r.Epoch != p.Epoch() || r.BootID != 7 || !r.Last {
			t.Errorf("%s: %+v", state, r)
		}
	}
	// A retired copy that is not what was sealed is none.
	p, copy := participantIn(t, "retired")
	copy.Hash++
	if r := p.Report(copy, 1); r.Copy || r.Seq != 2 {
		t.Errorf("%+v", r)
	}
}

// A retired source is not reinstated with a copy that is not what was sealed: it says so instead.
func TestReinstateNeedsTheSealedCopy(t *testing.T) {
	p, copy := participantIn(t, "retired")
	copy.Seq++
	in := Frame{From: 1, Epoch: tableEpoch, Message: proto0500.MigrationFailed{
		DaemonOrigin: testOrigin, Reason: proto0500.NewReason(proto0500.CodeFactoryNotFound, ""),
	}}
	fx, err := p.Step(copy, in, nil)
	if err != nil || len(fx) != 1 || fx[0] != (Answer{To: 9, Epoch: tableEpoch}) || p.State() != proto0500.StateRetired {
		t.Errorf("%v, %v, %v", fx, err, p.State())
	}
}

// Two digests that are both there must agree; the target checks the same, so that the source's check is a second line.
func TestAckOfAnotherDigest(t *testing.T) {
	p, copy := participantIn(t, "freezing")
	at := last(chain(2))
	fx, err := p.Step(copy, Frozen{Epoch: tableEpoch, Round: 1, Seq: at.Seq, Head: at.Head, Hash: at.Hash, Digest: 7}, nil)
	if err != nil || len(fx) != 1 || fx[0].(ShipSeal).Seal.StateDigest != 7 {
		t.Fatal(fx, err)
	}
	sealed := p
	ack := proto0500.Ack{DaemonOrigin: testOrigin, Seq: at.Seq, Head: at.Head, HeadHash: at.Hash, StateDigest: 8}
	if _, err := p.Step(copy, Frame{From: 1, Epoch: tableEpoch, Message: ack}, nil); err != nil || !p.Serving() {
		t.Errorf("%v, %v", err, p.State())
	}
	for _, digest := range []uint64{0, 7} {
		p := sealed
		ack.StateDigest = digest
		fx, err := p.Step(copy, Frame{From: 1, Epoch: tableEpoch, Message: ack}, nil)
		if err != nil || p.State() != proto0500.StateRetired || fx[0] != (Flush{Seq: 2, Digest: 7}) {
			t.Errorf("digest %d: %v, %v, %v", digest, fx, err, p.State())
		}
	}
}

// A new digest under the acknowledged seal is flushed and compared before it is acknowledged.
func TestSealOfAnotherDigest(t *testing.T) {
	p, copy := participantIn(t, "sealed")
	at := last(chain(2))
	seal := proto0500.Seal{DaemonOrigin: testOrigin, Seq: at.Seq, Head: at.Head, HeadHash: at.Hash, StateDigest: 7}
	fx, err := p.Step(copy, Frame{From: 1, Epoch: tableEpoch, Message: seal}, nil)
	if err != nil || len(fx) == 0 || fx[0] != (Flush{Seq: 2, Digest: 7}) || p.Check() != nil {
		t.Errorf("%v, %v", fx, err)
	}
}

// No epoch is above the highest: it is refused, never wrapped around.
func TestNoEpochLeft(t *testing.T) {
	p, copy := participantIn(t, "serving")
	in := Frame{From: 9, Orchestrator: true, Message: proto0500.Begin{DaemonOrigin: testOrigin, TargetNode: 1, Floor: 1<<64 - 1}}
	_, err := p.Step(copy, in, nil)
	refused, ok := errors.AsType[*Refused](err)
	if !ok || refused.Reason != proto0500.RejectMalformed || p.Epoch() != tableEpoch-1 {
		t.Errorf("%v, epoch %d", err, p.Epoch())
	}
}

// Check finds each of its invariants broken.
func TestCheck(t *testing.T) {
	for want, breakIt := range map[string]func(*Participant){
		"P1": func(p *Participant) { p.rec.LiveEpoch = p.rec.Epoch + 1 },
		"P2": func(p *Participant) { p.rec.State = RecordServing },
		"P3": func(p *Participant) { p.rec.Peer = p.cfg.Self },
		"P4": func(p *Participant) { p.att.head.Hash++ },
		"P5": func(p *Participant) {
			p.rec.State, p.att = RecordServing, attempt{state: proto0500.StateCopying, hasSeal: true}
		},
		"P6": func(p *Participant) { p.word = true },
	} {
		p, _ := participantIn(t, "sealed")
		if err := p.Check(); err != nil {
			t.Fatal(err)
		}
		breakIt(&p)
		broken, ok := errors.AsType[*InvariantError](p.Check())
		if !ok || broken.Number != want {
			t.Errorf("%s: %v", want, broken)
		}
	}
}
