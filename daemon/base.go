package daemon

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"ferry/proto0500"
	"ferry/snapshot"
)

// A base is what a node keeps of a daemon that it does not have: the chunks of
// an attempt that failed, or the state of an earlier stay. The next move to here
// need not send what is in it.
//
//	DIR/ORIGIN/base/chunks    what had arrived of a snapshot, or a checkpoint
//	DIR/ORIGIN/base/state/    the directory of a daemon that keeps its own log
//
// It is never anybody's state: no record names it, and what is taken from it is
// found by digest and verified. It holds no key.
const (
	baseDir    = "base"
	baseNew    = "base.new" // not finished
	baseChunks = "chunks"
)

// bases is what a node keeps of all daemons, within bytesMax.
type bases struct {
	dir      string // the host's
	bytesMax int64  // negative: nothing is kept

	mu    sync.Mutex
	inUse map[proto0500.Origin]int
}

func (b *bases) path(o proto0500.Origin) string {
	return filepath.Join(b.dir, fmt.Sprintf("%016x", uint64(o)), baseDir)
}

// use marks a base as being read, until it is called back.
func (b *bases) use(o proto0500.Origin) (done func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.inUse == nil {
		b.inUse = make(map[proto0500.Origin]int)
	}
	b.inUse[o]++
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.inUse[o]--; b.inUse[o] == 0 {
			delete(b.inUse, o)
		}
	}
}

// evict removes bases that are not in use, the oldest first, until those that
// are left have bytesMax at most. It says whether it removed any.
func (b *bases) evict(bytesMax int64) (any bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	type base struct {
		path  string
		bytes int64
		at    time.Time
		used  bool
	}
	var all []base
	var total int64
	entries, _ := os.ReadDir(b.dir)
	for _, e := range entries {
		origin, err := strconv.ParseUint(e.Name(), 16, 64)
		if err != nil {
			continue
		}
		path := b.path(proto0500.Origin(origin))
		info, err := os.Stat(path)
		if err != nil {
			continue
		}
		bytes := diskBytes(path)
		total += bytes
		all = append(all, base{path, bytes, info.ModTime(), b.inUse[proto0500.Origin(origin)] > 0})
	}
	slices.SortFunc(all, func(x, y base) int { return x.at.Compare(y.at) })
	for _, x := range all {
		if total <= bytesMax {
			return any
		}
		if !x.used && os.RemoveAll(x.path) == nil {
			total, any = total-x.bytes, true
		}
	}
	return any
}

// diskBytes is what a tree takes on the disk: holes are nothing.
func diskBytes(path string) (bytes int64) {
	_ = filepath.WalkDir(path, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return nil
		}
		if info, err := e.Info(); err == nil {
			bytes += fileBytes(info)
		}
		return nil
	})
	return bytes
}

// keep makes a base of what lies in the directory of an attempt or stay,
// which it leaves to be removed. ownState: it may hold a daemon's own state, in
// order. A base of which much more is there is kept instead, unless instead is
// set.
func (b *bases) keep(o proto0500.Origin, dir string, ownState, instead bool) error {
	if b.bytesMax < 0 {
		return nil
	}
	base := b.path(o)
	tmp := filepath.Join(filepath.Dir(base), baseNew)
	if err := os.RemoveAll(tmp); err != nil {
		return err
	}
	from, to := usable(dir, ownState)
	if from == "" {
		return nil
	}
	bytes := diskBytes(from)
	switch {
	case bytes == 0 || bytes > b.bytesMax:
		return nil
	case !instead && bytes < diskBytes(base)/2:
		return nil
	}
	if err := os.Mkdir(tmp, 0o700); err != nil {
		return err
	}
	if err := os.Rename(from, filepath.Join(tmp, to)); err != nil {
		return errors.Join(err, os.RemoveAll(tmp))
	}
	if err := os.RemoveAll(base); err != nil {
		return errors.Join(err, os.RemoveAll(tmp))
	}
	if err := os.Rename(tmp, base); err != nil {
		return err
	}
	b.evict(b.bytesMax)
	return nil
}

// usable is what of a directory a base can be made of.
func usable(dir string, ownState bool) (from, to string) {
	if path := filepath.Join(dir, incomingFile); fileExists(path) {
		return path, baseChunks
	}
	var newest proto0500.Seq
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		name, ok := strings.CutPrefix(e.Name(), "checkpoint-")
		seq, err := strconv.ParseUint(name, 10, 64)
		if ok && err == nil && (from == "" || proto0500.Seq(seq) > newest) {
			newest, from, to = proto0500.Seq(seq), filepath.Join(dir, e.Name()), baseChunks
		}
	}
	// A log of the host's beside it: such a state has no known sequence.
	if path := filepath.Join(dir, stateDir); from == "" && ownState && fileExists(path) && !fileExists(filepath.Join(dir, logFile)) {
		return path, stateDir
	}
	return from, to
}

