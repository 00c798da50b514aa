//go:build unix

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"ferry/examples/kv"
	"ferry/frame"
)

var built struct {
	once sync.Once
	dir  string
	err  error
}

// TestMain removes what the tests have built.
func TestMain(m *testing.M) {
	code := m.Run()
	if built.dir != "" {
		_ = os.RemoveAll(built.dir)
	}
	os.Exit(code)
}

// ferryProgram builds ferry once for all tests.
func ferryProgram(t *testing.T) string {
	t.Helper()
	built.once.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "ferry-chaos-test-"); built.err != nil {
			return
		}
		if out, err := exec.Command("go", "build", "-o", filepath.Join(built.dir, "ferry"), "ferry/cmd/ferry").CombinedOutput(); err != nil {
			built.err = fmt.Errorf("%w: %s", err, out)
		}
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return filepath.Join(built.dir, "ferry")
}

// TestChaos runs a little of everything with real processes.
func TestChaos(t *testing.T) {
	if testing.Short() {
		t.Skip("real processes under real faults")
	}
	program := ferryProgram(t)
	for _, c := range []struct {
		name string
		args []string
	}{
		{"kills", []string{"-moves", "12"}},
		// An orchestrator that dies between its outcome and the release leaves a
		// copy behind, which must not be in the way of the move back.
		{"lost release", []string{"-moves", "4", "-only", "8,2"}},
		{"links", []string{"-moves", "0", "-links", "3"}},
		{"disks", []string{"-moves", "0", "-disks", "4"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var out, log strings.Builder
			args := append([]string{"-json", "-v", "-ferry", program, "-links", "0", "-disks", "0", "-clocks", "0"}, c.args...)
			if code := run(args, &out, &log); code != 0 {
				t.Fatalf("exit %d: %s\n%s", code, out.String(), log.String())
			}
			var said struct {
				Runs []report `json:"runs"`
			}
			if err := json.Unmarshal([]byte(out.String()), &said); err != nil || len(said.Runs) != 1 {
				t.Fatalf("%v: %s", err, out.String())
			}
			rep := said.Runs[0]
			if rep.Verdict.Acked == 0 || rep.Verdict.Digest == "" || rep.Verdict.Samples == 0 || rep.Moves == 0 {
				t.Errorf("%+v", rep)
			}
			if c.name == "kills" && rep.Missed == rep.Moves {
				t.Error("nothing was killed")
			}
			t.Logf("median %.2f s, max %.2f s: %v", rep.Median, rep.Max, rep.Outcomes)
		})
	}
}

// TestForgottenRecord: with sources that do not write down that they have
// retired, a kill of the source finds it.
func TestForgottenRecord(t *testing.T) {
	if testing.Short() {
		t.Skip("real processes under real faults")
	}
	t.Parallel()
	var out, log strings.Builder
	args := []string{"-ferry", ferryProgram(t), "-moves", "3", "-only", "7,0", "-forget", "retired", "-links", "0", "-disks", "0", "-clocks", "0"}
	if code := run(args, &out, &log); code != 1 || !strings.Contains(log.String(), "two authorities") {
		t.Fatalf("exit %d: %s\n%s", code, out.String(), log.String())
	}
}

// TestCheckSeesFaults: the check of a world in which nothing happened fails when
// the writers' records are made to differ from the log.
func TestCheckSeesFaults(t *testing.T) {
	if testing.Short() {
		t.Skip("real processes")
	}
	t.Parallel()
	ctx := context.Background()
	w, err := newWorld(ferryProgram(t), t.TempDir(), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := w.down(); err != nil {
			t.Error(err)
		}
	}()
	if err := w.up(ctx); err != nil {
		t.Fatal(err)
	}
	wr, err := newWriters(300, w.url("a"), w.url("b"))
	if err != nil {
		t.Fatal(err)
	}
	for n := range 3 {
		if err := wr.probe(ctx, n); err != nil {
			t.Fatal(err)
		}
	}
	wr.end()
	acked := wr.acked
	for _, c := range []struct {
		name string
		acks func([]kv.Record) []kv.Record
		want func(v verdict) bool
	}{
		{"all is well", func(r []kv.Record) []kv.Record { return r }, func(v verdict) bool { return v.Fault == "" && v.Owners == 1 }},
		{"lost", func(r []kv.Record) []kv.Record {
			return append(r, kv.Record{Seq: r[0].Seq, Payload: append(slices.Clone(r[0].Payload), 1)})
		}, func(v verdict) bool { return v.Lost == 1 }},
		{"never written", func(r []kv.Record) []kv.Record { return r[1:] }, func(v verdict) bool { return v.Strange == 1 }},
		{"reordered", func(r []kv.Record) []kv.Record { r[0].Seq, r[1].Seq = r[1].Seq, r[0].Seq; return r }, func(v verdict) bool { return v.Reordered == 2 }},
	} {
		wr.acked = c.acks(slices.Clone(acked))
		v, err := w.check(ctx, wr, &owners{})
		if err != nil || !c.want(v) || (v.Fault == "") != (c.name == "all is well") {
			t.Errorf("%s: %v, %+v", c.name, err, v)
		}
	}
	wr.acked = acked
	if v, _ := w.check(ctx, wr, &owners{fault: errors.New("two")}); v.Fault != "two" {
		t.Errorf("%+v", v)
	}
}

func TestOwners(t *testing.T) {
	type said struct {
		name  string
		epoch frame.Epoch
	}
	for _, c := range []struct {
		name  string
		saw   []said
		fault bool
	}{
		{"to and fro", []said{{"a", 0}, {"a", 1}, {"", 0}, {"b", 1}, {"b", 2}, {"a", 2}, {"a", 3}, {"b", 3}}, false},
		{"seen late", []said{{"a", 0}, {"b", 2}, {"a", 4}, {"a", 7}, {"b", 7}}, false},
		{"the source again", []said{{"a", 1}, {"b", 1}, {"a", 1}}, true},
		{"an old one", []said{{"a", 2}, {"b", 2}, {"a", 1}}, true},
		{"the same one, lower", []said{{"a", 2}, {"a", 1}}, true},
		{"both by turns", []said{{"a", 1}, {"b", 1}, {"b", 1}, {"", 0}, {"a", 1}, {"b", 1}}, true},
	} {
		var o owners
		for _, s := range c.saw {
			o.saw(s.name, s.epoch)
		}
		if (o.blamed() != nil) != c.fault {
			t.Errorf("%s: %v", c.name, o.fault)
		}
	}
}

// TestAim: every cell is hit equally often, and one that cannot be hit does not
// take all moves.
func TestAim(t *testing.T) {
	var hit, tried table
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 20 * int(stepCount) * int(roleCount) * 4 / 3 {
		if s, r := aim(&hit, &tried, rnd); s != stepTransfer || r != target {
			hit[s][r]++
		}
	}
	for s := range stepCount {
		for r := range roleCount {
			if (s != stepTransfer || r != target) && hit[s][r] < 20 {
				t.Errorf("%v, %v: %d", s, r, hit[s][r])
			}
		}
	}
	if n := tried[stepTransfer][target]; n > 200 {
		t.Errorf("%d moves for a cell that is never hit", n)
	}
}

// TestSteps: every point lies in the step that it is to hit.
func TestSteps(t *testing.T) {
	for s, list := range points {
		if len(list) == 0 {
			t.Errorf("%v has no point", step(s))
		}
		for _, p := range list {
			if got := stepOf(p.name); p.after == 0 && got != step(s) {
				t.Errorf("%s is in %v, not in %v", p.name, got, step(s))
			}
		}
	}
}
