package fuzz

import (
	"errors"
	"reflect"
	"testing"

	"ferry/frame"
	"ferry/migration"
	"ferry/proto0500"
)

// The nodes of a stepped machine: itself, the two it may move between, its orchestrators, and one that is nobody.
var stepNodes = [...]proto0500.NodeID{1, 2, 3, 8, 9, 7}

const (
	stepSelf         proto0500.NodeID = 2
	stepOrchestrator proto0500.NodeID = 9
	stepOrigin       proto0500.Origin = 0xD43
)

// program reads what a machine is told from the fuzzer's bytes. At its end every byte is 0.
type program struct{ rest []byte }

func (p *program) byte() byte {
	if len(p.rest) == 0 {
		return 0
	}
	b := p.rest[0]
	p.rest = p.rest[1:]
	return b
}

func (p *program) node() proto0500.NodeID { return stepNodes[int(p.byte())%len(stepNodes)] }

// chainAt gives the head of the one chain of these programs at a sequence number.
func chainAt(seq byte) migration.Position {
	link := proto0500.Genesis(stepOrigin)
	hash := link.Hash(nil)
	for range seq {
		link, _ = link.Next(hash, 0)
		hash = link.Hash(nil)
	}
	return migration.Position{Seq: link.Sequence, Head: link, Hash: hash}
}

// position is mostly one of the chain, and sometimes one that contradicts it.
func (p *program) position() migration.Position {
	b := p.byte()
	at := chainAt(b & 7)
	if b&0xf0 == 0xf0 {
		at.Hash++
	}
	return at
}

func (p *program) epoch(now frame.Epoch) frame.Epoch {
	switch b := p.byte(); {
	case b < 160:
		return now
	case b < 200:
		return now + 1
	case b < 220:
		return now - min(now, 1)
	default:
		return frame.Epoch(b & 7)
	}
}

func (p *program) reason() proto0500.Reason {
	return proto0500.NewReason(proto0500.Code(p.byte()%7), "fuzz")
}

// message is any valid message about the daemon.
func (p *program) message() proto0500.Message {
	o := stepOrigin
	switch p.byte() % 24 {
	case 0:
		return proto0500.Begin{DaemonOrigin: o, TargetNode: p.node(), Floor: frame.Epoch(p.byte() & 3)}
	case 1:
		return proto0500.Prepare{DaemonOrigin: o, SourceNode: p.node()}
	case 2:
		return proto0500.TakeSnapshot{DaemonOrigin: o, TargetNode: p.node()}
	case 3:
		return proto0500.CutoverNotify{DaemonOrigin: o, TargetNode: p.node()}
	case 4:
		at := p.position()
		return proto0500.Seal{DaemonOrigin: o, Seq: at.Seq, Head: at.Head, HeadHash: at.Hash, StateDigest: uint64(p.byte() & 3)}
	case 5:
		at := p.position()
		return proto0500.Ack{DaemonOrigin: o, Seq: at.Seq, Head: at.Head, HeadHash: at.Hash, StateDigest: uint64(p.byte() & 3)}
	case 6:
		return proto0500.ActivateTarget{DaemonOrigin: o}
	case 7:
		return proto0500.ActivateAck{DaemonOrigin: o, ReplayedSeq: proto0500.Seq(p.byte())}
	case 8:
		return proto0500.MigrationFailed{DaemonOrigin: o, Reason: p.reason()}
	case 9:
		return proto0500.Query{DaemonOrigin: o}
	case 10:
		at := p.position()
		return proto0500.Report{
			DaemonOrigin: o, Epoch: frame.Epoch(p.byte() & 15), LiveEpoch: frame.Epoch(p.byte() & 15),
			State: proto0500.State(p.byte() % 10), Peer: p.node(), Orchestrator: p.node(), Copy: p.byte()&1 == 0,
			Seq: at.Seq, Head: at.Head, HeadHash: at.Hash, Last: true,
		}
	case 11:
		return proto0500.Release{DaemonOrigin: o}
	case 12:
		return proto0500.Force{DaemonOrigin: o, DeadNode: p.node()}
	case 13:
		return proto0500.BufferedEvents{DaemonOrigin: o}
	case 14:
		return proto0500.BufferedEvents{DaemonOrigin: o, Events: proto0500.EventsOf(proto0500.Event{Link: p.position().Head})}
	case 15:
		return proto0500.SnapshotReady{DaemonOrigin: o, TotalChunks: 1}
	case 16:
		return proto0500.Transfer{DaemonOrigin: o, Final: p.byte()&1 == 0}
	case 17:
		return proto0500.TransferStatus{DaemonOrigin: o}
	case 18:
		return proto0500.Recipient{DaemonOrigin: o, SealingKey: [32]byte{p.byte()}}
	case 19:
		return proto0500.Prepared{DaemonOrigin: o, SealingKey: [32]byte{p.byte()}}
	case 20:
		return proto0500.RestoreComplete{DaemonOrigin: o, RestoredSeq: proto0500.Seq(p.byte() & 7)}
	case 21:
		at := p.position()
		return proto0500.ReplayComplete{DaemonOrigin: o, ReplayedSeq: at.Seq, TargetHead: at.Head}
	case 22:
		return proto0500.CleanupComplete{DaemonOrigin: o}
	default:
		return proto0500.Rejected{DaemonOrigin: o, Refused: proto0500.KindPrepare, Reason: proto0500.RejectWrongState}
	}
}

