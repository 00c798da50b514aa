package kv

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"go.etcd.io/bbolt"

	"ferry/daemon"
	"ferry/proto0500"
)

// The store is one file, with three buckets:
//
//	kv    key                     → value
//	log   seq u64, big endian     → link(32), received_at u64, payload
//	meta  "position"              → Position: chain head and content
const fileName = "kv.db"

var (
	bucketKV    = []byte("kv")
	bucketLog   = []byte("log")
	bucketMeta  = []byte("meta")
	keyPosition = []byte("position")
)

// Store is the daemon: keys, values and the log of the events that made them.
// Apply, Snapshot, Restore and Sync are for one goroutine at a time, as the host
// calls them; everything else may be called at any time, by anybody.
type Store struct {
	origin proto0500.Origin
	path   string
	opts   Options
	log    *slog.Logger

	// mu guards db: held shared by whoever uses it, whole to replace it.
	mu sync.RWMutex
	db *bbolt.DB // nil once closed

	// writing is held by whoever commits, and guards what follows.
	writing sync.Mutex
	hasher  entryHasher
	relaxed bool // commits are not synced: after Restore, until Sync

	// pos is of the last commit; nil once closed.
	pos atomic.Pointer[Position]

	snapsMu sync.Mutex
	snaps   map[*snapshot]struct{}
}

var (
	_ daemon.Daemon   = (*Store)(nil)
	_ daemon.Digester = (*Store)(nil)
	_ daemon.Durable  = (*Store)(nil)
)

// Open opens the store in env.Dir, or makes an empty one there, filled as opts
// says if the daemon is new. A file that another process has open is an error
// within a second.
func Open(env daemon.Env, opts Options) (*Store, error) {
	s := &Store{
		origin: env.Origin,
		path:   filepath.Join(env.Dir, fileName),
		opts:   opts,
		log:    logger(env.Log),
		snaps:  make(map[*snapshot]struct{}),
	}
	if _, err := os.Stat(s.path); errors.Is(err, fs.ErrNotExist) {
		if !env.Created {
			opts.FillBytes = 0 // its state is to come
		}
		if err := create(s.path, env.Origin, opts); err != nil {
			return nil, fmt.Errorf("kv: create %s: %w", s.path, err)
		}
	}
	if err := s.open(false); err != nil {
		return nil, err
	}
	return s, nil
}

// open opens the file and takes its position from it. With relaxed, commits
// are not synced.
func (s *Store) open(relaxed bool) error {
	db, err := openFile(s.path, s.opts, relaxed)
	if err != nil {
		return err
	}
	pos, err := readStart(db, s.origin)
	if err != nil {
		return errors.Join(err, db.Close())
	}
	s.db, s.relaxed = db, relaxed
	s.pos.Store(&pos)
	return nil
}

// readStart reads the position of a file just opened, and holds it against the
// last entry of the log.
func readStart(db *bbolt.DB, origin proto0500.Origin) (pos Position, err error) {
	err = guard("file", func() error {
		return db.View(func(tx *bbolt.Tx) error {
			for _, name := range [][]byte{bucketKV, bucketLog, bucketMeta} {
				if tx.Bucket(name) == nil {
					return &CorruptError{What: "file", Err: fmt.Errorf("no bucket %q", name)}
				}
			}
			if pos, err = readPosition(tx.Bucket(bucketMeta).Get(keyPosition)); err != nil {
				return err
			}
			if got := pos.Head.Link.OriginHash; got != origin {
				return &OriginError{Got: got, Want: origin}
			}
			return checkEnd(tx.Bucket(bucketLog), pos.Head)
		})
	})
	return pos, err
}

// checkEnd says whether the log ends with head.
func checkEnd(log *bbolt.Bucket, head daemon.Head) error {
	end := daemon.Genesis(head.Link.OriginHash)
	if k, v := log.Cursor().Last(); k != nil {
		e, err := readEntry(k, v)
		if err != nil {
			return err
		}
		end = daemon.Head{Seq: e.Seq, Link: e.Link, Hash: e.Hash}
	}
	if end != head {
		return &CorruptError{What: "log", Err: fmt.Errorf("ends at %d with hash %016x, but the head is %d with %016x",
			end.Seq, end.Hash, head.Seq, head.Hash)}
	}
	return nil
}

