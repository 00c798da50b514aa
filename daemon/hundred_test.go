package daemon_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync"
	"testing"
	"time"

	"ferry/daemon"
	"ferry/journal"
	"ferry/migration"
	"ferry/proto0500"
)

// writers write without pause, each one event after the other's answer, and
// follow the daemon wherever it goes. They keep what they were answered.
type writers struct {
	work sync.WaitGroup
	ctx  context.Context
	stop context.CancelFunc
	pace time.Duration // between a writer's events; 0: none
	mu   sync.Mutex
	acks map[proto0500.Seq]string
	errs []error
}

func newWriters() *writers {
	ctx, cancel := context.WithCancel(context.Background())
	return &writers{ctx: ctx, stop: cancel, acks: make(map[proto0500.Seq]string)}
}

func startWriters(n int, name string, nodes ...*node) *writers {
	ws := newWriters()
	for id := range n {
		ws.start(fmt.Sprint(id), name, nodes...)
	}
	return ws
}

// start adds a writer, whose lines begin with id.
func (ws *writers) start(id, name string, nodes ...*node) {
	ws.work.Go(func() {
		for i := 0; ws.ctx.Err() == nil; i++ {
			if err := ws.one(ws.ctx, nodes, name, fmt.Sprintf("%s: %d", id, i)); err != nil {
				ws.mu.Lock()
				ws.errs = append(ws.errs, err)
				ws.mu.Unlock()
				return
			}
			if ws.pace > 0 {
				select {
				case <-time.After(ws.pace):
				case <-ws.ctx.Done():
				}
			}
		}
	})
}

// one writes one event, at whichever node takes it.
func (ws *writers) one(ctx context.Context, nodes []*node, name, line string) error {
	for at := 0; ; at++ {
		seq, err := nodes[at%len(nodes)].Write(ctx, name, []byte(line))
		_, moved := errors.AsType[*daemon.MovedError](err)
		switch {
		case err == nil:
			ws.mu.Lock()
			defer ws.mu.Unlock()
			if old, twice := ws.acks[seq]; twice {
				return fmt.Errorf("event %d was given to %q and to %q", seq, old, line)
			}
			ws.acks[seq] = line
			return nil
		case moved, errors.Is(err, daemon.ErrNotServing), errors.Is(err, daemon.ErrUnknownDaemon):
			runtime.Gosched()
		case ctx.Err() != nil, errors.Is(err, daemon.ErrClosed):
			return nil // not accepted
		default:
			return err
		}
	}
}

func (ws *writers) acked() int {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	return len(ws.acks)
}

// check ends the writers and holds what they were answered against the diary.
func (ws *writers) check(t *testing.T, diary []string) {
	t.Helper()
	ws.stop()
	ws.work.Wait()
	for _, err := range ws.errs {
		t.Error(err)
	}
	if len(diary) != len(ws.acks) {
		t.Errorf("%d events in the chain, %d were acknowledged", len(diary), len(ws.acks))
	}
	for i, line := range diary {
		if want := ws.acks[proto0500.Seq(i+1)]; line != want {
			t.Fatalf("event %d is %q, its writer was told it is %q", i+1, line, want)
		}
	}
}