func (p *program) frame(now frame.Epoch) migration.Frame {
	f := migration.Frame{Message: p.message(), From: p.node(), Epoch: p.epoch(now)}
	f.Orchestrator = f.From == 8 || f.From == stepOrchestrator
	switch f.Message.(type) {
	case proto0500.Begin:
		f.Epoch = 0
	case proto0500.Prepare:
		if b := p.byte(); b > 200 {
			r := p.reason()
			f.Verdict = &r
		}
	}
	return f
}

// input is anything that a participant can be told.
func (p *program) input(now frame.Epoch) migration.Input {
	switch p.byte() % 16 {
	case 0:
		at := p.position()
		return migration.Frozen{Epoch: p.epoch(now), Round: uint32(p.byte() & 3), Seq: at.Seq, Head: at.Head, Hash: at.Hash}
	case 1:
		at := p.position()
		return migration.SnapshotComplete{Epoch: p.epoch(now), Seq: at.Seq, Hash: at.Hash}
	case 2:
		at := p.position()
		return migration.Restored{Epoch: p.epoch(now), Seq: at.Seq, Head: at.Head, Hash: at.Hash}
	case 3:
		at := p.position()
		return migration.Event{From: p.node(), Epoch: p.epoch(now), Link: at.Head, Hash: at.Hash}
	case 4:
		return migration.Failed{Epoch: p.epoch(now), Reason: p.reason()}
	case 5:
		return migration.PeerLost{Peer: p.node()}
	case 6:
		return migration.Reconnected{Peer: p.node()}
	case 7:
		return migration.Fired{Timer: migration.Timer(p.byte() % 7), Epoch: p.epoch(now)}
	}
	return p.frame(now)
}

// FuzzParticipant: source and target, told anything by anybody, in any order. What holds (safety.md): its own invariants;
// a refused input changes nothing and does no more than answer its sender; epochs only grow; a changed record is durable
// before anything is said; and what cannot be taken back is not: retired comes from the peer's ack of the last seal alone,
// and ends by its word or by force alone.
func FuzzParticipant(f *testing.F) { fuzzParticipant(f) }

