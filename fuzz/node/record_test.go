package node

import (
	"bytes"
	"encoding"
	"encoding/binary"
	"errors"
	"hash/fnv"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"ferry/fuzz/internal/harness"
	"ferry/fuzz/internal/program"
	"ferry/journal"
	"ferry/journal/boltjournal"
	"ferry/migration"
)

// FuzzRecord: what is read as a daemon's or a move's record is written as the same bytes and can be; what is refused
// leaves the receiver alone. mend first gives the bytes their version and size, and a state and live epoch that can be.
func FuzzRecord(f *testing.F) { fuzzRecord(f) }

func fuzzRecord(f harness.F) {
	at := program.ChainAt(3)
	for _, r := range []migration.Record{
		{}, migration.Created(), {Epoch: 9, State: migration.RecordMoved, Peer: 1, Orchestrator: 9},
		{Epoch: 5, LiveEpoch: 3, State: migration.RecordRetired, Peer: 1, SealSeq: at.Seq, SealHead: at.Head, SealHash: at.Hash},
	} {
		b, _ := r.AppendBinary(nil)
		f.Add(b, false, false)
		f.Add(b, false, true)
	}
	b, _ := migration.MoveRecord{Origin: 1, Source: 2, Target: 3, Epoch: 4, Outcome: migration.MoveCommitted}.AppendBinary(nil)
	f.Add(b, true, false)
	f.Add(b, true, true)
	f.Fuzz(func(t *testing.T, b []byte, move, mend bool) {
		if mend {
			b = mendedRecord(b, move)
		}
		if move {
			before := migration.MoveRecord{Origin: 8}
			r := before
			if err := r.UnmarshalBinary(b); refusedRecord(t, err, r == before) {
				return
			}
			if r.Epoch == 0 || r.Source == r.Target || r.Outcome > migration.MoveMovedOn {
				t.Fatalf("%+v", r)
			}
			sameRecord(t, r, b)
			return
		}
		before := migration.Record{Epoch: 8}
		r := before
		if err := r.UnmarshalBinary(b); refusedRecord(t, err, r == before) {
			return
		}
		if harness.Canary() && r.State == migration.RecordRetired {
			r.Peer++
		}
		if err := r.Check(); err != nil {
			t.Fatal(err)
		}
		sameRecord(t, r, b)
		// A machine that starts from it holds its own invariants.
		m := migration.New(migration.Config{Self: program.Self, Origin: program.Origin}, r)
		if bad := m.Check(); bad != nil || m.Record() != r {
			t.Fatalf("%+v: %v, %+v", r, bad, m.Record())
		}
	})
}

func refusedRecord(t *testing.T, err error, unchanged bool) bool {
	t.Helper()
	if err == nil {
		return false
	}
	if !errors.Is(err, migration.ErrRecordBytes) && !errors.Is(err, migration.ErrRecordVersion) && !errors.Is(err, migration.ErrRecordValue) || !unchanged {
		t.Fatalf("%v, unchanged %t", err, unchanged)
	}
	return true
}

func sameRecord(t *testing.T, r encoding.BinaryMarshaler, b []byte) {
	t.Helper()
	harness.Accept("record")
	if again, err := r.MarshalBinary(); err != nil || !bytes.Equal(again, b) {
		t.Fatalf("written again as %x, %v, not %x", again, err, b)
	}
}

func mendedRecord(b []byte, move bool) []byte {
	b = append(bytes.Clone(b), make([]byte, migration.RecordBytes)...)
	b[0] = 1
	if move {
		b[33] &= 3
		return b[:migration.MoveRecordBytes]
	}
	b = b[:migration.RecordBytes]
	b[17] &= 3
	epoch := binary.LittleEndian.Uint64(b[1:])
	binary.LittleEndian.PutUint64(b[9:], min(binary.LittleEndian.Uint64(b[9:]), epoch))
	copy(b[42+16:42+24], b[34:42]) // the seal's sequence, which is there twice
	if migration.RecordState(b[17]) != migration.RecordRetired {
		clear(b[34:])
	}
	return b
}

