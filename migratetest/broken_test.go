package migratetest_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ferry/daemon"
	"ferry/migratetest"
)

// tally is a daemon that is well: it counts, sums, and keeps the largest and the words. The broken ones are it, but for
// one thing.
type tally struct {
	sum, max uint64
	words    map[string]uint64
	last     []byte
}

func newTally() tally { return tally{words: make(map[string]uint64)} }

func (d *tally) Apply(events []daemon.Event) error {
	for _, e := range events {
		if len(e.Payload) != 2 {
			return fmt.Errorf("event %d has %d bytes", e.Seq, len(e.Payload))
		}
		n := uint64(binary.LittleEndian.Uint16(e.Payload))
		d.sum += n
		d.max = max(d.max, n)
		d.words[fmt.Sprint(n%7)]++
		d.last = bytes.Clone(e.Payload)
	}
	return nil
}

type form struct {
	Sum, Max uint64
	Words    map[string]uint64
	Last     []byte
}

func (d *tally) Snapshot() (daemon.Snapshot, error) {
	b, err := json.Marshal(form{d.sum, d.max, d.words, d.last})
	return daemon.Bytes(b), err
}

func (d *tally) Restore(s daemon.State) error {
	b := make([]byte, s.Size())
	if _, err := s.ReadAt(b, 0); err != nil {
		return err
	}
	f := form{Words: make(map[string]uint64)}
	if err := json.Unmarshal(b, &f); err != nil {
		return err
	}
	d.sum, d.max, d.words, d.last = f.Sum, f.Max, f.Words, f.Last
	return nil
}

func (d *tally) Close() error { return nil }

func twoBytes(r *rand.Rand) []byte { return binary.LittleEndian.AppendUint16(nil, uint16(r.Uint32())) }

// recorder is a testing.TB that only takes note.
type recorder struct {
	testing.TB
	errors []string
}

func (r *recorder) Errorf(format string, args ...any) {
	r.errors = append(r.errors, fmt.Sprintf(format, args...))
}

// caught runs the kit, and demands that it says all of want.
func caught(t *testing.T, open func(daemon.Env) daemon.Daemon, opts migratetest.Options, want ...string) {
	t.Helper()
	var kind daemon.Kind
	kind.Name, kind.Schema = "broken", 1
	kind.Open = func(env daemon.Env) (daemon.Daemon, error) { return open(env), nil }
	r := &recorder{TB: t}
	opts.Seed, opts.Generate, opts.Moves = 1, twoBytes, 100
	migratetest.Run(r, kind, opts)
	said := strings.Join(r.errors, "\n")
	t.Log("\n" + said)
	if len(r.errors) != 1 {
		t.Fatalf("%d errors were reported, want one", len(r.errors))
	}
	for _, w := range want {
		if !strings.Contains(said, w) {
			t.Errorf("it does not say %q", w)
		}
	}
}

var clock atomic.Uint64

type moody struct{ tally }

func (d *moody) Apply(events []daemon.Event) error {
	d.sum += clock.Add(1) % 97 // stands for the time, or a random number
	return d.tally.Apply(events)
}

func TestNonDeterministicApply(t *testing.T) {
	caught(t, func(daemon.Env) daemon.Daemon { return &moody{newTally()} }, migratetest.Options{},
		"Apply gave two different states for the same 1 event", "the time, random numbers, the order of a map", "`sum`")
}

type live struct{ tally }

// Snapshot is written when it is read.
func (d *live) Snapshot() (daemon.Snapshot, error) { return &liveSnapshot{d}, nil }

type liveSnapshot struct{ d *live }

func (s *liveSnapshot) bytes() (b [16]byte) {
	binary.LittleEndian.PutUint64(b[:], s.d.sum)
	binary.LittleEndian.PutUint64(b[8:], s.d.max)
	return b
}

func (s *liveSnapshot) ReadAt(p []byte, off int64) (int, error) {
	b := s.bytes()
	return bytes.NewReader(b[:]).ReadAt(p, off)
}

func (s *liveSnapshot) Size() int64  { return 16 }
func (s *liveSnapshot) Close() error { return nil }

func (d *live) Apply(events []daemon.Event) error {
	err := d.tally.Apply(events)
	d.words, d.last = make(map[string]uint64), nil
	return err
}

func (d *live) Restore(s daemon.State) error {
	var b [16]byte
	_, err := s.ReadAt(b[:], 0)
	d.sum, d.max = binary.LittleEndian.Uint64(b[:]), binary.LittleEndian.Uint64(b[8:])
	return err
}

func TestSnapshotThatIsNoCopy(t *testing.T) {
	caught(t, func(daemon.Env) daemon.Daemon { return &live{newTally()} }, migratetest.Options{},
		"the snapshot changed while events were applied: it is not a copy", "Snapshot must return a copy of the state")
}

type forgetful struct{ tally }

func (d *forgetful) Snapshot() (daemon.Snapshot, error) {
	b, err := json.Marshal(form{Sum: d.sum, Words: d.words, Last: d.last})
	return daemon.Bytes(b), err
}

func TestForgottenField(t *testing.T) {
	caught(t, func(daemon.Env) daemon.Daemon { return &forgetful{newTally()} }, migratetest.Options{},
		"after one move at event 1 the daemon's `max` is lost", "Snapshot does not write `max`, or Restore does not read it")
}

// lazy copies when it is first read: too late, and never different when read again.
type lazy struct{ tally }

