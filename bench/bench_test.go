package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestMain lets the test's own binary be the children.
func TestMain(m *testing.M) {
	if role := os.Getenv(roleEnv); role != "" {
		if err := runChild(role, os.Stdin, os.Stdout); err != nil {
			os.Stderr.WriteString(role + ": " + err.Error() + "\n")
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// TestThroughput runs every contender for real, with little to carry, and prints what comes of it.
func TestThroughput(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	var out bytes.Buffer
	wl := workload{"throughput", "tiny", func(bool) runner {
		return throughputConfig{Bytes: 1<<20 + 5, Rounds: 2, RawConnections: 2}
	}}
	doc := runAll(t.Context(), []workload{wl}, true, io.Discard)
	if err := doc.verdict(false); err != nil {
		t.Fatal(err)
	}
	bounded := 0
	for _, f := range doc.Results[0].Figures {
		if f.Value <= 0 || len(f.Samples) != 2 {
			t.Errorf("%+v", f)
		}
		if f.Bound != nil {
			bounded++
		}
	}
	if bounded != 5 {
		t.Errorf("%d figures with a bound", bounded)
	}
	if err := doc.print(&out); err != nil || !strings.Contains(out.String(), "ferry / plain quic-go") {
		t.Errorf("%v: %s", err, out.String())
	}
	if left, _ := filepath.Glob(filepath.Join(os.TempDir(), "ferry-bench-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestUnknownRole: a child that cannot play its part says so, and its parent too.
func TestUnknownRole(t *testing.T) {
	c, err := startChild(t.Context(), "tcp/sink")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.ask(order{Do: "dance"}); err == nil || !strings.Contains(err.Error(), errNoOrder.Error()) {
		t.Errorf("an order that is none: %v", err)
	}
	if err := c.stop(); err != nil {
		t.Error(err)
	}
	if err := runChild("nobody", strings.NewReader(""), io.Discard); err == nil {
		t.Error("a role that is none")
	}
}

// TestPick: names choose workloads, in the order of the names.
func TestPick(t *testing.T) {
	if all, err := pick(""); err != nil || len(all) != len(workloads) {
		t.Errorf("%d, %v", len(all), err)
	}
	some, err := pick("codec, paths")
	if err != nil || len(some) != 2 || some[0].name != "codec" || some[1].name != "paths" {
		t.Errorf("%v, %v", some, err)
	}
	if _, err := pick("codec,cdoec"); err == nil {
		t.Error("a name that is none")
	}
}

// TestBadArguments: they end the program before anything runs.
func TestBadArguments(t *testing.T) {
	for _, args := range [][]string{{"-only", "nothing"}, {"throughput"}} {
		if err := run(args, io.Discard, io.Discard); !errors.Is(err, errUsage) {
			t.Errorf("%q: %v", args, err)
		}
	}
}
