package daemon_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync/atomic"
	"syscall"
	"testing"

	"ferry/daemon"
)

// brim is a counter that cannot be written to while its disk is full.
type brim struct {
	*counter
	full *atomic.Pointer[error]
}

func (b brim) Apply(events []daemon.Event) error {
	if err := b.full.Load(); err != nil {
		return *err
	}
	return b.counter.Apply(events)
}

// TestDiskFull: a daemon whose disk is full is opened again, from its log and checkpoint, and takes writes once there is
// room; what it had accepted is there. Another failure waits for a restart.
func TestDiskFull(t *testing.T) {
	for _, c := range []struct {
		err   error
		again bool
	}{
		{fmt.Errorf("put: %w", &fs.PathError{Op: "write", Path: "state", Err: syscall.ENOSPC}), true},
		{syscall.EDQUOT, true},
		{syscall.EIO, false},
	} {
		t.Run(c.err.Error(), func(t *testing.T) {
			w := newWorld(t, "a", "o")
			var full atomic.Pointer[error]
			opened := make(chan struct{}, 8)
			a := w.run("a", func(cfg *daemon.Config) {
				cfg.Kinds = append(cfg.Kinds, daemon.Kind{Name: "brim", Schema: 1, Open: func(daemon.Env) (daemon.Daemon, error) {
					opened <- struct{}{}
					return brim{new(counter), &full}, nil
				}})
			})
			a.create("d", "brim")
			<-opened
			a.write("d", []byte("1"))
			full.Store(&c.err)
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			if seq, err := a.Write(ctx, "d", []byte("2")); !errors.Is(err, c.err) {
				t.Fatalf("a full disk takes event %d: %v", seq, err)
			}
			full.Store(nil)
			if !c.again {
				if _, err := a.Write(ctx, "d", []byte("2")); !errors.Is(err, daemon.ErrStopped) {
					t.Errorf("goes on after %v: %v", c.err, err)
				}
				return
			}
			<-opened
			w.eventually("it takes writes", func() bool {
				_, err := a.Write(ctx, "d", []byte("2"))
				return err == nil
			})
			if st := a.status("d"); st.Head.Seq != 2 || !st.Authority {
				t.Errorf("%+v", st)
			}
		})
	}
}
