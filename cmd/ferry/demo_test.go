package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"ferry/cluster"
	"ferry/examples/kv"
)

// The demo in a short form, as its user runs it.
func TestDemo(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	checkDemo(t)
}

func checkDemo(t *testing.T) demoReport {
	t.Helper()
	p := spawn(t, "demo", "--state", "8MiB", "--writes", "300", "--before", "700ms", "--after", "300ms", "--json")
	r := p.exit(2 * patience)
	if r.code != exitDone {
		t.Fatalf("exit %d", r.code)
	}
	for _, says := range []string{"source a: pid ", "target b: pid ", "writers: pid ", "transfer", "checking every acknowledged write"} {
		if !strings.Contains(r.stderr, says) {
			t.Errorf("progress does not say %q:\n%s", says, r.stderr)
		}
	}
	splitLines(t, r.stdout, 1) // the object alone
	var fields map[string]any
	mustDo(t, json.Unmarshal([]byte(r.stdout), &fields))
	for _, name := range []string{
		"pids", "state_bytes", "bytes_moved", "bytes_on_wire", "lanes", "events_acked", "events_lost", "events_doubled", "events_reordered",
		"heads_equal", "digests_equal", "blackout_ms", "writes_offered", "writes_achieved", "phases",
	} {
		if _, ok := fields[name]; !ok {
			t.Errorf("no field %q", name)
		}
	}
	var rep demoReport
	mustDo(t, json.Unmarshal([]byte(r.stdout), &rep))
	pids := map[int]bool{p.cmd.Process.Pid: true}
	for _, name := range []string{"source", "target", "orchestrator", "writers"} {
		pids[rep.Pids[name]] = true
	}
	if len(pids) != 5 || pids[0] {
		t.Errorf("pids %v beside the demo's own", rep.Pids)
	}
	busy := 0
	for _, l := range rep.Lanes {
		if l.Chunks > 0 && l.Bytes > 0 {
			busy++
		}
	}
	if busy < 2 {
		t.Errorf("%d lanes carried chunks: %+v", busy, rep.Lanes)
	}
	if !rep.Passed || rep.EventsAcked < 100 || rep.EventsLost+rep.EventsDoubled+rep.EventsReordered+rep.ChainBroken != 0 || !rep.HeadsEqual || !rep.DigestsEqual || !rep.OneOwner {
		t.Errorf("%+v", rep)
	}
	// The values are random and cannot shrink on the wire. The store's free and half empty pages around them can, so that what is
	// sent may be less than what is in place at the end.
	if rep.StateBytes != 8<<20 || rep.BytesMoved < rep.StateBytes || rep.BytesOnWire < rep.StateBytes {
		t.Errorf("state %d, moved %d, on the wire %d", rep.StateBytes, rep.BytesMoved, rep.BytesOnWire)
	}
	if rep.WritesOffered != 300 || rep.WritesAchieved <= 0 || rep.SlowestWriteMs <= 0 || len(rep.Phases) < 6 || len(rep.Blackout) < 5 {
		t.Errorf("%+v", rep)
	}
	if rep.BlackoutMs <= 0 {
		t.Errorf("blackout of %.1f ms", rep.BlackoutMs)
	}
	t.Logf("blackout %.1f ms %v, %.0f of %.0f writes/s, slowest write %.1f ms", rep.BlackoutMs, rep.Blackout, rep.WritesAchieved, rep.WritesOffered, rep.SlowestWriteMs)
	return rep
}