// journalImage is a journal file with records of several sizes, and what they are. It is made once.
var journalImage = sync.OnceValues(func() ([]byte, map[string][]byte) {
	dir, err := os.MkdirTemp("", "ferry-fuzz-*")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "journal")
	j, err := boltjournal.Open(path, boltjournal.Options{})
	if err != nil {
		panic(err)
	}
	records := map[string][]byte{}
	for i := range 12 {
		key := "record-" + string(rune('a'+i))
		records[key] = bytes.Repeat([]byte{byte(i + 1)}, 7+i*150)
		if err := j.Put([]byte(key), records[key]); err != nil {
			panic(err)
		}
	}
	if err := j.Close(); err != nil {
		panic(err)
	}
	image, err := os.ReadFile(path)
	if err != nil {
		panic(err)
	}
	return image, records
})

// FuzzJournalFile: a journal file that is damaged in any places, or cut, opens or does not, with an error that says so,
// and never gives a record that was not put there. mend gives the two meta pages of bbolt the checksums of what was
// made of them, so that the damage gets behind these; but they point where they did: who can forge a checksum on our
// disk can write any record, too.
func FuzzJournalFile(f *testing.F) { fuzzJournalFile(f) }

func fuzzJournalFile(f harness.F) {
	f.Add([]byte{}, uint16(0), false)
	f.Add([]byte{0, 20, 1}, uint16(0), true)              // a field of the first meta page
	f.Add([]byte{3, 200, 0x80, 4, 9, 1}, uint16(0), true) // in data
	f.Add([]byte{2, 10, 1, 5, 100, 255}, uint16(0), false)
	f.Add([]byte{}, uint16(3), false)
	f.Fuzz(func(t *testing.T, damage []byte, cut uint16, mend bool) {
		intact, records := journalImage()
		image := bytes.Clone(intact)
		page := os.Getpagesize()
		for n := 0; len(damage) >= 3 && n < 16; n, damage = n+1, damage[3:] {
			// The places are dense at the beginning of the pages, where bbolt has its own fields.
			at := (int(damage[0])*page + int(damage[1])) % len(image)
			if damage[0] >= 128 {
				at = (int(damage[0])*311 + int(damage[1])*17) % len(image)
			}
			image[at] ^= damage[2]
		}
		if mend {
			for at := range 2 {
				meta := image[at*page+16:]
				const root, txid = 16, 48
				copy(meta[root:txid], intact[at*page+16+root:])
				sum := fnv.New64a()
				sum.Write(meta[:56])
				binary.LittleEndian.PutUint64(meta[56:], sum.Sum64())
			}
		}
		image = image[:max(0, len(image)-int(cut)*64)]
		path := filepath.Join(t.TempDir(), "journal")
		if err := os.WriteFile(path, image, 0o600); err != nil {
			t.Fatal(err)
		}
		j, err := boltjournal.Open(path, boltjournal.Options{})
		if err != nil {
			journalError(t, err)
			return
		}
		harness.Accept("journal")
		err = j.Range(nil, func(key, value []byte) error {
			if harness.Canary() && string(key) == "record-c" {
				value = value[1:]
			}
			if want, ok := records[string(key)]; !ok || !bytes.Equal(value, want) {
				t.Errorf("record %q of %d bytes was never put", key, len(value))
			}
			if _, err := j.Get(key); errors.Is(err, journal.ErrNotFound) {
				t.Errorf("record %q is there and is not found", key)
			}
			return nil
		})
		if err != nil {
			journalError(t, err)
		}
		for key, want := range records {
			got, err := j.Get([]byte(key))
			if err != nil && !errors.Is(err, journal.ErrNotFound) {
				journalError(t, err)
			} else if err == nil && !bytes.Equal(got, want) {
				t.Errorf("record %q of %d bytes was never put", key, len(got))
			}
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

func journalError(t *testing.T, err error) {
	t.Helper()
	if e, ok := errors.AsType[*boltjournal.FileError](err); !ok || e.Path == "" ||
		!errors.Is(err, boltjournal.ErrCorrupt) && !errors.Is(err, boltjournal.ErrForeign) {
		t.Fatalf("%T: %v", err, err)
	}
}
