package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ferry/cluster"
)

func TestInit(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "c")
	r := ferry(t, "", "init", dir, "--nodes", "a,b,c,o", "--base-port", "20100", "--json")
	if r.code != exitDone || r.stderr != "" {
		t.Fatalf("exit %d, %s", r.code, r.stderr)
	}
	var got initResult
	if err := json.Unmarshal([]byte(r.stdout), &got); err != nil {
		t.Fatal(err)
	}
	f, err := cluster.Load(got.Cluster)
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Nodes) != 4 || len(got.Nodes) != 4 {
		t.Fatalf("%d nodes in the file, %d printed", len(f.Nodes), len(got.Nodes))
	}
	for i, n := range f.Nodes {
		p := got.Nodes[i]
		if p.Name != n.Name || p.Addr != n.Addr || p.HTTP != n.HTTP || p.KeyKept {
			t.Errorf("printed %+v, in the file %+v", p, n)
		}
		info, err := os.Stat(p.Key)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("key %s: %v, %v", p.Key, info, err)
		}
		// The key that was made is the key that was printed.
		var names keyNames
		r := ferry(t, "", "id", p.Key)
		if err := json.Unmarshal([]byte(r.stdout), &names); err != nil || names.PublicKey != p.PublicKey || names.NodeID != p.NodeID {
			t.Errorf("ferry id says %s, init %+v", r.stdout, p)
		}
	}
}

func TestInitTwice(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "c")
	r := ferry(t, "", "init", dir)
	if r.code != exitDone || !strings.Contains(r.stdout, "ferry node --cluster "+filepath.Join(dir, "cluster.toml")+" --name a") {
		t.Fatalf("exit %d, %s%s", r.code, r.stdout, r.stderr)
	}
	path := filepath.Join(dir, cluster.FileName)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	r = ferry(t, "", "init", dir)
	if r.code != exitFailed || r.stdout != "" || !strings.Contains(r.stderr, "--force") || strings.Count(r.stderr, "\n") != 1 {
		t.Errorf("exit %d, %q, %q", r.code, r.stdout, r.stderr)
	}
	if after, err := os.ReadFile(path); err != nil || string(after) != string(before) {
		t.Errorf("the cluster was overwritten (%v)", err)
	}
	r = ferry(t, "", "init", dir, "--force", "--nodes", "a,z")
	if r.code != exitDone || !strings.Contains(r.stdout, "a.pem (kept)") || strings.Contains(r.stdout, "z.pem (kept)") {
		t.Errorf("exit %d, %s%s", r.code, r.stdout, r.stderr)
	}
}

func TestInitRefuses(t *testing.T) {
	file := write(t, "", 0o644)
	dir := filepath.Join(t.TempDir(), "c")
	for _, c := range []struct {
		name string
		args []string
		code int
	}{
		{"name twice", []string{dir, "--nodes", "a,a"}, exitUsage},
		{"bad name", []string{dir, "--nodes", "a,../b"}, exitUsage},
		{"no name", []string{dir, "--nodes", ""}, exitUsage},
		{"empty name", []string{dir, "--nodes", "a,,b"}, exitUsage},
		{"host with a port", []string{dir, "--host", "localhost:1"}, exitUsage},
		{"all interfaces", []string{dir, "--host", "0.0.0.0"}, exitUsage},
		{"port too high", []string{dir, "--base-port", "70000"}, exitUsage},
		{"no port left", []string{dir, "--base-port", "65535"}, exitFailed},
		{"a file is in the way", []string{file}, exitFailed},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := ferry(t, "", append([]string{"init"}, c.args...)...)
			if r.code != c.code || r.stdout != "" || strings.Count(r.stderr, "\n") != 1 {
				t.Errorf("exit %d, %q, %q", r.code, r.stdout, r.stderr)
			}
		})
	}
}