// TestHundredMoves moves a daemon to and fro under writers. Nothing is lost,
// doubled or reordered, and nothing is left over.
func TestHundredMoves(t *testing.T) {
	moves := 100
	if testing.Short() {
		moves = 10
	}
	w := newWorld(t, "a", "b", "o")
	a, b := w.run("a", nil), w.run("b", nil)
	o := w.orchestrator(journal.NewMemory(), nil)
	origin := a.create("d", "diary")
	ws := startWriters(4, "d", a, b)
	at, to := a, b
	var goroutines, files, sessions int
	for i := range moves {
		before := ws.acked()
		w.want(o.move(origin, at.name, to.name), migration.OutcomeCommitted)
		if at.status("d").Authority || !to.status("d").Authority {
			t.Fatalf("move %d: the authority is not at %s alone", i, to.name)
		}
		at, to = to, at
		w.eventually("the writers go on", func() bool { return ws.acked() > before })
		if i == 5 { // every connection is there, and was used both ways
			goroutines, files, sessions = runtime.NumGoroutine(), openFiles(t), w.sessions(a, b)
		}
	}
	ws.stop()
	ws.work.Wait()
	ws.check(t, at.read("d"))
	if at.status("d").Head.Seq == 0 || len(ws.acks) < moves {
		t.Fatalf("only %d writes in %d moves", len(ws.acks), moves)
	}
	t.Cleanup(func() {
		if t.Failed() {
			var all strings.Builder
			_ = pprof.Lookup("goroutine").WriteTo(&all, 1)
			t.Logf("%d goroutines, %d sessions, before %d:\n%s", runtime.NumGoroutine(), w.sessions(a, b), sessions, all.String())
		}
	})
	w.eventually(fmt.Sprintf("no goroutine is left over: there were %d", goroutines), func() bool {
		// Two nodes keep up to two connections for lanes, and the second comes when
		// a lane first wants it. On a busy machine a session may have timed out,
		// and two that dial each other at once have two from then on. Nothing
		// else may be more, however many moves there were.
		further := 1 + max(w.sessions(a, b)-sessions, 0)
		return runtime.NumGoroutine() <= goroutines+further*sessionGoroutines
	})
	w.eventually(fmt.Sprintf("no file is left open: there were %d", files), func() bool {
		return openFiles(t) <= files
	})
	w.eventually("no state is left over", func() bool {
		return len(w.stays("a")) == 0 && len(w.stays("b")) == 1 || len(w.stays("a")) == 1 && len(w.stays("b")) == 0
	})
	lines := at.read("d")
	a.end()
	b.end()
	for _, p := range w.leftover() {
		t.Errorf("left over: %s", p)
	}
	// Both start again with what they have.
	nodes := map[string]*node{"a": w.run("a", nil), "b": w.run("b", nil)}
	if nodes[to.name].status("d").Authority || !nodes[at.name].status("d").Authority {
		t.Fatalf("after the restart the authority is not at %s alone", at.name)
	}
	ws.check(t, nodes[at.name].read("d"))
	if seq := nodes[at.name].write("d", []byte("more")); int(seq) != len(lines)+1 {
		t.Fatalf("the next event is %d, after %d", seq, len(lines))
	}
}

// sessionGoroutines is at most how many goroutines a session has, both its ends
// and their connections together.
const sessionGoroutines = 16

// sessions counts the ends of sessions that nodes have.
func (w *world) sessions(nodes ...*node) (n int) {
	for _, node := range nodes {
		for _, key := range w.keys {
			n += len(node.Endpoint().LiveAll(key.NodeID()))
		}
	}
	return n
}

// stays gives the directories in which a node holds a daemon's state.
func (w *world) stays(node string) []string { return w.files(node, "*", "e*") }

// files gives what a node has of a pattern below its directory.
func (w *world) files(pattern ...string) []string {
	found, err := filepath.Glob(filepath.Join(append([]string{w.dir}, pattern...)...))
	if err != nil {
		w.t.Fatal(err)
	}
	return found
}

// leftover gives the files that no daemon at rest has.
func (w *world) leftover() (list []string) {
	err := filepath.WalkDir(w.dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		name := e.Name()
		switch {
		case name == "key.pem", name == "log.db", strings.HasSuffix(name, ".journal"):
		case strings.HasSuffix(path, "/base/chunks"): // of the earlier stay
		case strings.HasPrefix(name, "checkpoint-") && !strings.HasSuffix(name, ".tmp"):
		default:
			list = append(list, path)
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return list
}

// openFiles counts this process's descriptors, where it can.
func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if errors.Is(err, fs.ErrNotExist) {
		return 0
	}
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
