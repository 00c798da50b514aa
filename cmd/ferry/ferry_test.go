package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	messageVectors  = "../../proto0500/testdata"
	snapshotVectors = "../../snapshot/testdata"
	identityVectors = "../../identity/testdata"
)

// result is what one run of the program left behind.
type result struct {
	code           int
	stdout, stderr string
}

func ferry(t *testing.T, stdin string, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := run(context.Background(), args, strings.NewReader(stdin), &stdout, &stderr)
	return result{code, stdout.String(), stderr.String()}
}

// vectors reads a file of one JSON object a line.
func vectors[T any](t *testing.T, dir, name string) []T {
	t.Helper()
	f, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all []T
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var v T
		if err := json.Unmarshal(lines.Bytes(), &v); err != nil {
			t.Fatal(err)
		}
		all = append(all, v)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	if len(all) == 0 {
		t.Fatalf("%s is empty", name)
	}
	return all
}

// parse reads one line of JSON, in which nothing but strings, small numbers, lists and objects comes.
func parse(t *testing.T, line string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(line), &v); err != nil {
		t.Fatalf("%.200q: %v", line, err)
	}
	return v
}

// splitLines checks that there are n lines and that the last one ends.
func splitLines(t *testing.T, text string, n int) []string {
	t.Helper()
	lines := strings.SplitAfter(text, "\n")
	if len(lines) != n+1 || lines[n] != "" {
		t.Fatalf("%d lines, want %d; the end is %.100q", len(lines)-1, n, lines[len(lines)-1])
	}
	for i := range lines[:n] {
		lines[i] = strings.TrimSuffix(lines[i], "\n")
	}
	return lines[:n]
}

// Every way to call ferry wrongly is one line and exit code 2.
func TestUsage(t *testing.T) {
	for _, c := range []struct {
		name string
		args string
		says string
	}{
		{"unknown command", "sail", `unknown command "sail"`},
		{"misspelt command", "snapsho", `did you mean "snapshot"?`},
		{"unknown flag", "decode --hex", "unknown flag: --hex"},
		{"unknown flag of the root", "--verbose", "unknown flag: --verbose"},
		{"bad flag value", "init x --base-port many", `"many"`},
		{"argument too many", "decode file", `"file"`},
		{"argument missing", "init", "accepts 1 arg(s), received 0"},
		{"unknown command of a group", "snapshot sail", `unknown command "sail"`},
		{"inspect without a file", "snapshot inspect", "either a snapshot file or --hex"},
		{"inspect with both", "snapshot inspect --hex x", "either a snapshot file or --hex"},
		{"id without a key", "id", "either a key file or --public"},
		{"id with both", "id --public 00 x", "either a key file or --public"},
		{"id of a bad key", "id --public 00", "64 hexadecimal digits"},
		{"id of an empty key", "id --public=", "64 hexadecimal digits"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := ferry(t, "", strings.Fields(c.args)...)
			if r.code != exitUsage || r.stdout != "" {
				t.Errorf("exit %d, stdout %q", r.code, r.stdout)
			}
			if !strings.HasPrefix(r.stderr, "ferry: ") || strings.Count(r.stderr, "\n") != 1 {
				t.Errorf("not one line: %q", r.stderr)
			}
			if !strings.Contains(r.stderr, c.says) || !strings.Contains(r.stderr, "--help)") {
				t.Errorf("%q does not say %q", r.stderr, c.says)
			}
		})
	}
}

func TestNoCommandHelps(t *testing.T) {
	for _, args := range [][]string{nil, {"snapshot"}} {
		r := ferry(t, "", args...)
		if r.code != exitUsage || r.stdout != "" || !strings.Contains(r.stderr, "Available Commands:") {
			t.Errorf("%q: exit %d, stdout %q, stderr %q", args, r.code, r.stdout, r.stderr)
		}
	}
}

// Every command of ours has help with examples, on stdout and with exit code 0.
func TestHelp(t *testing.T) {
	seen := 0
	for _, cmd := range newRootCmd().Commands() {
		if cmd.Name() == "completion" {
			continue // cobra's
		}
		all := append(cmd.Commands(), cmd)
		for _, c := range all {
			if c.HasSubCommands() {
				continue
			}
			seen++
			args := append(strings.Fields(c.CommandPath())[1:], "--help")
			r := ferry(t, "", args...)
			if r.code != exitDone || r.stderr != "" || !strings.Contains(r.stdout, "Examples:\n  ") {
				t.Errorf("%v: exit %d, stderr %q, stdout %q", args, r.code, r.stderr, r.stdout)
			}
			if c.Short == "" || c.Long == "" {
				t.Errorf("%s: no description", c.CommandPath())
			}
		}
	}
	if seen < 6 {
		t.Errorf("%d commands", seen)
	}
}

func TestCompletion(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if r := ferry(t, "", "completion", shell); r.code != exitDone || !strings.Contains(r.stdout, "ferry") {
			t.Errorf("%s: exit %d, stderr %q", shell, r.code, r.stderr)
		}
	}
	if r := ferry(t, "", "completion", "tcsh"); r.code != exitUsage || r.stdout != "" {
		t.Errorf("tcsh: exit %d, stdout %q", r.code, r.stdout)
	}
	if r := ferry(t, "", "__complete", "sn"); r.code != exitDone || !strings.HasPrefix(r.stdout, "snapshot\t") {
		t.Errorf("complete sn: exit %d, stdout %q", r.code, r.stdout)
	}
}

func TestVersion(t *testing.T) {
	r := ferry(t, "", "version")
	if r.code != exitDone || !strings.HasPrefix(r.stdout, "ferry ") {
		t.Errorf("exit %d, %q", r.code, r.stdout)
	}
	var v version
	r = ferry(t, "", "version", "--json")
	if err := json.Unmarshal([]byte(r.stdout), &v); err != nil || v.Version == "" || v.Go == "" || v.OS == "" || v.Arch == "" {
		t.Errorf("%+v: %v", v, err)
	}
}
