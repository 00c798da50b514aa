package state

import (
	"errors"
	"reflect"
	"testing"

	"ferry/frame"
	"ferry/fuzz/internal/harness"
	"ferry/fuzz/internal/program"
	"ferry/migration"
	"ferry/proto0500"
)

// FuzzParticipant: source and target, told anything by anybody, in any order. What holds (safety.md): its own invariants;
// a refused input changes nothing and does no more than answer its sender; epochs only grow; a changed record is durable
// before anything is said; and what cannot be taken back is not: retired comes from the peer's ack of the last seal alone,
// and ends by its word or by force alone.
func FuzzParticipant(f *testing.F) { fuzzParticipant(f) }

func fuzzParticipant(f harness.F) {
	// The two ways through a whole move.
	f.Add([]byte{0, 8, 0, 0, 0, 4, 8, 2, 0, 4, 0, 8, 3, 0, 4, 0, 0, 3, 0, 1, 8, 5, 3, 0, 0, 0, 8, 11, 4, 0, 8, 7, 3, 0, 0})
	f.Add([]byte{1, 8, 1, 0, 4, 170, 0, 1, 2, 0, 2, 2, 0, 3, 0, 0, 3, 8, 4, 3, 0, 0, 0, 8, 6, 0, 0})
	f.Fuzz(func(t *testing.T, code []byte) {
		p := &program.Program{Rest: code}
		rec := migration.Created()
		copy := migration.Copy{OK: true}
		if p.Byte()&1 != 0 {
			rec, copy = migration.Record{}, migration.Copy{}
		} else {
			at := program.ChainAt(3)
			copy.Seq, copy.Head, copy.Hash = at.Seq, at.Head, at.Hash
		}
		m := migration.New(migration.Config{Self: program.Self, Origin: program.Origin}, rec)
		for first := true; first || len(p.Rest) > 0; first = false {
			var in migration.Input = migration.Boot{}
			if !first {
				in = p.Input(m.Epoch())
			}
			stepParticipant(t, &m, copy, in)
		}
	})
}

func stepParticipant(t *testing.T, m *migration.Participant, copy migration.Copy, in migration.Input) {
	t.Helper()
	before := *m
	fx, err := m.Step(copy, in, nil)
	if harness.Canary() && err == nil && len(fx) > 3 {
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
		harness.Accept("step")
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

func fuzzMove(f harness.F) {
	f.Add([]byte{0, 5, 10, 0, 1, 0, 4, 2, 4, 0, 0, 0, 0, 5, 19, 1, 1, 0, 5, 20, 3, 1, 0, 5, 21, 3, 1, 0})
	f.Add([]byte{1, 1, 4, 3, 6, 0, 4, 2})
	f.Fuzz(func(t *testing.T, code []byte) {
		p := &program.Program{Rest: code}
		cfg := migration.MoveConfig{Self: program.Orchestrator, Source: 1, Target: 2, Origin: program.Origin}
		m := migration.NewMove(cfg)
		if b := p.Byte(); b&1 != 0 {
			m = migration.ResumeMove(cfg, migration.MoveRecord{
				Origin: program.Origin, Source: 1, Target: 2, Epoch: 1 + frame.Epoch(b>>4), Outcome: migration.MoveOutcome(b >> 1 & 3),
			})
		}
		for first := true; first || len(p.Rest) > 0; first = false {
			var in migration.MoveInput = migration.Start{}
			if !first {
				in = p.MoveInput(m.Record().Epoch)
			}
			stepMove(t, &m, in)
		}
	})
}

func stepMove(t *testing.T, m *migration.Move, in migration.MoveInput) {
	t.Helper()
	before := *m
	fx, err := m.Step(in, nil)
	if harness.Canary() && err == nil && len(fx) > 3 {
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
		harness.Accept("step")
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