// Apply implements [daemon.Daemon]: one transaction for all of events. They must
// follow the chain's head; the first that does not, or whose payload cannot be
// read, is an *[EventError], and none of them was applied.
func (s *Store) Apply(events []daemon.Event) error {
	if len(events) == 0 {
		return nil
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.db == nil {
		return ErrClosed
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	pos := *s.pos.Load()
	entries := newEntryWriter(events)
	err := s.db.Update(func(tx *bbolt.Tx) error {
		kv, log := tx.Bucket(bucketKV), tx.Bucket(bucketLog)
		log.FillPercent = 1 // it only ever grows at its end
		for i := range events {
			e := &events[i]
			if err := e.Link.Follows(pos.Head.Link, pos.Head.Hash); err != nil {
				return &EventError{Seq: e.Seq, Err: err}
			}
			if err := s.do(kv, e.Payload, &pos.Content); err != nil {
				return &EventError{Seq: e.Seq, Err: err}
			}
			if err := log.Put(entries.next(e)); err != nil {
				return &EventError{Seq: e.Seq, Err: err}
			}
			pos.Head = daemon.Head{Seq: e.Seq, Link: e.Link, Hash: e.Hash}
		}
		return tx.Bucket(bucketMeta).Put(keyPosition, pos.append(nil))
	})
	if err != nil {
		return err
	}
	s.pos.Store(&pos)
	return nil
}

// do carries out one command, and keeps the sum of the content up.
func (s *Store) do(kv *bbolt.Bucket, payload []byte, content *Content) error {
	c, err := Decode(payload)
	if err != nil {
		return err
	}
	if old := kv.Get(c.Key); old != nil {
		content.remove(s.hasher.hash(c.Key, old))
	}
	if c.Op == OpDelete {
		return kv.Delete(c.Key)
	}
	content.add(s.hasher.hash(c.Key, c.Value))
	return kv.Put(c.Key, c.Value)
}

// Position is where the store stands after the last applied batch.
func (s *Store) Position() (Position, error) {
	if p := s.pos.Load(); p != nil {
		return *p, nil
	}
	return Position{}, ErrClosed
}

// Head implements [daemon.Durable].
func (s *Store) Head() (daemon.Head, error) {
	p, err := s.Position()
	return p.Head, err
}

// Digest implements [daemon.Digester]. It is kept up with each write, so asking
// costs nothing; see [Position.Digest] for what it is of.
func (s *Store) Digest() (uint64, error) {
	p, err := s.Position()
	if err != nil {
		return 0, err
	}
	return p.Digest(), nil
}

// Sync implements [daemon.Durable].
func (s *Store) Sync() error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.db == nil {
		return ErrClosed
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	if !s.relaxed {
		return nil
	}
	if err := s.db.Sync(); err != nil {
		return fmt.Errorf("kv: sync %s: %w", s.path, err)
	}
	s.relaxed, s.db.NoSync = false, false
	return nil
}

// Get is a copy of the value of key, and whether there is one.
func (s *Store) Get(key []byte) (value []byte, ok bool, err error) {
	err = s.view(func(tx *bbolt.Tx) error {
		if v := tx.Bucket(bucketKV).Get(key); v != nil {
			value, ok = append([]byte{}, v...), true
		}
		return nil
	})
	return value, ok, err
}

// Recount walks the whole store. It gives the position that the store says it
// has and the content that is really there, both of one moment; they are equal
// in a store that is well. It reads everything, while writes go on.
func (s *Store) Recount() (said Position, counted Content, err error) {
	err = s.view(func(tx *bbolt.Tx) error {
		if said, err = readPosition(tx.Bucket(bucketMeta).Get(keyPosition)); err != nil {
			return err
		}
		counted = count(tx)
		return nil
	})
	return said, counted, err
}

func count(tx *bbolt.Tx) (counted Content) {
	var h entryHasher
	c := tx.Bucket(bucketKV).Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		counted.add(h.hash(k, v))
	}
	return counted
}

// Events implements [daemon.Durable], with a short read transaction.
func (s *Store) Events(from proto0500.Seq, bytesMax int) (events []daemon.Event, err error) {
	err = s.view(func(tx *bbolt.Tx) error {
		var key [8]byte
		binary.BigEndian.PutUint64(key[:], uint64(from))
		c := tx.Bucket(bucketLog).Cursor()
		bytes := 0
		for k, v := c.Seek(key[:]); k != nil && (len(events) == 0 || bytes < bytesMax); k, v = c.Next() {
			e, err := readEntry(k, v)
			if err != nil {
				return err
			}
			e.Payload = append([]byte{}, e.Payload...)
			bytes += len(e.Payload)
			events = append(events, e)
		}
		return nil
	})
	return events, err
}

func (s *Store) view(fn func(*bbolt.Tx) error) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.db == nil {
		return ErrClosed
	}
	return s.db.View(fn)
}

// Close implements [daemon.Daemon]. Snapshots that are still open end with it.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.db == nil {
		return nil
	}
	s.endSnapshots()
	// Only for speed: without the list the next Open walks every page.
	err := saveFreelist(s.db)
	err = errors.Join(err, s.db.Close())
	s.db = nil
	s.pos.Store(nil)
	return err
}
