package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/zeebo/xxh3"

	"ferry/snapshot"
)

type snapshotVector struct {
	Name    string          `json:"name"`
	Hex     string          `json:"hex"`
	Verdict string          `json:"crate_verdict"`
	Fields  json.RawMessage `json:"fields"`
}

func TestInspectVectors(t *testing.T) {
	all := vectors[snapshotVector](t, snapshotVectors, "snapshots.jsonl")
	r := ferry(t, lines(all, func(v snapshotVector) string { return v.Hex }), "snapshot", "inspect", "--hex")
	if r.code != exitFailed || strings.Count(r.stderr, "\n") != 1 {
		t.Errorf("exit %d, %q", r.code, r.stderr)
	}
	for i, line := range splitLines(t, r.stdout, len(all)) {
		v := all[i]
		kind := badLine(t, line)
		if (kind == "") != (v.Verdict == "accepted") {
			t.Errorf("%s: the crate says %s, we: %.300s", v.Name, v.Verdict, line)
			continue
		}
		if kind == "" {
			if diff := cmp.Diff(parse(t, `{"fields":`+string(v.Fields)+`}`), parse(t, line)); diff != "" {
				t.Errorf("%s: %s", v.Name, diff)
			}
		}
	}
}

func TestInspectGoodLinesOnly(t *testing.T) {
	v := vectors[snapshotVector](t, snapshotVectors, "snapshots.jsonl")[0]
	if r := ferry(t, v.Hex, "snapshot", "inspect", "--hex"); r.code != exitDone || r.stderr != "" {
		t.Errorf("exit %d, %s", r.code, r.stderr)
	}
}

type inspection struct {
	File       string         `json:"file"`
	FileBytes  int64          `json:"file_bytes"`
	StateBytes int64          `json:"state_bytes"`
	StateXXH3  string         `json:"state_xxh3"`
	Fields     map[string]any `json:"fields"`
}

func inspect(t *testing.T, args ...string) inspection {
	t.Helper()
	r := ferry(t, "", append([]string{"snapshot", "inspect"}, args...)...)
	if r.code != exitDone || r.stderr != "" {
		t.Fatalf("exit %d, %s", r.code, r.stderr)
	}
	var got inspection
	if err := json.Unmarshal([]byte(r.stdout), &got); err != nil {
		t.Fatal(err)
	}
	return got
}

func TestInspectFile(t *testing.T) {
	var v snapshotVector
	for _, v = range vectors[snapshotVector](t, snapshotVectors, "snapshots.jsonl") {
		if v.Name == "valid/envelope-and-bindings" {
			break
		}
	}
	raw, err := hex.DecodeString(v.Hex)
	if err != nil {
		t.Fatal(err)
	}
	path := write(t, string(raw), 0o644)
	for _, args := range [][]string{{path}, {path, "--json"}, {path, "--full"}} {
		got := inspect(t, args...)
		if diff := cmp.Diff(parse(t, string(v.Fields)), any(got.Fields)); diff != "" {
			t.Errorf("%v: %s", args, diff)
		}
		if got.File != path || got.FileBytes != int64(len(raw)) {
			t.Errorf("%v: %+v", args, got)
		}
	}

	for name, bad := range map[string][]byte{"cut": raw[:len(raw)-1], "longer": append(raw, 0), "empty": nil} {
		r := ferry(t, "", "snapshot", "inspect", write(t, string(bad), 0o644))
		if r.code != exitFailed || r.stdout != "" || strings.Count(r.stderr, "\n") != 1 {
			t.Errorf("%s: exit %d, %q, %q", name, r.code, r.stdout, r.stderr)
		}
	}
	for _, none := range []string{filepath.Join(t.TempDir(), "none"), t.TempDir()} {
		if r := ferry(t, "", "snapshot", "inspect", none); r.code != exitFailed || strings.Count(r.stderr, "\n") != 1 {
			t.Errorf("%s: exit %d, %q", none, r.code, r.stderr)
		}
	}
}

// A large state is not printed unless somebody asks for it; version 3 is read from a file, but not where net-mesh's
// rules are asked for.
func TestInspectLargeAndVersion3(t *testing.T) {
	first := vectors[snapshotVector](t, snapshotVectors, "snapshots.jsonl")[0]
	raw, err := hex.DecodeString(first.Hex)
	if err != nil {
		t.Fatal(err)
	}
	env, err := snapshot.Open(bytes.NewReader(raw), int64(len(raw)), snapshot.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	state := bytes.Repeat([]byte{0xab}, stateShownBytes+1)
	h := env.Header
	h.Version, h.StateLen = snapshot.Version3, uint64(len(state))
	src, err := snapshot.NewSource(h, bytes.NewReader(state), []byte{1}, nil)
	if err != nil {
		t.Fatal(err)
	}
	whole, err := io.ReadAll(io.NewSectionReader(src, 0, src.Size()))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "v3.cds1")
	if err := os.WriteFile(path, whole, 0o644); err != nil {
		t.Fatal(err)
	}
	short := inspect(t, path)
	if short.Fields["state"] != nil || short.Fields["bindings_bytes"] != "01" || short.Fields["version"] != float64(3) {
		t.Errorf("%v", short.Fields)
	}
	if short.StateBytes != int64(len(state)) || short.StateXXH3 != strconv.FormatUint(xxh3.Hash(state), 10) {
		t.Errorf("%+v", short)
	}
	if full := inspect(t, path, "--full", "--json"); full.Fields["state"] != hex.EncodeToString(state) {
		t.Errorf("%.100v", full.Fields["state"])
	}
	r := ferry(t, hex.EncodeToString(whole), "snapshot", "inspect", "--hex")
	if r.code != exitFailed || badLine(t, strings.TrimSpace(r.stdout)) != "version" {
		t.Errorf("exit %d, %.200s", r.code, r.stdout)
	}
}
