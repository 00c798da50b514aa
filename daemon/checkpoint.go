package daemon

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"ferry/proto0500"
)

// checkpointer keeps the host's log short: when it has grown by bytesMax, the
// daemon's state becomes a file, and the events through it are dropped. The
// daemon goes on meanwhile. Its fields belong to the writer's goroutine.
type checkpointer struct {
	rep      *replica
	events   *boltLog
	bytesMax int64
	log      *slog.Logger

	since int64 // bytes appended since the log was last cut
	busy  bool
	// hold: a move reads the log; it is not cut.
	hold bool
	work sync.WaitGroup
}

func newCheckpointer(rep *replica, events *boltLog, bytesMax int64, log *slog.Logger) *checkpointer {
	return &checkpointer{rep: rep, events: events, bytesMax: bytesMax, log: log, since: events.bytes()}
}

// appended counts a batch and starts a checkpoint when one is due.
func (c *checkpointer) appended(w *writer, events []Event) {
	for _, e := range events {
		c.since += int64(eventOverhead + len(e.Payload))
	}
	if c.since < c.bytesMax || c.busy || c.hold {
		return
	}
	snap, err := c.rep.d.Snapshot()
	if err != nil {
		c.log.Warn("checkpoint not taken", "err", err)
		c.since = 0 // try again after as much again
		return
	}
	c.busy = true
	base := *c.rep.head.Load()
	c.work.Go(func() {
		err := errors.Join(writeCheckpoint(c.rep.dir, base.Seq, snap), snap.Close())
		w.do(func() { c.finish(base, err) })
	})
}

func (c *checkpointer) finish(base Head, err error) {
	c.busy, c.since = false, 0
	if err == nil && c.hold {
		err = errors.New("a move reads the log")
	}
	if err == nil {
		err = c.events.rebase(base)
	}
	if err != nil {
		c.log.Info("checkpoint dropped", "seq", base.Seq, "err", err)
		_ = os.Remove(checkpointPath(c.rep.dir, base.Seq))
		return
	}
	removeCheckpoints(c.rep.dir, base.Seq)
}

// wait returns when no checkpoint is being written. The writer has ended.
func (c *checkpointer) wait() {
	if c != nil {
		c.work.Wait()
	}
}

func writeCheckpoint(dir string, seq proto0500.Seq, snap Snapshot) error {
	path := checkpointPath(dir, seq)
	f, err := os.OpenFile(path+".tmp", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, io.NewSectionReader(snap, 0, snap.Size()))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		return err
	}
	return syncDir(dir)
}

// hasCheckpoint says whether there is any.
func hasCheckpoint(dir string) bool {
	found, _ := filepath.Glob(filepath.Join(dir, "checkpoint-*[0-9]"))
	return len(found) > 0
}

// removeCheckpoints removes all but the one that ends at seq.
func removeCheckpoints(dir string, seq proto0500.Seq) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	keep := filepath.Base(checkpointPath(dir, seq))
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "checkpoint-") && e.Name() != keep {
			_ = os.Remove(filepath.Join(dir, e.Name()))
		}
	}
}