type lazySnapshot struct {
	d *lazy
	s daemon.Snapshot
}

func (d *lazy) Snapshot() (daemon.Snapshot, error) { return &lazySnapshot{d: d}, nil }

func (s *lazySnapshot) now() daemon.Snapshot {
	if s.s == nil {
		s.s, _ = s.d.tally.Snapshot()
	}
	return s.s
}

func (s *lazySnapshot) ReadAt(p []byte, off int64) (int, error) { return s.now().ReadAt(p, off) }
func (s *lazySnapshot) Size() int64                             { return s.now().Size() }
func (s *lazySnapshot) Close() error                            { return nil }

type borrower struct{ tally }

func (d *borrower) Apply(events []daemon.Event) error {
	err := d.tally.Apply(events)
	d.last = events[len(events)-1].Payload
	return err
}

// shuffled keeps what comes first in a map, so that it shows only now and then.
type shuffled struct{ tally }

func (d *shuffled) Apply(events []daemon.Event) error {
	err := d.tally.Apply(events)
	for w := range d.words {
		if len(d.words) > 3 {
			d.last = []byte(w)
		}
		break
	}
	return err
}

type counted struct{ tally }

func (d *counted) Apply(events []daemon.Event) error {
	d.sum++
	return d.tally.Apply(events)
}

// untidy writes its map in the map's order.
type untidy struct{ tally }

func (d *untidy) Snapshot() (daemon.Snapshot, error) {
	s, err := d.tally.Snapshot()
	b := make([]byte, s.Size())
	if _, err := s.ReadAt(b, 0); err != nil {
		return nil, err
	}
	for w := range d.words {
		b = append(b, " \t\r\n"[w[0]%4])
	}
	return daemon.Bytes(b), err
}

// aging is well for longer than the rules look, so the simulator finds it, and the rules say what it is.
type aging struct{ tally }

func (d *aging) Apply(events []daemon.Event) error {
	if events[len(events)-1].Seq > 40 {
		d.sum += clock.Add(1)
	}
	return d.tally.Apply(events)
}

type panicky struct{ tally }

func (d *panicky) Restore(daemon.State) error { panic("not written yet") }

// generations is well until it has moved three times, and what it carries along is not looked at: only the simulator
// gets that far.
type generations struct {
	tally
	moves byte
}

func (d *generations) Snapshot() (daemon.Snapshot, error) {
	b, err := json.Marshal(form{d.sum, d.max, d.words, []byte{d.moves}})
	return daemon.Bytes(b), err
}

func (d *generations) Restore(s daemon.State) error {
	err := d.tally.Restore(s)
	if d.moves = d.last[0] + 1; d.moves > 2 {
		d.sum = 0
	}
	return err
}

func TestOnlyManyMovesShowIt(t *testing.T) {
	state := func(d daemon.Daemon) ([]byte, error) { return fmt.Append(nil, d.(*generations).sum), nil }
	caught(t, func(daemon.Env) daemon.Daemon { return &generations{tally: newTally()} }, migratetest.Options{State: state},
		"simulated moves, with", "it differs from a twin", ": Restore of ", "`sum`")
}

func TestOtherFaults(t *testing.T) {
	for _, c := range []struct {
		name string
		open func(daemon.Env) daemon.Daemon
		want []string
	}{
		{"borrowed payload", func(daemon.Env) daemon.Daemon { return &borrower{newTally()} }, []string{"payloads are borrowed until Apply returns", "`last`"}},
		{"map order", func(daemon.Env) daemon.Daemon { return &shuffled{newTally()} }, []string{"two different states for the same", "the order of a map", "`last`"}},
		{"late copy", func(daemon.Env) daemon.Daemon { return &lazy{newTally()} }, []string{"is not the state at event", "the restored daemon is at event 1 instead"}},
		{"batches", func(daemon.Env) daemon.Daemon { return &counted{newTally()} }, []string{"2 events gave another state in one Apply than in 2", "count events, not calls"}},
		{"map in the snapshot", func(daemon.Env) daemon.Daemon { return &untidy{newTally()} }, []string{"two snapshots of one state", "Options.State"}},
		{"panic", func(daemon.Env) daemon.Daemon { return &panicky{newTally()} }, []string{"Restore panicked: not written yet"}},
	} {
		t.Run(c.name, func(t *testing.T) { caught(t, c.open, migratetest.Options{}, c.want...) })
	}
}

// Here the making small costs most, and how far it gets does not matter.
func TestOnlyManyEventsShowIt(t *testing.T) {
	caught(t, func(daemon.Env) daemon.Daemon { return &aging{newTally()} }, migratetest.Options{Timeout: 2 * time.Second},
		"Apply gave two different states for the same ", "`sum`")
}

func TestInMemoryDaemon(t *testing.T) {
	migratetest.Run(t, daemon.Kind{
		Name: "tally", Schema: 1, InMemory: true,
		Open: func(daemon.Env) (daemon.Daemon, error) { d := newTally(); return &d, nil },
	}, migratetest.Options{Generate: twoBytes, Moves: 60})
}

func TestDurableDaemonOfTheHosts(t *testing.T) {
	migratetest.Run(t, daemon.Kind{
		Name: "tally", Schema: 1,
		Open: func(daemon.Env) (daemon.Daemon, error) { d := newTally(); return &d, nil },
	}, migratetest.Options{Generate: twoBytes, Moves: 60})
}
