package kv

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"go.etcd.io/bbolt"

	"ferry/daemon"
)

// Snapshot implements [daemon.Daemon]. Nothing is copied: a read transaction
// stays open and the bytes come from the file, whose pages that transaction can
// reach bbolt does not write to again. Two things would spoil this, and both are
// dealt with:
//
//   - A commit that must map a grown file anew waits for every read transaction
//     to end; seconds, while a snapshot travels. So the file is mapped far beyond
//     its size when it is opened (Options.MapBytes). Only a store that outgrows
//     its map while a snapshot is open makes its writers wait for the snapshot's
//     end, and after a restart its map is larger again.
//   - Pages that were free when the transaction began are given to later commits,
//     so the file changes under the reader: harmless to the store, but a chunk
//     read twice would differ. So the list of free pages is committed first, and
//     those pages read as zeros.
//
// What it costs: two syncs, and a file that grows by the pages that commits
// replace while it is open; they are used again when it is closed.
func (s *Store) Snapshot() (daemon.Snapshot, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.db == nil {
		return nil, ErrClosed
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	if err := saveFreelist(s.db); err != nil {
		return nil, fmt.Errorf("kv: snapshot: %w", err)
	}
	f, err := os.Open(s.path)
	if err != nil {
		return nil, fmt.Errorf("kv: snapshot: %w", err)
	}
	tx, err := s.db.Begin(false)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	snap := &snapshot{store: s, f: f, tx: tx, size: tx.Size()}
	if err := snap.readHead(); err != nil {
		return nil, errors.Join(err, tx.Rollback(), f.Close())
	}
	s.snapsMu.Lock()
	s.snaps[snap] = struct{}{}
	s.snapsMu.Unlock()
	return snap, nil
}

// endSnapshots ends those that are open; reading them is ErrClosed from then on.
// bbolt's Close would wait for them.
func (s *Store) endSnapshots() {
	s.snapsMu.Lock()
	defer s.snapsMu.Unlock()
	for snap := range s.snaps {
		if err := snap.end(); err != nil {
			s.log.Warn("ending a snapshot", "err", err)
		}
	}
	clear(s.snaps)
}

type snapshot struct {
	store *Store
	size  int64
	head  []byte // the two meta pages, as of the transaction
	free  []span // bytes that read as zeros

	mu sync.RWMutex // held shared while reading
	f  *os.File     // nil when ended
	tx *bbolt.Tx
}

// readHead takes the two pages that bbolt writes to in place, and from them
// where the free pages are.
func (s *snapshot) readHead() error {
	pageSize := s.tx.DB().Info().PageSize
	w := headWriter{limit: 2 * pageSize}
	if _, err := s.tx.WriteTo(&w); err != nil && !errors.Is(err, errHeadFull) {
		return fmt.Errorf("kv: snapshot: %w", err)
	}
	s.head = w.b
	m, err := readMeta(w.b, s.size)
	if err != nil {
		return err
	}
	s.free, err = m.readFree(s.f)
	return err
}

// ReadAt may be called by many at once.
func (s *snapshot) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("kv: snapshot: negative offset %d", off)
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.f == nil {
		return 0, ErrClosed
	}
	if off >= s.size {
		return 0, io.EOF
	}
	short := int64(len(p)) > s.size-off
	if short {
		p = p[:s.size-off]
	}
	n := 0
	if off < int64(len(s.head)) {
		n = copy(p, s.head[off:])
	}
	if n < len(p) {
		m, err := s.f.ReadAt(p[n:], off+int64(n))
		if n += m; n < len(p) {
			return n, fmt.Errorf("kv: snapshot: %w", err)
		}
	}
	zero(p, off, s.free)
	if short {
		return n, io.EOF
	}
	return n, nil
}

func (s *snapshot) Size() int64 { return s.size }

// Close lets the store use the snapshot's pages again.
func (s *snapshot) Close() error {
	s.store.snapsMu.Lock()
	delete(s.store.snaps, s)
	s.store.snapsMu.Unlock()
	return s.end()
}

func (s *snapshot) end() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.f == nil {
		return nil
	}
	err := errors.Join(s.tx.Rollback(), s.f.Close())
	s.f, s.tx = nil, nil
	return err
}

// headWriter keeps the first limit bytes and then ends the writing.
type headWriter struct {
	b     []byte
	limit int
}

var errHeadFull = errors.New("kv: head taken")

func (w *headWriter) Write(p []byte) (int, error) {
	n := min(len(p), w.limit-len(w.b))
	w.b = append(w.b, p[:n]...)
	if n < len(p) {
		return n, errHeadFull
	}
	return n, nil
}