func fuzzParticipant(f fuzzing) {
	// The two ways through a whole move.
	f.Add([]byte{0, 8, 0, 0, 0, 4, 8, 2, 0, 4, 0, 8, 3, 0, 4, 0, 0, 3, 0, 1, 8, 5, 3, 0, 0, 0, 8, 11, 4, 0, 8, 7, 3, 0, 0})
	f.Add([]byte{1, 8, 1, 0, 4, 170, 0, 1, 2, 0, 2, 2, 0, 3, 0, 0, 3, 8, 4, 3, 0, 0, 0, 8, 6, 0, 0})
	f.Fuzz(func(t *testing.T, code []byte) {
		p := &program{rest: code}
		rec := migration.Created()
		copy := migration.Copy{OK: true}
		if p.byte()&1 != 0 {
			rec, copy = migration.Record{}, migration.Copy{}
		} else {
			at := chainAt(3)
			copy.Seq, copy.Head, copy.Hash = at.Seq, at.Head, at.Hash
		}
		m := migration.New(migration.Config{Self: stepSelf, Origin: stepOrigin}, rec)
		for first := true; first || len(p.rest) > 0; first = false {
			var in migration.Input = migration.Boot{}
			if !first {
				in = p.input(m.Epoch())
			}
			stepParticipant(t, &m, copy, in)
		}
	})
}

func stepParticipant(t *testing.T, m *migration.Participant, copy migration.Copy, in migration.Input) {
	t.Helper()
	before := *m
	fx, err := m.Step(copy, in, nil)
	if canary() && err == nil && len(fx) > 3 {
		*m = before // a machine that forgets
	}
	again := before
	fx2, err2 := again.Step(copy, in, nil)
	if again != *m || !reflect.DeepEqual(fx, fx2) || (err == nil) != (err2 == nil) {
		t.Fatalf("%T: not the same twice", in)
	}
	if bad := m.Check(); bad != nil {
		t.Fatalf("%T %+v: %v", in, in, bad)
	}
	if _, boot := in.(migration.Boot); err == nil && !boot {
		accept("step")
	}
	if err != nil {
		if _, ok := errors.AsType[*migration.Refused](err); !ok || *m != before {
			t.Fatalf("%T: refused with %v, changed: %t", in, err, *m != before)
		}
		asked, _ := in.(migration.Frame)
		for _, e := range fx {
			switch e := e.(type) {
			case migration.Send:
				if e.To != asked.From && m.Peer() != e.To {
					t.Fatalf("%T: refused, and told node %d of it", in, e.To)
				}
			case migration.Answer:
			default:
				t.Fatalf("%T: refused with effect %T", in, e)
			}
		}
		return
	}
	was, is := before.Record(), m.Record()
	if is.Epoch < was.Epoch || is.LiveEpoch < was.LiveEpoch {
		t.Fatalf("%T: epoch %d, live %d after %d, %d", in, is.Epoch, is.LiveEpoch, was.Epoch, was.LiveEpoch)
	}
	said, durable := false, was == is
	for _, e := range fx {
		switch e := e.(type) {
		case migration.Persist:
			if e.Record == is {
				durable = true
			}
			if said {
				t.Fatalf("%T: a record after what was said because of it: %+v", in, fx)
			}
		case migration.Send, migration.Answer, migration.SendPrepared:
			said = said || !durable
			if !durable {
				t.Fatalf("%T: said before it was durable: %+v", in, fx)
			}
		}
	}
	if !durable {
		t.Fatalf("%T: the record changed to %+v and is not written", in, is)
	}
	fr, isFrame := in.(migration.Frame)
	if is.State == migration.RecordRetired && was.State != migration.RecordRetired {
		ack, ok := fr.Message.(proto0500.Ack)
		at := migration.Position{Seq: ack.Seq, Head: ack.Head, Hash: ack.HeadHash}
		if !isFrame || !ok || fr.From != was.Peer || fr.Epoch != was.Epoch ||
			at != (migration.Position{Seq: is.SealSeq, Head: is.SealHead, Hash: is.SealHash}) {
			t.Fatalf("retired by %T %+v", in, in)
		}
	}
	if was.State == migration.RecordRetired && is.State == migration.RecordServing {
		failed, refused := fr.Message.(proto0500.MigrationFailed)
		_, forced := fr.Message.(proto0500.Force)
		byPeer := refused && fr.From == was.Peer && fr.Epoch == was.Epoch && !failed.Reason.Retriable()
		if !byPeer && !(forced && fr.Orchestrator) {
			t.Fatalf("a retired source serves again because of %T %+v", in, in)
		}
	}
	if is.LiveEpoch > was.LiveEpoch {
		_, activate := fr.Message.(proto0500.ActivateTarget)
		_, forced := fr.Message.(proto0500.Force)
		if !activate && !forced || before.State() != proto0500.StateSealed {
			t.Fatalf("live from %v by %T %+v", before.State(), in, in)
		}
	}
}

