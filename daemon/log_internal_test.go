package daemon

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"go.etcd.io/bbolt"

	"ferry/proto0500"
)

var discard = slog.New(slog.DiscardHandler)

func openTestLog(t *testing.T, path string, base Head) *boltLog {
	t.Helper()
	l, err := openBoltLog(path, base)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.close() })
	return l
}

// readAll reads a log in small steps, and checks that they are bounded.
func readAll(t *testing.T, l eventLog, from proto0500.Seq, bytesMax int) (all []Event) {
	t.Helper()
	for {
		events, err := l.read(from, bytesMax)
		if err != nil {
			t.Fatal(err)
		}
		if len(events) == 0 {
			return all
		}
		bytes := 0
		for _, e := range events {
			bytes += len(e.Payload)
		}
		if bytes > bytesMax && len(events) > 1 {
			t.Fatalf("%d bytes at once", bytes)
		}
		all = append(all, events...)
		from = events[len(events)-1].Seq + 1
	}
}

func TestBoltLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log.db")
	l := openTestLog(t, path, Genesis(1))
	events, _ := chain(t, Genesis(1), 300, 10)
	if err := l.append(events[:200]); err != nil {
		t.Fatal(err)
	}
	if err := l.append(events[200:]); err != nil {
		t.Fatal(err)
	}
	if got := readAll(t, l, 1, 55); !reflect.DeepEqual(got, events) {
		t.Fatalf("%d events", len(got))
	}
	base := Head{Seq: 250, Link: events[249].Link, Hash: events[249].Hash}
	if err := l.rebase(base); err != nil {
		t.Fatal(err)
	}
	var trimmed *trimmedError
	if _, err := l.read(250, 100); !errors.As(err, &trimmed) || trimmed.first != 251 {
		t.Fatalf("an event below the base: %v", err)
	}
	if err := l.close(); err != nil {
		t.Fatal(err)
	}
	l = openTestLog(t, path, Genesis(1)) // what is there counts
	if got := *l.base.Load(); got != base {
		t.Fatalf("the base is %+v", got)
	}
	if got := readAll(t, l, 251, 55); !reflect.DeepEqual(got, events[250:]) {
		t.Fatalf("%d events after the base", len(got))
	}
	// Appends delete what the base has made useless, a few at a time.
	end := Head{Seq: 300, Link: events[299].Link, Hash: events[299].Hash}
	for range 20 {
		var more []Event
		more, end = chain(t, end, 1, 0)
		if err := l.append(more); err != nil {
			t.Fatal(err)
		}
	}
	left := 0
	if err := l.db.View(func(tx *bbolt.Tx) error { left = tx.Bucket(bucketEvents).Stats().KeyN; return nil }); err != nil {
		t.Fatal(err)
	}
	if left != 70 {
		t.Errorf("%d events are in the file, 70 count", left)
	}
}

func TestBoltLogHasNoHole(t *testing.T) {
	l := openTestLog(t, filepath.Join(t.TempDir(), "log.db"), Genesis(1))
	events, _ := chain(t, Genesis(1), 5, 1)
	if err := l.append(append(events[:2:2], events[3:]...)); err != nil {
		t.Fatal(err)
	}
	var trimmed *trimmedError
	if _, err := l.read(1, 100); !errors.As(err, &trimmed) {
		t.Errorf("a hole: %v", err)
	}
}

func TestMemLog(t *testing.T) {
	l := &memLog{bytesMax: 10 * memBytes(Event{Payload: make([]byte, 10)})}
	events, _ := chain(t, Genesis(1), 30, 10)
	if err := l.append(events[:5]); err != nil { // nobody wants them
		t.Fatal(err)
	}
	if _, err := l.read(1, 100); err == nil {
		t.Error("read what was not held")
	}
	l.hold(6)
	if err := l.append(events[5:10]); err != nil {
		t.Fatal(err)
	}
	if got := readAll(t, l, 6, 25); !reflect.DeepEqual(got, events[5:10]) {
		t.Fatalf("%d events", len(got))
	}
	// What was read makes room.
	if err := l.append(events[10:20]); err != nil {
		t.Fatal(err)
	}
	if got := readAll(t, l, 11, 25); !reflect.DeepEqual(got, events[10:20]) {
		t.Fatalf("%d events", len(got))
	}
	if l.bytes != 0 {
		t.Errorf("%d bytes held of nothing", l.bytes)
	}
	// Too many: the reader is told, the writer is not.
	if err := l.append(events[19:]); err != nil {
		t.Fatal(err)
	}
	if _, err := l.read(20, 100); !errors.Is(err, errLogFull) {
		t.Errorf("overfull: %v", err)
	}
	l.release()
	l.hold(1)
	if got, err := l.read(1, 100); err != nil || len(got) != 0 {
		t.Errorf("held anew: %d events, %v", len(got), err)
	}
}

