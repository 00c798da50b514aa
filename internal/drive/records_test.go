package drive

import (
	"errors"
	"reflect"
	"testing"

	"ferry/frame"
	"ferry/journal"
	"ferry/migration"
	"ferry/proto0500"
)

func TestRecords(t *testing.T) {
	r := Records{J: journal.NewMemory()}
	if rec, err := r.Record(7); err != nil || rec != (migration.Record{}) {
		t.Errorf("a daemon never heard of: %+v, %v", rec, err)
	}
	if _, err := r.Descriptor(7); !errors.Is(err, journal.ErrNotFound) {
		t.Errorf("its descriptor: %v", err)
	}
	want := map[proto0500.Origin]migration.Record{
		7:       {Epoch: 3, LiveEpoch: 3, State: migration.RecordServing, Peer: 5, Orchestrator: 6},
		1 << 63: migration.Created(),
	}
	desc := Descriptor{Name: "d", Kind: "k", Schema: 2, PublicKey: []byte{31: 1}}
	for o, rec := range want {
		if err := errors.Join(r.Put(o, rec), r.PutDescriptor(o, desc)); err != nil {
			t.Fatal(err)
		}
	}
	got := make(map[proto0500.Origin]migration.Record)
	err := r.Each(func(o proto0500.Origin, rec migration.Record) error { got[o] = rec; return nil })
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	if d, err := r.Descriptor(7); err != nil || !reflect.DeepEqual(d, desc) || d.Entity()[31] != 1 {
		t.Errorf("%+v, %v", d, err)
	}
}

func TestRecordsDamaged(t *testing.T) {
	j := journal.NewMemory()
	r := Records{J: j}
	if err := j.Put(key(prefixRecord, 7), []byte{9}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Record(7); !errors.Is(err, migration.ErrRecordVersion) {
		t.Errorf("read: %v", err)
	}
	if err := r.Each(func(proto0500.Origin, migration.Record) error { return nil }); !errors.Is(err, migration.ErrRecordVersion) {
		t.Errorf("each: %v", err)
	}
}

func TestOpenMoves(t *testing.T) {
	r := Records{J: journal.NewMemory()}
	moves := []migration.MoveRecord{
		{Origin: 7, Source: 1, Target: 2, Epoch: 1, Outcome: migration.MoveCommitted},
		{Origin: 7, Source: 2, Target: 1, Epoch: 2},
		{Origin: 8, Source: 2, Target: 1, Epoch: 5},
	}
	for _, m := range moves {
		if err := r.PutMove(m); err != nil {
			t.Fatal(err)
		}
	}
	if open, err := r.OpenMoves(7); err != nil || !reflect.DeepEqual(open, moves[1:2]) {
		t.Errorf("of one: %+v, %v", open, err)
	}
	if open, err := r.OpenMoves(0); err != nil || !reflect.DeepEqual(open, moves[1:]) {
		t.Errorf("of all: %+v, %v", open, err)
	}
}

// TestQueriesTake only what was asked, from who was asked.
func TestQueriesTake(t *testing.T) {
	var qs Queries
	if qs.Take(1, 5, proto0500.Report{}) {
		t.Error("a migration's report was taken")
	}
	if !qs.Take(1, queryTags+1, proto0500.Report{}) {
		t.Error("a late answer was let through")
	}
	q := &query{node: 1, done: make(chan struct{})}
	qs.pending = map[frame.Epoch]*query{queryTags + 1: q}
	qs.Take(2, queryTags+1, proto0500.Report{DaemonOrigin: 9, Last: true}) // another node
	qs.Take(1, queryTags+1, proto0500.Report{DaemonOrigin: 3})
	qs.Take(1, queryTags+1, proto0500.Report{DaemonOrigin: 4, Last: true})
	<-q.done
	if len(q.reports) != 2 || q.reports[0].DaemonOrigin != 3 {
		t.Errorf("%+v", q.reports)
	}
}
