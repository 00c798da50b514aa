// Package deps holds the house's rule: imports point down only. The table is
// that of docs/architecture.md.
package deps

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// may lists which of our own packages a package may import, directly. A package
// that is missing here is an error, so that a new room finds its floor first.
var may = map[string][]string{
	"ferry/frame":               {},
	"ferry/identity":            {},
	"ferry/journal":             {},
	"ferry/journal/boltjournal": {"ferry/journal"},
	"ferry/journal/journaltest": {"ferry/journal"},
	"ferry/proto0500":           {"ferry/frame"},
	"ferry/proto0500/jsonform":  {"ferry/frame", "ferry/proto0500"},
	"ferry/snapshot":            {"ferry/frame", "ferry/proto0500"},
	"ferry/migration":           {"ferry/frame", "ferry/proto0500", "ferry/internal/weaken"},
	"ferry/transport":           {"ferry/frame", "ferry/identity", "ferry/internal/quiet"},
	"ferry/cluster":             {"ferry/identity", "ferry/transport"},
	"ferry/internal/quiet":      {},
	"ferry/internal/deps":       {},
	"ferry/internal/cover":      {},
	"ferry/internal/compat":     {}, // only its test imports
	"ferry/internal/drive":      {"ferry/frame", "ferry/identity", "ferry/journal", "ferry/migration", "ferry/proto0500", "ferry/transport"},
	"ferry/daemon":              {"ferry/frame", "ferry/identity", "ferry/internal/drive", "ferry/internal/quiet", "ferry/journal", "ferry/migration", "ferry/proto0500", "ferry/snapshot", "ferry/transport"},
	"ferry/orchestrator":        {"ferry/frame", "ferry/identity", "ferry/internal/drive", "ferry/internal/quiet", "ferry/journal", "ferry/migration", "ferry/proto0500", "ferry/transport"},
	"ferry/examples/counter":    exported,
	"ferry/examples/kv":         exported,
	"ferry/examples/mesh":       exported,
	"ferry/cmd/ferry":           append([]string{"ferry/examples/kv", "ferry/cluster", "ferry/proto0500/jsonform"}, exported...),
	"ferry/internal/chaos":      {"ferry/cluster", "ferry/examples/kv", "ferry/frame", "ferry/internal/smalldisk", "ferry/proto0500"}, // the rest it runs as processes
	"ferry/fuzz":                exported,
	"ferry/fuzz/state":          exported,
	"ferry/fuzz/node":           exported,
	"ferry/bench":               append([]string{"ferry/examples/kv", "ferry/internal/path"}, exported...),

	"ferry/migratetest": {"ferry/daemon", "ferry/proto0500", "ferry/internal/sim"},

	// Tests of our own; only they and migration import weaken. Benchmarks and anybody's tests import path.
	"ferry/internal/path":            {},
	"ferry/internal/smalldisk":       {},
	"ferry/internal/flood":           exported,
	"ferry/fuzz/internal/harness":    {"ferry/frame"}, // each further one slows the decoders' targets
	"ferry/fuzz/internal/program":    {"ferry/frame", "ferry/migration", "ferry/proto0500"},
	"ferry/internal/weaken":          {},
	"ferry/internal/sim":             {"ferry/frame", "ferry/identity", "ferry/internal/weaken", "ferry/journal", "ferry/migration", "ferry/proto0500", "ferry/snapshot"},
	"ferry/internal/sim/explore":     {"ferry/frame", "ferry/internal/weaken", "ferry/migration", "ferry/proto0500"},
	"ferry/internal/sim/cmd/sim":     {"ferry/internal/sim", "ferry/internal/weaken"},
	"ferry/internal/sim/cmd/explore": {"ferry/internal/sim/explore", "ferry/internal/weaken"},
}

// exported is what a user can import: no internal package.
var exported = []string{
	"ferry/frame", "ferry/identity", "ferry/journal", "ferry/journal/boltjournal", "ferry/proto0500", "ferry/snapshot",
	"ferry/migration", "ferry/transport", "ferry/cluster", "ferry/daemon", "ferry/orchestrator",
}

type pkg struct {
	ImportPath string
	Imports    []string
}

func TestImportsPointDown(t *testing.T) {
	for _, p := range list(t) {
		allowed, ok := may[p.ImportPath]
		if !ok {
			t.Errorf("%s is not in the table: say what it may import", p.ImportPath)
			continue
		}
		for _, bad := range upwards(p, allowed) {
			t.Errorf("%s imports %s, which is not below it", p.ImportPath, bad)
		}
	}
}

// TestTableCanFail shows that the check sees an import that points up.
func TestTableCanFail(t *testing.T) {
	bad := upwards(pkg{"ferry/frame", []string{"io", "ferry/proto0500"}}, may["ferry/frame"])
	if !slices.Equal(bad, []string{"ferry/proto0500"}) {
		t.Fatalf("found %v", bad)
	}
}

// TestTableIsAcyclic: the table itself must not allow a way up.
func TestTableIsAcyclic(t *testing.T) {
	const visiting, done = 1, 2
	state := make(map[string]int)
	var visit func(p string)
	visit = func(p string) {
		switch state[p] {
		case visiting:
			t.Fatalf("the table has a cycle through %s", p)
		case done:
			return
		}
		state[p] = visiting
		for _, q := range may[p] {
			visit(q)
		}
		state[p] = done
	}
	for p := range may {
		visit(p)
	}
}

func upwards(p pkg, allowed []string) (bad []string) {
	for _, i := range p.Imports {
		if strings.HasPrefix(i, "ferry/") && !slices.Contains(allowed, i) {
			bad = append(bad, i)
		}
	}
	return bad
}

func list(t *testing.T) (pkgs []pkg) {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", "ferry/...").Output()
	if err != nil {
		if e, ok := errors.AsType[*exec.ExitError](err); ok {
			t.Fatalf("go list: %v\n%s", err, e.Stderr)
		}
		t.Fatal(err)
	}
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		switch err := dec.Decode(&p); err {
		case nil:
			pkgs = append(pkgs, p)
		case io.EOF:
			return pkgs
		default:
			t.Fatal(err)
		}
	}
}
