//go:build !windows

package daemon

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func testFlusher(t *testing.T) (f flusher, state string) {
	t.Helper()
	f = newFlusher(t.TempDir())
	state = filepath.Join(f.dir, stateDir)
	if err := os.Mkdir(state, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{filepath.Join(f.dir, logFile), filepath.Join(state, "kv.db")} {
		if err := os.WriteFile(name, []byte("state"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return f, state
}

func TestFlusher(t *testing.T) {
	f, state := testFlusher(t)
	if err := os.Symlink("/dev/full", filepath.Join(state, "elsewhere")); err != nil {
		t.Fatal(err)
	}
	for i, step := range []struct{ events, synced int }{{flushEvents - 1, 0}, {1, 2}, {flushEvents - 1, 0}, {5, 2}} {
		if got, err := f.replayed(step.events); err != nil || got != step.synced {
			t.Errorf("step %d: %d files synced, %v, want %d", i, got, err, step.synced)
		}
	}
	for i := range flushEntriesMax {
		if err := os.WriteFile(filepath.Join(state, fmt.Sprint(i)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := f.replayed(flushEvents); err != nil || got != 0 || !f.off {
		t.Errorf("%d files synced, %v, of more than are looked for", got, err)
	}
}

// What cannot be brought to disk is told: the daemon's own sync may not hear of it again.
func TestFlusherFails(t *testing.T) {
	f, _ := testFlusher(t)
	f.sync = func(*os.File) error { return syscall.EIO }
	if got, err := f.replayed(flushEvents); got != 0 || !errors.Is(err, syscall.EIO) {
		t.Errorf("%d files synced, %v", got, err)
	}
}