func tallyKind(d *tally, created *bool) Kind {
	return Kind{Name: "tally", Open: func(env Env) (Daemon, error) {
		if created != nil {
			*created = env.Created
		}
		return d, nil
	}}
}

// TestReplicaComesBack from its checkpoint and its log.
func TestReplicaComesBack(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "e0")
	env := Env{Origin: 1, Log: discard}
	r, err := newReplica(tallyKind(new(tally), nil), dir, env)
	if err != nil {
		t.Fatal(err)
	}
	events, end := chain(t, Genesis(1), 10, 3)
	if err := errors.Join(r.extend(events[:6]), r.extend(events[6:]), r.close()); err != nil {
		t.Fatal(err)
	}
	var created bool
	d := new(tally)
	reopen := func() {
		t.Helper()
		d = new(tally)
		if r, err = openReplica(tallyKind(d, &created), dir, env); err != nil {
			t.Fatal(err)
		}
		if got := *r.head.Load(); got != end || len(d.got) != 10 {
			t.Fatalf("back at %+v with %d events", got, len(d.got))
		}
	}
	reopen()
	if !created {
		t.Error("a daemon without a checkpoint begins as it was created")
	}
	// A checkpoint that the log does not know of yet does not count.
	base := Head{Seq: 4, Link: events[3].Link, Hash: events[3].Hash}
	write := func() {
		t.Helper()
		if err := writeCheckpoint(context.Background(), dir, base.Seq, Bytes(make([]byte, 4))); err != nil {
			t.Fatal(err)
		}
	}
	write()
	if err := r.close(); err != nil {
		t.Fatal(err)
	}
	reopen()
	if !created || fileExists(checkpointPath(dir, 4)) {
		t.Error("a checkpoint that was never the base is used, or kept")
	}
	write()
	if err := errors.Join(r.log.(*boltLog).rebase(base), r.close()); err != nil {
		t.Fatal(err)
	}
	reopen()
	if created {
		t.Error("created, with a checkpoint")
	}
	if err := r.close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(checkpointPath(dir, 4)); err != nil {
		t.Fatal(err)
	}
	if _, err := openReplica(tallyKind(new(tally), nil), dir, env); err == nil {
		t.Error("opened without its checkpoint")
	}
	if _, err := openReplica(tallyKind(new(tally), nil), filepath.Join(dir, "none"), env); !errors.Is(err, errNoReplica) {
		t.Errorf("opened what is not there: %v", err)
	}
}

// TestReplicaRefuses events that do not follow.
func TestReplicaRefuses(t *testing.T) {
	d := new(tally)
	r := memReplica(d)
	events, _ := chain(t, Genesis(1), 3, 1)
	if err := r.extend(events[1:]); err == nil {
		t.Error("a hole was applied")
	}
	events[1].Link.ParentHash++
	if err := r.extend(events); err == nil || len(d.got) != 0 {
		t.Errorf("a broken chain: %v, %d applied", err, len(d.got))
	}
}

// TestCheckpointIsGivenUp leaves no file behind.
func TestCheckpointIsGivenUp(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	err := writeCheckpoint(ctx, dir, 1, Bytes(make([]byte, 100)))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("given up: %v", err)
	}
	if err := writeCheckpoint(context.Background(), dir, 1, shortSnapshot{}); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("shorter than it says: %v", err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

type shortSnapshot struct{}

func (shortSnapshot) ReadAt([]byte, int64) (int, error) { return 0, io.EOF }
func (shortSnapshot) Size() int64                       { return 5 }
func (shortSnapshot) Close() error                      { return nil }

// TestStateFile: Take moves a received state, and copies one that must stay.
func TestStateFile(t *testing.T) {
	for _, keep := range []bool{false, true} {
		dir := t.TempDir()
		s, err := createStateFile(filepath.Join(dir, "incoming"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.WriteAt([]byte("state and more"), 0); err != nil {
			t.Fatal(err)
		}
		s.size, s.keep = 5, keep
		newWriteback(s.f).wrote(0, 5)
		if err := errors.Join(s.Take(filepath.Join(dir, "mine")), s.close()); err != nil {
			t.Fatal(err)
		}
		if fileExists(filepath.Join(dir, "incoming")) != keep {
			t.Errorf("keep %v: the file is where it should not be", keep)
		}
		got, err := os.ReadFile(filepath.Join(dir, "mine"))
		if err != nil || string(got[:5]) != "state" || keep && len(got) != 5 {
			t.Errorf("keep %v: %q, %v", keep, got, err)
		}
		if err := s.Take(filepath.Join(dir, "no", "where")); err == nil {
			t.Error("taken to nowhere")
		}
	}
}