// FuzzMove: an orchestrator, told anything by anybody. Its invariants hold, it is deterministic, a refused input changes
// nothing, an outcome is recorded before it is told, and it is told once.
func FuzzMove(f *testing.F) { fuzzMove(f) }

func fuzzMove(f fuzzing) {
	f.Add([]byte{0, 5, 10, 0, 1, 0, 4, 2, 4, 0, 0, 0, 0, 5, 19, 1, 1, 0, 5, 20, 3, 1, 0, 5, 21, 3, 1, 0})
	f.Add([]byte{1, 1, 4, 3, 6, 0, 4, 2})
	f.Fuzz(func(t *testing.T, code []byte) {
		p := &program{rest: code}
		cfg := migration.MoveConfig{Self: stepOrchestrator, Source: 1, Target: 2, Origin: stepOrigin}
		m := migration.NewMove(cfg)
		if b := p.byte(); b&1 != 0 {
			m = migration.ResumeMove(cfg, migration.MoveRecord{
				Origin: stepOrigin, Source: 1, Target: 2, Epoch: 1 + frame.Epoch(b>>4), Outcome: migration.MoveOutcome(b >> 1 & 3),
			})
		}
		for first := true; first || len(p.rest) > 0; first = false {
			var in migration.MoveInput = migration.Start{}
			if !first {
				in = p.moveInput(m.Record().Epoch)
			}
			stepMove(t, &m, in)
		}
	})
}

func (p *program) moveInput(now frame.Epoch) migration.MoveInput {
	switch p.byte() % 12 {
	case 0:
		return migration.Cancel{}
	case 1:
		return migration.PeerLost{Peer: p.node()}
	case 2:
		return migration.Reconnected{Peer: p.node()}
	case 3, 4:
		return migration.Fired{Timer: migration.Timer(p.byte() % 7), Epoch: p.epoch(now)}
	}
	return p.frame(now)
}

func stepMove(t *testing.T, m *migration.Move, in migration.MoveInput) {
	t.Helper()
	before := *m
	fx, err := m.Step(in, nil)
	if canary() && err == nil && len(fx) > 3 {
		*m = before
	}
	again := before
	fx2, err2 := again.Step(in, nil)
	if again != *m || !reflect.DeepEqual(fx, fx2) || (err == nil) != (err2 == nil) {
		t.Fatalf("%T: not the same twice", in)
	}
	if bad := m.Check(); bad != nil {
		t.Fatalf("%T %+v: %v", in, in, bad)
	}
	if err != nil {
		if _, ok := errors.AsType[*migration.Refused](err); !ok || *m != before || len(fx) != 0 {
			t.Fatalf("%T: refused with %v, effects %v, changed: %t", in, err, fx, *m != before)
		}
		return
	}
	if _, start := in.(migration.Start); !start {
		accept("step")
	}
	if before.Done() {
		t.Fatalf("%T after the end: %v", in, fx)
	}
	durable := before.Record() == m.Record()
	for i, e := range fx {
		switch e := e.(type) {
		case migration.PersistMove:
			durable = e.Record == m.Record()
		case migration.Done:
			if i != len(fx)-1 || !m.Done() {
				t.Fatalf("%T: done, and more: %v", in, fx)
			}
			if e.Result.Outcome == migration.OutcomeCommitted && m.Record().Outcome != migration.MoveCommitted {
				t.Fatalf("%T: told as committed, recorded as %v", in, m.Record().Outcome)
			}
		}
	}
	if !durable && m.Record().Epoch != 0 {
		t.Fatalf("%T: the record changed to %+v and is not written: %v", in, m.Record(), fx)
	}
}
