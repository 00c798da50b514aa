package daemon

import (
	"context"
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
// daemon goes on meanwhile. Its fields belong to the writer's goroutine; a nil
// one, of a daemon whose log is not ours to cut, does nothing.
type checkpointer struct {
	rep      *replica
	events   *boltLog
	bytesMax int64
	log      *slog.Logger

	since  int64              // bytes appended since the log was last cut
	cancel context.CancelFunc // of the checkpoint being written, nil: none is
	held   bool               // a move reads the log; it is not cut
	work   sync.WaitGroup
}

func newCheckpointer(rep *replica, events *boltLog, bytesMax int64, log *slog.Logger) *checkpointer {
	return &checkpointer{rep: rep, events: events, bytesMax: bytesMax, log: log, since: events.bytes()}
}

// keep holds the log, or lets it go. A checkpoint being written is given up by
// either: with the log held it could not be used.
func (c *checkpointer) keep(on bool) {
	if c == nil {
		return
	}
	c.held = on
	if c.cancel != nil {
		c.cancel()
	}
}

// appended counts a batch and starts a checkpoint when one is due.
func (c *checkpointer) appended(w *writer, events []Event) {
	if c == nil {
		return
	}
	for _, e := range events {
		c.since += int64(eventOverhead + len(e.Payload))
	}
	if c.since < c.bytesMax || c.cancel != nil || c.held {
		return
	}
	snap, err := c.rep.snapshot()
	if err != nil {
		c.log.Warn("checkpoint not taken", "err", err)
		c.since = 0 // try again after as much again
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	c.cancel, c.since = cancel, 0
	base := *c.rep.head.Load()
	c.work.Go(func() {
		err := errors.Join(writeCheckpoint(ctx, c.rep.dir, base.Seq, snap), snap.Close())
		w.do(func() { c.finish(base, err) })
	})
}

func (c *checkpointer) finish(base Head, err error) {
	c.cancel()
	c.cancel = nil
	if err == nil && c.held {
		err = context.Canceled
	}
	if err == nil {
		if err = c.events.rebase(base); err != nil {
			// Either base may be on disk: the next open finds out, and
			// removes the checkpoint that does not count.
			c.log.Warn("event log not cut", "seq", base.Seq, "err", err)
			return
		}
	} else {
		c.log.Info("checkpoint dropped", "seq", base.Seq, "err", err)
	}
	removeCheckpoints(c.rep.dir, c.events.base.Load().Seq)
}

// wait gives up the checkpoint being written. The writer has ended.
func (c *checkpointer) wait() {
	if c == nil {
		return
	}
	if c.cancel != nil {
		c.cancel()
	}
	c.work.Wait()
}

func writeCheckpoint(ctx context.Context, dir string, seq proto0500.Seq, snap Snapshot) error {
	path := checkpointPath(dir, seq)
	tmp := path + ".tmp"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	from := &ctxReader{ctx: ctx, r: io.NewSectionReader(snap, 0, snap.Size())}
	n, err := io.Copy(f, from)
	if err == nil && n < snap.Size() {
		err = io.ErrUnexpectedEOF
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		return fmt.Errorf("checkpoint: %w", errors.Join(err, os.Remove(tmp)))
	}
	return syncDir(dir)
}

// ctxReader ends a copy that nobody wants any more.
type ctxReader struct {
	ctx context.Context
	r   io.Reader
}

func (r *ctxReader) Read(b []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(b)
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
