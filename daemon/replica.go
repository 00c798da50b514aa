package daemon

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"

	"ferry/proto0500"
)

// replica is one copy of a daemon's state at this node: the author's daemon,
// the log of its events, and the chain's head. It belongs to one goroutine at a
// time: the writer's while it serves, the steward's while it follows a source.
// head may be read by any.
//
//	DIR/state/             Env.Dir, the author's
//	DIR/log.db             events since the checkpoint, unless the daemon keeps its own
//	DIR/checkpoint-SEQ     the state at the log's base (absent: the daemon was empty)
type replica struct {
	kind Kind
	dir  string
	d    Daemon
	log  eventLog
	head atomic.Pointer[Head]
}

const (
	stateDir     = "state"
	logFile      = "log.db"
	readBytesMax = 1 << 20
)

// errNoReplica: there is nothing to open in the directory.
var errNoReplica = errors.New("daemon: no state in the directory")

// newReplica opens an empty daemon in dir.
func newReplica(kind Kind, dir string, env Env) (*replica, error) {
	if err := os.MkdirAll(filepath.Join(dir, stateDir), 0o700); err != nil {
		return nil, err
	}
	env.Created = true
	r, err := openDaemon(kind, dir, env)
	if err != nil {
		return nil, err
	}
	genesis := Genesis(env.Origin)
	r.head.Store(&genesis)
	if err := r.openLog(genesis); err != nil {
		return nil, errors.Join(err, r.d.Close())
	}
	return r, nil
}

// openReplica opens what an earlier process left in dir.
func openReplica(kind Kind, dir string, env Env) (*replica, error) {
	if kind.InMemory {
		return nil, errNoReplica
	}
	state := filepath.Join(dir, stateDir)
	if _, err := os.Stat(state); errors.Is(err, os.ErrNotExist) {
		return nil, errNoReplica
	}
	if fileExists(filepath.Join(dir, logFile)) {
		// Without a checkpoint the daemon begins anew, as it was created.
		env.Created = !hasCheckpoint(dir)
		// The state is rebuilt from the checkpoint and the log; what the
		// daemon left in its directory is of no known sequence.
		if err := os.RemoveAll(state); err != nil {
			return nil, err
		}
		if err := os.MkdirAll(state, 0o700); err != nil {
			return nil, err
		}
	}
	r, err := openDaemon(kind, dir, env)
	if err != nil {
		return nil, err
	}
	if err := r.recover(env.Origin); err != nil {
		return nil, errors.Join(err, r.d.Close())
	}
	return r, nil
}

// restoreReplica makes a replica from a received snapshot, which ends at base.
func restoreReplica(kind Kind, dir string, env Env, received *stateFile, base Head) (*replica, error) {
	if err := os.MkdirAll(filepath.Join(dir, stateDir), 0o700); err != nil {
		return nil, err
	}
	r, err := openDaemon(kind, dir, env)
	if err != nil {
		return nil, err
	}
	fail := func(err error) (*replica, error) { return nil, errors.Join(err, r.close()) }
	_, own := r.d.(Durable)
	if !own && !kind.InMemory {
		// The received state is the checkpoint: the daemon may read it, and
		// gets a copy where it wants to take it.
		if err := received.moveTo(checkpointPath(dir, base.Seq)); err != nil {
			return fail(err)
		}
		received.keep = true
	}
	if err := r.d.Restore(received); err != nil {
		return fail(fmt.Errorf("daemon: restore: %w", err))
	}
	if err := r.openLog(base); err != nil {
		return fail(err)
	}
	if own {
		head, err := r.d.(Durable).Head()
		if err != nil {
			return fail(err)
		}
		if head != base {
			return fail(fmt.Errorf("daemon: restored state ends at event %d, its envelope says %d (or another chain)", head.Seq, base.Seq))
		}
	}
	r.head.Store(&base)
	// What is replayed now is synced once, before the seal is acknowledged: a
	// crash until then ends the attempt.
	if l, ok := r.log.(*boltLog); ok {
		l.relax()
	}
	return r, nil
}

func openDaemon(kind Kind, dir string, env Env) (*replica, error) {
	env.Dir = filepath.Join(dir, stateDir)
	d, err := kind.Open(env)
	if err != nil {
		return nil, fmt.Errorf("daemon: open kind %q: %w", kind.Name, err)
	}
	return &replica{kind: kind, dir: dir, d: d}, nil
}

func (r *replica) openLog(base Head) error {
	switch own, ok := r.d.(Durable); {
	case ok:
		r.log = ownLog{own}
	case r.kind.InMemory:
		r.log = &memLog{bytesMax: memLogBytesMax}
	default:
		l, err := openBoltLog(filepath.Join(r.dir, logFile), base)
		if err != nil {
			return err
		}
		r.log = l
	}
	return nil
}

// recover brings a daemon opened from its directory to its last durable event.
func (r *replica) recover(origin proto0500.Origin) error {
	genesis := Genesis(origin)
	if err := r.openLog(genesis); err != nil {
		return err
	}
	if own, ok := r.d.(Durable); ok {
		head, err := own.Head()
		r.head.Store(&head)
		return err
	}
	l := r.log.(*boltLog)
	base := *l.base.Load()
	r.head.Store(&base)
	if base.Seq > 0 || fileExists(checkpointPath(r.dir, base.Seq)) {
		f, err := openStateFile(checkpointPath(r.dir, base.Seq))
		if err != nil {
			return errors.Join(err, l.close())
		}
		f.keep = true
		err = errors.Join(r.d.Restore(f), f.close())
		if err != nil {
			return errors.Join(fmt.Errorf("daemon: restore checkpoint: %w", err), l.close())
		}
	}
	for {
		events, err := l.read(r.head.Load().Seq+1, readBytesMax)
		if err != nil {
			return errors.Join(err, l.close())
		}
		if len(events) == 0 {
			return nil
		}
		if err := r.apply(events); err != nil {
			return errors.Join(err, l.close())
		}
	}
}

// extend appends events that follow the head: to the log first, so that what
// the daemon has applied is never more than what survives.
func (r *replica) extend(events []Event) error {
	if len(events) == 0 {
		return nil
	}
	if err := r.log.append(events); err != nil {
		return fmt.Errorf("daemon: event log: %w", err)
	}
	return r.apply(events)
}

func (r *replica) apply(events []Event) error {
	head := *r.head.Load()
	for _, e := range events {
		if err := e.Link.Follows(head.Link, head.Hash); err != nil {
			return fmt.Errorf("daemon: event %d: %w", e.Seq, err)
		}
		head = Head{Seq: e.Seq, Link: e.Link, Hash: e.Hash}
	}
	if err := r.d.Apply(events); err != nil {
		return fmt.Errorf("daemon: apply events %d to %d: %w", events[0].Seq, head.Seq, err)
	}
	r.head.Store(&head)
	return nil
}

// sync returns when everything through the head survives a crash.
func (r *replica) sync() error {
	if r.kind.InMemory {
		return nil
	}
	if err := r.log.sync(); err != nil {
		return err
	}
	return syncDir(r.dir)
}

// digest is the daemon's own, 0 where it has none.
func (r *replica) digest() (uint64, error) {
	if d, ok := r.d.(Digester); ok {
		return d.Digest()
	}
	return 0, nil
}

func (r *replica) close() error {
	var err error
	if r.log != nil {
		err = r.log.close()
	}
	return errors.Join(r.d.Close(), err)
}
