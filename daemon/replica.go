package daemon

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync/atomic"

	"ferry/identity"
)

// replica is one copy of a daemon's state at this node: the author's daemon,
// the log of its events, and the chain's head. It belongs to one goroutine at a
// time: the writer's while it serves, the steward's while it follows a source.
// head may be read by any.
//
//	DIR/key.pem            the daemon's private key
//	DIR/state/             Env.Dir, the author's
//	DIR/log.db             events since the checkpoint, unless the daemon keeps its own
//	DIR/checkpoint-SEQ     the state at the log's base (absent: the daemon was empty)
type replica struct {
	kind   Kind
	dir    string
	d      Daemon
	author *slog.Logger  // Env.Log
	key    *identity.Key // Env.Key
	log    eventLog
	head   atomic.Pointer[Head]
}

const (
	stateDir     = "state"
	logFile      = "log.db"
	readBytesMax = 1 << 20
)

// errNoReplica: there is nothing to open in the directory.
var errNoReplica = errors.New("daemon: no state in the directory")

// newReplica opens an empty daemon in dir. It survives a crash, as far as the
// directory above does.
func newReplica(kind Kind, dir string, env Env) (*replica, error) {
	env.Created = true
	r, err := openDaemon(kind, dir, env)
	if err != nil {
		return nil, err
	}
	genesis := Genesis(env.Origin)
	r.head.Store(&genesis)
	err = r.openLog(genesis)
	if err == nil && !kind.InMemory {
		err = errors.Join(r.sync(), syncDir(filepath.Join(dir, stateDir)), syncDir(dir))
	}
	if err != nil {
		return nil, errors.Join(err, r.close())
	}
	return r, nil
}

// openReplica opens what an earlier process left in dir.
func openReplica(kind Kind, dir string, env Env) (*replica, error) {
	state := filepath.Join(dir, stateDir)
	if _, err := os.Stat(state); kind.InMemory || errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s", errNoReplica, dir)
	}
	if !fileExists(filepath.Join(dir, logFile)) {
		return openOwn(kind, dir, env)
	}
	l, err := openBoltLog(filepath.Join(dir, logFile), Genesis(env.Origin))
	if err != nil {
		return nil, err
	}
	base := *l.base.Load()
	// What is not the base's was never finished, or is replaced.
	removeCheckpoints(dir, base.Seq)
	checkpoint := fileExists(checkpointPath(dir, base.Seq))
	// Without a checkpoint the daemon begins anew, as it was created. What it
	// left in its directory is of no known sequence: the state is rebuilt.
	env.Created = !checkpoint
	if err := os.RemoveAll(state); err != nil {
		return nil, errors.Join(err, l.close())
	}
	r, err := openDaemon(kind, dir, env)
	if err != nil {
		return nil, errors.Join(err, l.close())
	}
	r.log = l
	r.head.Store(&base)
	if err := r.rebuild(l, checkpoint); err != nil {
		return nil, errors.Join(err, r.close())
	}
	return r, nil
}

// openOwn opens a daemon that keeps its own log.
func openOwn(kind Kind, dir string, env Env) (*replica, error) {
	r, err := openDaemon(kind, dir, env)
	if err != nil {
		return nil, err
	}
	own, ok := r.d.(Durable)
	if !ok {
		return nil, errors.Join(fmt.Errorf("daemon: %s has no %s, and kind %q does not keep its own log", dir, logFile, kind.Name), r.close())
	}
	r.log = ownLog{own}
	head, err := own.Head()
	if err == nil && head.Link.OriginHash != env.Origin {
		err = fmt.Errorf("daemon: the state in %s is of daemon %016x", dir, uint64(head.Link.OriginHash))
	}
	if err != nil {
		return nil, errors.Join(err, r.close())
	}
	r.head.Store(&head)
	return r, nil
}

// restoreReplica makes a replica from a received snapshot, which ends at base.
// The names of its files are on disk when it returns; the rest is for sync.
func restoreReplica(kind Kind, dir string, env Env, received *stateFile, base Head) (*replica, error) {
	r, err := openDaemon(kind, dir, env)
	if err != nil {
		return nil, err
	}
	if err := r.restore(received, base); err != nil {
		return nil, errors.Join(err, r.close())
	}
	return r, nil
}

func (r *replica) restore(received *stateFile, base Head) error {
	own, durable := r.d.(Durable)
	durable = durable && !r.kind.InMemory
	if !durable && !r.kind.InMemory {
		// The received state is the checkpoint: the daemon may read it, and
		// gets a copy where it wants to take it.
		if err := received.moveTo(checkpointPath(r.dir, base.Seq)); err != nil {
			return err
		}
		received.keep = true
	}
	if err := guard(r.author, "Restore", func() error { return r.d.Restore(received) }); err != nil {
		return err
	}
	if err := r.openLog(base); err != nil {
		return err
	}
	if durable {
		head, err := own.Head()
		if err != nil {
			return err
		}
		if head != base {
			return fmt.Errorf("daemon: restored state ends at event %d, its envelope says %d (or another chain)", head.Seq, base.Seq)
		}
	}
	r.head.Store(&base)
	if r.kind.InMemory {
		return nil
	}
	// What is replayed now is synced once, before the seal is acknowledged: a
	// crash until then ends the attempt.
	if l, ok := r.log.(*boltLog); ok {
		l.relax()
	}
	return errors.Join(syncDir(filepath.Join(r.dir, stateDir)), syncDir(r.dir))
}

