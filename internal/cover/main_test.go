package main

import (
	"fmt"
	"go/parser"
	"go/token"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRun holds a profile of this very file to lists that are complete, too short and too long.
func TestRun(t *testing.T) {
	t.Chdir(filepath.Join("..", ".."))
	const file = "internal/cover/main.go"
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, file, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	line := 0 // in pkg.percent
	for _, d := range f.Decls {
		if at := fset.Position(d.Pos()).Line; functionAt(fset, f, at) == "pkg.percent" {
			line = at
		}
	}
	// The block is there twice, as it is when two test binaries have run; one of them reached the other block.
	profile := fmt.Sprintf("mode: set\nferry/%[1]s:%[2]d.1,%[2]d.9 1 0\nferry/%[1]s:%[2]d.1,%[2]d.9 1 0\n", file, line) +
		"ferry/" + file + ":1.1,2.2 19 0\nferry/" + file + ":1.1,2.2 19 1\n"
	const row = "| `internal/cover/main.go` pkg.percent | because |\n"
	for _, c := range []struct {
		name, profile, list string
		least               float64
		want                string // in the error; "" for none
	}{
		{"complete", profile, row, 95, ""},
		{"no row", profile, "", 95, "does not say why"},
		{"no reason", profile, "| `internal/cover/main.go` pkg.percent | |\n", 95, "no reason"},
		{"a row too many", profile, row + "| `internal/cover/main.go` run | because |\n", 95, "all of it is reached"},
		{"too little", profile, row, 95.1, "below 95.1 %"},
		{"nothing", "mode: set\n", "", 95, "no blocks"},
		{"no profile", "mode: set\nferry/x.go\n", "", 95, "ferry/x.go"},
	} {
		dir := t.TempDir()
		p, l := filepath.Join(dir, "profile"), filepath.Join(dir, "list.md")
		if err := os.WriteFile(p, []byte(c.profile), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(l, []byte(c.list), 0o600); err != nil {
			t.Fatal(err)
		}
		err := run(io.Discard, p, l, c.least)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
