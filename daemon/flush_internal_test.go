package daemon

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

func TestFlusher(t *testing.T) {
	f := flusher{dir: t.TempDir()}
	state := filepath.Join(f.dir, stateDir)
	if err := os.Mkdir(state, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{filepath.Join(f.dir, logFile), filepath.Join(state, "kv.db")} {
		if err := os.WriteFile(name, []byte("state"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/dev/full", filepath.Join(state, "elsewhere")); err != nil {
		t.Fatal(err)
	}
	for i, step := range []struct{ events, synced int }{{flushEvents - 1, 0}, {1, 2}, {flushEvents - 1, 0}, {5, 2}} {
		if got := f.replayed(step.events); got != step.synced {
			t.Errorf("step %d: %d files synced, want %d", i, got, step.synced)
		}
	}
	for i := range flushFilesMax {
		if err := os.WriteFile(filepath.Join(state, fmt.Sprint(i)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got := f.replayed(flushEvents); got != 0 {
		t.Errorf("%d files synced, of more than are looked for", got)
	}
}