// One event that is dropped, doubled, swapped or altered on purpose turns the
// check red, which is exit 1. So does a state that is not that of the records.
func TestDemoCheckGoesRed(t *testing.T) {
	slow(t)
	exe, err := os.Executable()
	mustDo(t, err)
	made, err := cluster.Init(t.TempDir(), cluster.Options{})
	mustDo(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	d := &demo{
		opts: demoOptions{
			state: 1 << 20, writes: 200, clients: 16, lanes: 2, seed: 1, before: 200 * time.Millisecond, after: 100 * time.Millisecond,
			exe: exe, env: []string{asFerry},
		},
		dir: made.File.Dir(), file: made.File, stderr: io.Discard,
	}
	defer func() { mustDo(t, d.stopAll()) }()
	rep, err := d.run(ctx)
	mustDo(t, err)
	if !rep.Passed || rep.verdict() != nil {
		t.Fatalf("untouched: %+v", rep)
	}

	// edit changes the log's lines from the middle on.
	edit := func(f func(lines []kv.LogLine, mid int) []kv.LogLine) func(iter.Seq2[kv.LogLine, error]) iter.Seq2[kv.LogLine, error] {
		return func(log iter.Seq2[kv.LogLine, error]) iter.Seq2[kv.LogLine, error] {
			return func(yield func(kv.LogLine, error) bool) {
				var lines []kv.LogLine
				for l, err := range log {
					if err != nil {
						yield(l, err)
						return
					}
					lines = append(lines, l)
				}
				for _, l := range f(lines, len(lines)/2) {
					if !yield(l, nil) {
						return
					}
				}
			}
		}
	}
	for _, c := range []struct {
		name  string
		edit  func(lines []kv.LogLine, mid int) []kv.LogLine
		count func(*demoReport) int
		says  string
	}{
		{"dropped", func(l []kv.LogLine, mid int) []kv.LogLine { return slices.Delete(l, mid, mid+1) },
			func(r *demoReport) int { return r.EventsLost }, "1 event lost, 0 doubled"},
		{"doubled", func(l []kv.LogLine, mid int) []kv.LogLine { return slices.Insert(l, mid, l[mid]) },
			func(r *demoReport) int { return r.EventsDoubled }, "0 events lost, 1 doubled"},
		{"swapped", func(l []kv.LogLine, mid int) []kv.LogLine {
			l[mid], l[mid+1] = l[mid+1], l[mid]
			return l
		}, func(r *demoReport) int { return r.EventsReordered }, "0 events lost, 0 doubled, 2 under another number"},
		{"altered", func(l []kv.LogLine, mid int) []kv.LogLine {
			payload := slices.Clone(l[mid].Payload)
			payload[len(payload)-1] ^= 1
			l[mid].Payload = payload
			return l
		}, func(r *demoReport) int { return r.ChainBroken }, "value and payload differ"},
		{"cut at the end", func(l []kv.LogLine, _ int) []kv.LogLine { return l[:len(l)-1] },
			func(r *demoReport) int { return r.EventsLost }, "not in the log"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d.opts.tamper = edit(c.edit)
			rep := wantRed(t, ctx, d, rep.Move)
			if c.count(rep) == 0 || !strings.Contains(rep.Fault, c.says) {
				t.Errorf("%q: lost %d, doubled %d, reordered %d, broken %d", rep.Fault, rep.EventsLost, rep.EventsDoubled, rep.EventsReordered, rep.ChainBroken)
			}
		})
	}
	d.opts.tamper = nil
	t.Run("another state", func(t *testing.T) {
		d.opts.seed++ // the twin has another fill
		defer func() { d.opts.seed-- }()
		if rep := wantRed(t, ctx, d, rep.Move); rep.DigestsEqual || !strings.Contains(rep.Fault, "digests differ") {
			t.Errorf("%q", rep.Fault)
		}
	})
	t.Run("a record too many", func(t *testing.T) {
		path := d.path("records")
		whole, err := os.ReadFile(path)
		mustDo(t, err)
		payload, err := kv.EncodePut([]byte("never"), []byte("written"))
		mustDo(t, err)
		mustDo(t, os.WriteFile(path, kv.Record{Seq: 1, Payload: payload}.Append(slices.Clone(whole)), 0o600))
		if rep := wantRed(t, ctx, d, rep.Move); rep.EventsLost != 1 || rep.DigestsEqual {
			t.Errorf("%+v", rep)
		}
		mustDo(t, os.WriteFile(path, whole, 0o600))
	})
	t.Run("a move that was not committed", func(t *testing.T) {
		if rep := wantRed(t, ctx, d, moveResult{Outcome: "in doubt", Text: "so it is"}); !strings.Contains(rep.Fault, "not committed") {
			t.Errorf("%q", rep.Fault)
		}
	})
}

