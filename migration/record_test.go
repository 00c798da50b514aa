package migration

import (
	"encoding/hex"
	"errors"
	"testing"

	"ferry/proto0500"
)

func retiredRecord() Record {
	at := last(chain(2))
	return Record{
		Epoch: 5, LiveEpoch: 3, State: RecordRetired, Peer: 0x11, Orchestrator: 0x22,
		SealSeq: at.Seq, SealHead: at.Head, SealHash: at.Hash,
	}
}

// The bytes on disk: version, epoch, live_epoch, state, peer, orchestrator, then the seal.
func TestRecordBytes(t *testing.T) {
	r := retiredRecord()
	r.SealSeq, r.SealHash = 2, 0x0807060504030201
	r.SealHead = proto0500.Link{OriginHash: 0xaa, HorizonEncoded: 0xbb, Sequence: 2, ParentHash: 0xcc}
	const want = "01" + "0500000000000000" + "0300000000000000" + "02" + "1100000000000000" + "2200000000000000" +
		"0200000000000000" + "aa00000000000000bb000000000000000200000000000000cc00000000000000" + "0102030405060708"
	b, err := r.AppendBinary(nil)
	if err != nil || hex.EncodeToString(b) != want {
		t.Fatalf("%x, %v; want %s", b, err, want)
	}
	for _, r := range []Record{{}, Created(), r, {Epoch: 9, State: RecordMoved, Peer: 1}} {
		b, _ := r.AppendBinary(nil)
		var got Record
		if err := got.UnmarshalBinary(b); err != nil || got != r {
			t.Errorf("%+v came back as %+v, %v", r, got, err)
		}
		for n := range len(b) {
			if err := got.UnmarshalBinary(b[:n]); err == nil {
				t.Errorf("%d bytes of %d are taken", n, len(b))
			}
		}
		if err := got.UnmarshalBinary(append(b, 0)); !errors.Is(err, ErrRecordBytes) {
			t.Errorf("a byte left over: %v", err)
		}
	}
}

func TestRecordRefused(t *testing.T) {
	for name, change := range map[string]func(*Record){
		"unknown state":         func(r *Record) { r.State = 4 },
		"live above epoch":      func(r *Record) { r.LiveEpoch = 6 },
		"retired as live":       func(r *Record) { r.LiveEpoch = 5 },
		"retired for nobody":    func(r *Record) { r.Peer = 0 },
		"seal of another link":  func(r *Record) { r.SealSeq++ },
		"serving with a seal":   func(r *Record) { r.State = RecordServing },
		"moved with a seal":     func(r *Record) { r.State = RecordMoved },
		"none with a seal only": func(r *Record) { *r = Record{SealHash: 1} },
	} {
		r := retiredRecord()
		change(&r)
		b, _ := r.AppendBinary(nil)
		got := Created()
		if err := got.UnmarshalBinary(b); !errors.Is(err, ErrRecordValue) || got != Created() {
			t.Errorf("%s: %v, %+v", name, err, got)
		}
	}
	b, _ := retiredRecord().AppendBinary(nil)
	b[0] = 2
	var got Record
	if err := got.UnmarshalBinary(b); !errors.Is(err, ErrRecordVersion) {
		t.Errorf("version 2: %v", err)
	}
}

func TestRecreated(t *testing.T) {
	r, err := Recreated(Record{Epoch: 5, LiveEpoch: 3, State: RecordServing, Peer: 1, Orchestrator: 9})
	if want := (Record{Epoch: 6, LiveEpoch: 6, State: RecordServing}); err != nil || r != want {
		t.Errorf("%+v, %v", r, err)
	}
	for _, r := range []Record{{}, retiredRecord(), {Epoch: 1<<64 - 1, State: RecordServing}} {
		if _, err := Recreated(r); !errors.Is(err, ErrRecordValue) {
			t.Errorf("%+v is created anew: %v", r, err)
		}
	}
}

func TestMoveRecord(t *testing.T) {
	if s := MoveOutcome(4).String(); s != "outcome(4)" {
		t.Error(s)
	}
	r := MoveRecord{Origin: 1, Source: 2, Target: 3, Epoch: 4, Outcome: MoveCommitted}
	b, _ := r.AppendBinary(nil)
	const want = "01" + "0100000000000000" + "0200000000000000" + "0300000000000000" + "0400000000000000" + "01"
	if hex.EncodeToString(b) != want {
		t.Errorf("%x, want %s", b, want)
	}
	var got MoveRecord
	if err := got.UnmarshalBinary(b); err != nil || got != r {
		t.Errorf("%+v, %v", got, err)
	}
	for n := range len(b) {
		if err := got.UnmarshalBinary(b[:n]); err == nil {
			t.Errorf("%d bytes are taken", n)
		}
	}
	if err := got.UnmarshalBinary(append(b, 0)); !errors.Is(err, ErrRecordBytes) {
		t.Errorf("a byte left over: %v", err)
	}
	for _, bad := range []MoveRecord{{Source: 2, Target: 3}, {Source: 2, Target: 2, Epoch: 1}, {Source: 2, Target: 3, Epoch: 1, Outcome: 4}} {
		b, _ := bad.AppendBinary(nil)
		if err := got.UnmarshalBinary(b); !errors.Is(err, ErrRecordValue) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}
