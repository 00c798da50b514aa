package daemon

import (
	"errors"
	"syscall"
	"time"

	"ferry/migration"
)

// A daemon whose disk is full cannot keep what it is told, and an Apply that
// failed leaves it in no known state. Nothing of the batch was accepted, so it
// is opened again from what it has on disk, as after a restart of the process:
// it is read, and as soon as there is room it is written to again. Other
// failures are not of the kind that passes by itself; they wait for a restart.

// openEvery is how long at least lies between two times that a daemon is
// opened again: whoever writes to a full disk would have it opened without end.
const openEvery = time.Second

// diskFull says whether err is of a kind that ends when there is room again.
func diskFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// openSoon has the daemon opened again, if that may help.
func (s *steward) openSoon() {
	if s.halted || s.inMemory() || !diskFull(s.failed) {
		return
	}
	wait := max(openEvery-time.Since(s.reopened), 0)
	time.AfterFunc(wait, func() { s.post(s.openAgain) })
}

func (s *steward) openAgain() {
	rec := s.p.Record()
	if s.halted || !diskFull(s.failed) || s.w != nil || s.out != nil || s.in != nil || rec.State != migration.RecordServing {
		return // it has ended, or is another node's by now
	}
	s.reopened = time.Now()
	if s.rep != nil {
		if err := s.rep.close(); err != nil {
			s.log.Warn("failed daemon closed with an error", "err", err)
		}
		s.rep = nil
	}
	s.failed = nil
	s.open(rec)
	if s.failed != nil {
		s.publish()
		s.openSoon()
		return
	}
	s.p = migration.New(migration.Config{Self: s.h.self, Origin: s.origin}, rec)
	_ = s.step(migration.Boot{})
	if s.w != nil {
		s.log.Info("opened again after its disk was full", "seq", s.rep.head.Load().Seq)
	}
}