// openedBase is a base being read.
type openedBase struct {
	io.ReaderAt
	bytes int64
	close func() error
}

// errNoBase: there is nothing.
var errNoBase = errors.New("daemon: no base")

// open opens the bytes that a snapshot of then would have had.
func (b *bases) open(kind Kind, env Env) (*openedBase, error) {
	dir := b.path(env.Origin)
	if b.bytesMax < 0 || kind.InMemory || !fileExists(dir) {
		return nil, errNoBase
	}
	if f, err := openStateFile(filepath.Join(dir, baseChunks)); err == nil {
		return &openedBase{f, f.size, f.close}, nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if !fileExists(filepath.Join(dir, stateDir)) {
		return nil, errors.New("neither chunks nor a state")
	}
	r, err := openDaemon(kind, dir, env)
	if err != nil {
		return nil, err
	}
	snap, err := r.snapshot()
	if err != nil {
		return nil, errors.Join(err, r.close())
	}
	return &openedBase{snap, snap.Size(), func() error { return errors.Join(snap.Close(), r.close()) }}, nil
}

// countedReader tells that the reading of a base gets on.
type countedReader struct {
	r     io.ReaderAt
	stats *moveStats
}

func (c countedReader) ReadAt(p []byte, off int64) (int, error) {
	n, err := c.r.ReadAt(p, off)
	c.stats.add(proto0500.CounterBaseBytes, uint64(n))
	return n, err
}

// turn is a place in the order in which a daemon's base is read, replaced and
// removed: whoever is before must be done.
type turn struct {
	before <-chan struct{}
	done   chan struct{}
}

// nextTurn is the steward's.
func (s *steward) nextTurn() turn {
	t := turn{before: s.baseTurn, done: make(chan struct{})}
	s.baseTurn = t.done
	return t
}

func (t turn) wait() {
	if t.before != nil {
		<-t.before
	}
}

// baseWaitMax is how long an attempt waits for what is still at the base.
const baseWaitMax = 5 * time.Second

// search finds what is here of the daemon already. Whatever is wrong with it,
// the move goes on without.
func (in *inbound) search(kind Kind, env Env) {
	base, opened := in.openBase(kind, env)
	in.mu.Lock()
	defer in.mu.Unlock()
	in.searching, in.base, in.opened = false, base, opened
	if in.waiting {
		in.waiting = false
		in.answer()
	}
}

func (in *inbound) openBase(kind Kind, env Env) (*snapshot.Base, *openedBase) {
	patience := time.NewTimer(baseWaitMax)
	defer patience.Stop()
	if in.turn.before != nil {
		select {
		case <-in.turn.before:
		case <-patience.C:
			return nil, nil
		case <-in.ctx.Done():
			return nil, nil
		}
	}
	done := in.h.bases.use(in.origin)
	opened, err := in.h.bases.open(kind, env)
	if err == nil {
		var base *snapshot.Base
		version, _ := snapshot.VersionFor(in.transfer.StateSize, true) // as open has found it
		base, err = snapshot.NewBase(in.ctx, countedReader{opened, in.stats}, snapshot.BaseConfig{
			StateSize: opened.bytes, ChunkBytes: in.transfer.ChunkSize, Version: version, Limits: in.h.cfg.Limits,
		})
		if err == nil {
			in.s.log.Info("some of it is here from before", "epoch", in.epoch, "bytes", opened.bytes, "chunks", base.Len())
			end := opened.close
			opened.close = func() error { defer done(); return end() }
			return base, opened
		}
		err = errors.Join(err, opened.close())
	}
	done()
	if !errors.Is(err, errNoBase) && in.ctx.Err() == nil {
		in.s.log.Warn("what was here before cannot be used", "epoch", in.epoch, "err", err)
		if err := os.RemoveAll(in.h.bases.path(in.origin)); err != nil {
			in.s.log.Warn("it cannot be removed either", "err", err)
		}
	}
	return nil, nil
}

// wantsBase: the source can use what is here.
func wantsBase(hello any) bool {
	h, ok := hello.(proto0500.Hello)
	return ok && h.Features&proto0500.FeatureChunk != 0
}