// wantRed runs the check again, which must fail with exit 1 and say so.
func wantRed(t *testing.T, ctx context.Context, d *demo, move moveResult) *demoReport {
	t.Helper()
	rep := &demoReport{Move: move}
	mustDo(t, d.check(ctx, rep, d.url("a"), d.url("b")))
	var out strings.Builder
	mustDo(t, rep.write(&out))
	if err := rep.verdict(); rep.Passed || err == nil || !strings.Contains(out.String(), "FAILED: "+rep.Fault) {
		t.Errorf("the check passed, or is silent: %v\n%s", err, out.String())
	}
	if code, line := explain(newRootCmd(), &exitError{code: exitFailed, err: rep.verdict()}); code != exitFailed || !strings.Contains(line, rep.Fault) {
		t.Errorf("exit %d, %s", code, line)
	}
	return rep
}

// Ctrl-C ends every process of the demo and removes its directory; so does the
// demo's own sudden death, but for the directory.
func TestDemoEnds(t *testing.T) {
	slow(t)
	for _, c := range []struct {
		name   string
		signal syscall.Signal
	}{{"by Ctrl-C", syscall.SIGINT}, {"by kill -9", syscall.SIGKILL}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			tmp := t.TempDir()
			p := spawnEnv(t, []string{"TMPDIR=" + tmp}, "demo", "--state", "1MiB", "--writes", "100", "--before", "10m")
			p.await("source a: pid ")
			files, err := filepath.Glob(filepath.Join(tmp, "ferry-demo-*", cluster.FileName))
			if err != nil || len(files) != 1 {
				t.Fatalf("%v, %v", files, err)
			}
			file, err := cluster.Load(files[0])
			mustDo(t, err)
			p.signal(c.signal)
			r := p.exit(2 * noticed)
			if c.signal == syscall.SIGINT {
				if r.code != exitFailed || !strings.Contains(r.stderr, "ferry: interrupted") {
					t.Errorf("exit %d: %s", r.code, r.stderr)
				}
				if left, err := os.ReadDir(tmp); err != nil || len(left) != 0 {
					t.Errorf("left behind: %v, %v", left, err)
				}
			}
			for _, n := range file.Nodes[:2] {
				eventually(t, fmt.Sprintf("node %s has ended", n.Name), noticed, func() bool { return bothFree(n) })
			}
		})
	}
}

// bothFree says that nobody listens at a node's two addresses.
func bothFree(n cluster.Node) bool {
	tcp, err := net.Listen("tcp", n.HTTP)
	if err != nil {
		return false
	}
	defer tcp.Close()
	udp, err := net.ListenPacket("udp", n.Addr)
	if err != nil {
		return false
	}
	return udp.Close() == nil
}

// What --keep keeps can be run again by hand.
func TestDemoKeeps(t *testing.T) {
	slow(t)
	dir := filepath.Join(t.TempDir(), "kept")
	p := spawn(t, "demo", "--state", "1MiB", "--writes", "100", "--before", "100ms", "--after", "100ms", "--keep", dir)
	r := p.exit(2 * patience)
	if r.code != exitDone || !strings.Contains(r.stdout, "\nPASSED\n") || !strings.Contains(r.stderr, "kept in "+dir) {
		t.Fatalf("exit %d: %s%s", r.code, r.stdout, r.stderr)
	}
	file, err := cluster.Load(filepath.Join(dir, cluster.FileName))
	mustDo(t, err)
	w := &world{t: t, dir: dir, file: file, files: make(map[string]string)}
	w.node("b")
	if st := w.owner(demoDaemon, "b"); st.Seq == 0 {
		t.Errorf("%+v", st)
	}
}
