package daemon

import (
	"fmt"
	"os"
	"path/filepath"

	"ferry/frame"
	"ferry/migration"
)

// A daemon's directory holds one directory for each stay of its state here,
// named by the epoch at which the stay began (0: it was created here):
//
//	DIR/ORIGIN/eEPOCH/    see replica
//	DIR/ORIGIN/base/      nobody's state; see bases
//
// Which of them counts is for the record alone to say.

// stateDir is where the state lies whose authority began at rec.LiveEpoch.
func (s *steward) stateDir(rec migration.Record) string { return s.epochDir(rec.LiveEpoch) }

func (s *steward) epochDir(e frame.Epoch) string {
	return filepath.Join(s.h.daemonDir(s.origin), fmt.Sprintf("e%d", e))
}

// makeEpochDir makes an empty directory whose name survives a crash. What an
// attempt of the same epoch has left there is of no use: it was never live, or
// the record would say so.
func (s *steward) makeEpochDir(e frame.Epoch) (dir string, err error) {
	dir = s.epochDir(e)
	if err := os.RemoveAll(dir); err != nil {
		return dir, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return dir, err
	}
	if err := syncDir(s.h.daemonDir(s.origin)); err != nil {
		return dir, err
	}
	return dir, syncDir(s.h.cfg.Dir)
}

// sweep removes what attempts and stays of earlier processes have left behind.
func (s *steward) sweep(rec migration.Record) {
	base := s.h.daemonDir(s.origin)
	entries, err := os.ReadDir(base)
	if err != nil {
		return
	}
	keep := ""
	if rec.State != migration.RecordNone { // moved: it is dropped later, as a stay
		keep = filepath.Base(s.stateDir(rec))
	}
	if rec.State == migration.RecordServing || s.h.bases.bytesMax < 0 || s.inMemory() {
		s.removeBase()
	}
	for _, e := range entries {
		if !e.IsDir() || e.Name() == keep || e.Name() == baseDir {
			continue
		}
		if dir := filepath.Join(base, e.Name()); s.inMemory() {
			s.removeDir(dir)
		} else {
			// What a crash has left of a daemon's own state may be torn.
			s.leave(dir, false, false)
		}
	}
	_ = os.Remove(base) // where nothing is left
}

// inMemory: nothing is kept of such a daemon.
func (s *steward) inMemory() bool { return s.h.kinds[s.desc.Kind].InMemory }

// leave keeps of an attempt or a stay what the next move to here may use, and
// removes the rest.
func (s *steward) leave(dir string, ownState, instead bool) {
	if err := s.h.bases.keep(s.origin, dir, ownState, instead); err != nil {
		s.log.Warn("nothing is kept for the next move to here", "dir", dir, "err", err)
	}
	s.removeDir(dir)
}

// removeBase: the daemon is here, or nothing may be kept.
func (s *steward) removeBase() { s.removeDir(s.h.bases.path(s.origin)) }

// removeDir removes a stay, its key first.
func (s *steward) removeDir(dir string) {
	if err := wipeKey(dir); err != nil {
		s.log.Warn("the daemon's key cannot be wiped", "dir", dir, "err", err)
	}
	if err := os.RemoveAll(dir); err != nil {
		s.log.Warn("state cannot be removed", "dir", dir, "err", err)
	}
}
