//go:build unix

package main

import (
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"

	"ferry/cluster"
	"ferry/internal/smalldisk"
)

// smallDisk puts the data of a node on a file system of its own, of so many bytes, where this process may. The node's
// cluster file must be the one that it is started with.
func (w *world) smallDisk(name string, bytes int64) (dir string) {
	w.t.Helper()
	file, err := cluster.Load(w.path(name))
	if err != nil {
		w.t.Fatal(err)
	}
	dir = file.DataDir(name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		w.t.Fatal(err)
	}
	unmount, err := smalldisk.Mount(dir, bytes)
	if err != nil {
		w.t.Skipf("SKIPPED: a node's data has no file system of its own here: %v", err)
	}
	w.t.Cleanup(func() {
		if err := unmount(); err != nil {
			w.t.Error(err)
		}
	})
	return dir
}

// fill leaves no byte on the disk of dir, until empty is called.
func fill(t *testing.T, dir string) (empty func()) {
	t.Helper()
	if err := smalldisk.Fill(dir); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.Remove(smalldisk.Ballast(dir)); err != nil {
			t.Error(err)
		}
	}
}

// A target without room for the state says so before a byte of it travels.
func TestNoRoomAtTarget(t *testing.T) {
	w := newWorld(t, "a", "b", "o")
	w.smallDisk("b", 80<<20) // of which a node leaves 64 alone
	w.node("a", "--daemon", "orders", "--fill", "32MiB")
	w.node("b")
	r := command(t, w.migrateArgs("orders", "b")...)
	if r.code == exitDone || !strings.Contains(r.stderr, "disk") || strings.Contains(r.stderr, " transfer ") {
		t.Errorf("exit %d:\n%s", r.code, r.stderr)
	}
	w.owner("orders", "a", "b")
	w.serving("a", "orders")
}

// A target whose disk fills while the state comes gives up the move; one whose orchestrator's disk fills ends either way.
// The daemon serves on, and when there is room again the next move succeeds.
func TestOtherDiskFills(t *testing.T) {
	slow(t)
	for _, c := range []struct {
		name, node string
		bytes      int64
		ends       func(w *world, m *proc)
	}{
		{"target", "b", 128 << 20, func(w *world, m *proc) {
			wantRolledBack(w.t, m, patience, "no space left on device")
			w.owner("orders", "a", "b")
		}},
		{"orchestrator", "o", 16 << 20, func(w *world, m *proc) {
			if r := m.exit(patience); r.code != exitDone && r.code != exitRolledBack {
				w.t.Errorf("exit %d: %s", r.code, r.stderr)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, "a", "b", "o")
			there, back := w.slowTransfer("a", "b")
			disk := w.smallDisk(c.node, c.bytes)
			w.node("a", "--daemon", "orders", "--fill", "8MiB")
			w.node("b")
			l := newLoop(t, w.url("a"), "w/")
			m := w.transferring("orders", "b")
			empty := fill(t, disk)
			there.hurry()
			back.hurry()
			c.ends(w, m)
			l.more(20) // wherever it serves
			empty()
			w.migrate(exitDone, "orders", "b")
			l.more(20)
			records := l.end()
			w.owner("orders", "b", "a")
			w.checkLog("b", "orders", records)
		})
	}
}

// A source whose disk fills in the transfer refuses the write that it cannot keep, and with it ends the move, for it has
// to open the daemon again. It serves on: it is read as before, and written to when there is room. Without a write it
// can be moved away from its full disk: the journal has the room that letting go takes.
func TestSourceDiskFills(t *testing.T) {
	slow(t)
	for _, c := range []struct {
		name string
		code int
	}{{"written to", exitRolledBack}, {"only read", exitDone}} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, "a", "b", "o")
			there, back := w.slowTransfer("a", "b")
			disk := w.smallDisk("a", 128<<20)
			a := w.node("a", "--daemon", "orders", "--fill", "8MiB")
			w.node("b")
			w.serving("a", "orders")
			m := w.transferring("orders", "b")
			empty := fill(t, disk)
			if c.code == exitRolledBack {
				client := &http.Client{Timeout: patience}
				var err error
				for n := 0; err == nil && n < 64; n++ {
					_, err = put(client, w.url("a")+daemonsPrefix+"orders/kv/large"+strconv.Itoa(n), strings.Repeat("x", 32<<10))
				}
				if err == nil || !strings.Contains(err.Error(), "no space") {
					t.Errorf("2 MiB written to a full disk: %v", err)
				}
				wantRolledBack(t, m, patience, "no space left")
				a.await("opened again after its disk was full")
				w.owner("orders", "a", "b")
				st, err := w.state("a", "orders")
				if err != nil || st.Keys == 0 {
					t.Errorf("read with the disk full: %+v, %v", st, err)
				}
			}
			there.hurry()
			back.hurry()
			if r := m.exit(patience); r.code != c.code {
				t.Errorf("exit %d, want %d: %s", r.code, c.code, r.stderr)
			}
			empty()
			if c.code == exitRolledBack {
				w.serving("a", "orders")
				w.migrate(exitDone, "orders", "b")
			}
			w.owner("orders", "b", "a")
			w.serving("b", "orders")
		})
	}
}

// An orchestrator that cannot write down what it is about to do does not begin.
func TestOrchestratorDiskFull(t *testing.T) {
	w := newWorld(t, "a", "b", "o")
	disk := w.smallDisk("o", 16<<20)
	w.node("a", "--daemon", "orders", "--fill", "1MiB")
	w.node("b")
	empty := fill(t, disk)
	r := command(t, w.migrateArgs("orders", "b")...)
	if r.code == exitDone || !strings.Contains(r.stderr, "no space left on device") {
		t.Errorf("exit %d:\n%s", r.code, r.stderr)
	}
	w.owner("orders", "a", "b")
	w.serving("a", "orders")
	empty()
	w.migrate(exitDone, "orders", "b")
	w.owner("orders", "b", "a")
}