func openDaemon(kind Kind, dir string, env Env) (*replica, error) {
	env.Dir = filepath.Join(dir, stateDir)
	if err := os.MkdirAll(env.Dir, 0o700); err != nil {
		return nil, err
	}
	key, err := loadKey(dir, env.Origin)
	if err != nil {
		return nil, err
	}
	env.Key = key
	r := &replica{kind: kind, dir: dir, author: env.Log, key: key}
	err = guard(env.Log, "Open", func() (err error) { r.d, err = kind.Open(env); return err })
	if err == nil && r.d == nil {
		err = errors.New("daemon: Open gave no daemon")
	}
	if err != nil {
		return nil, fmt.Errorf("daemon: kind %q: %w", kind.Name, err)
	}
	return r, nil
}

func (r *replica) openLog(base Head) error {
	switch own, ok := r.d.(Durable); {
	case r.kind.InMemory:
		r.log = &memLog{bytesMax: r.kind.memoryLogBytes}
	case ok:
		r.log = ownLog{own}
	default:
		l, err := openBoltLog(filepath.Join(r.dir, logFile), base)
		if err != nil {
			return err
		}
		r.log = l
	}
	return nil
}

// rebuild brings an empty daemon to its last durable event.
func (r *replica) rebuild(l *boltLog, checkpoint bool) error {
	base := r.head.Load().Seq
	if !checkpoint && base > 0 {
		return fmt.Errorf("daemon: %s is missing", checkpointPath(r.dir, base))
	}
	if checkpoint {
		f, err := openStateFile(checkpointPath(r.dir, base))
		if err != nil {
			return err
		}
		f.keep = true
		err = guard(r.author, "Restore", func() error { return r.d.Restore(f) })
		if err = errors.Join(err, f.close()); err != nil {
			return fmt.Errorf("daemon: checkpoint %d: %w", base, err)
		}
	}
	for {
		events, err := l.read(r.head.Load().Seq+1, readBytesMax)
		if err != nil || len(events) == 0 {
			return err
		}
		head, err := r.apply(events)
		if err != nil {
			return err
		}
		r.head.Store(&head)
	}
}

// extend appends events that follow the head. The daemon comes first: what it
// cannot apply is not in the log, or no restart would get past it. A crash
// between the two takes both back, for the state is rebuilt from the log.
func (r *replica) extend(events []Event) error {
	if len(events) == 0 {
		return nil
	}
	head, err := r.apply(events)
	if err != nil {
		return err
	}
	if err := r.log.append(events); err != nil {
		return fmt.Errorf("daemon: event log: %w", err)
	}
	r.head.Store(&head)
	return nil
}

// apply gives the head that follows.
func (r *replica) apply(events []Event) (Head, error) {
	head := *r.head.Load()
	for i := range events {
		e := &events[i]
		if err := e.Link.Follows(head.Link, head.Hash); err != nil {
			return head, fmt.Errorf("daemon: event %d: %w", e.Seq, err)
		}
		head = Head{Seq: e.Seq, Link: e.Link, Hash: e.Hash}
	}
	if err := guard(r.author, "Apply", func() error { return r.d.Apply(events) }); err != nil {
		return head, fmt.Errorf("daemon: events %d to %d: %w", events[0].Seq, head.Seq, err)
	}
	return head, nil
}

// sync returns when everything through the head survives a crash.
func (r *replica) sync() error {
	return guard(r.author, "Sync", r.log.sync)
}

func (r *replica) snapshot() (snap Snapshot, err error) {
	err = guard(r.author, "Snapshot", func() (err error) { snap, err = r.d.Snapshot(); return err })
	if err != nil {
		return nil, err
	}
	return guardedSnapshot{snap, r.author}, nil
}

type guardedSnapshot struct {
	Snapshot
	author *slog.Logger
}

func (s guardedSnapshot) ReadAt(p []byte, off int64) (n int, err error) {
	// As it is, for io.EOF must stay what it is.
	if bad := guard(s.author, "Snapshot.ReadAt", func() error { n, err = s.Snapshot.ReadAt(p, off); return nil }); bad != nil {
		return 0, bad
	}
	return n, err
}

func (s guardedSnapshot) Close() error { return guard(s.author, "Snapshot.Close", s.Snapshot.Close) }

// digest is the daemon's own, 0 where it has none.
func (r *replica) digest() (sum uint64, err error) {
	d, ok := r.d.(Digester)
	if !ok {
		return 0, nil
	}
	err = guard(r.author, "Digest", func() (err error) { sum, err = d.Digest(); return err })
	return sum, err
}

func (r *replica) close() error {
	var err error
	if r.log != nil {
		err = r.log.close()
	}
	return errors.Join(guard(r.author, "Close", r.d.Close), err)
}

// guard calls the author's code. A panic in it stops that one daemon, as an
// error does, and not the node with all its others.
func guard(log *slog.Logger, what string, f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			log.Error("the daemon's code panicked", "in", what, "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("daemon: %s panicked: %v", what, p)
		}
	}()
	if err := f(); err != nil {
		return fmt.Errorf("daemon: %s: %w", what, err)
	}
	return nil
}
