package main

import (
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ferry/identity"
)

type keyVector struct {
	Name   string `json:"name"`
	Kind   string `json:"kind"`
	Seed   string `json:"seed"`
	Public string `json:"public_key"`
	Origin string `json:"origin_hash"`
	NodeID string `json:"node_id"`
}

func TestIDVectors(t *testing.T) {
	seen := 0
	for _, v := range vectors[keyVector](t, identityVectors, "identity.jsonl") {
		if v.Kind != "keypair" && v.Kind != "entity" {
			continue
		}
		seen++
		want := keyNames{PublicKey: v.Public, OriginHash: v.Origin, NodeID: v.NodeID}
		args := [][]string{
			{"--public", v.Public},
			{"--public", strings.ToUpper(v.Public), "--json"},
			{write(t, v.Public+"\n", 0o644), "--json"},
		}
		if v.Seed != "" {
			args = append(args, []string{seedFile(t, v.Seed)})
		}
		for _, a := range args {
			r := ferry(t, "", append([]string{"id"}, a...)...)
			var got keyNames
			if err := json.Unmarshal([]byte(r.stdout), &got); err != nil || r.code != exitDone || r.stderr != "" {
				t.Fatalf("%s %v: exit %d, %q, %v", v.Name, a, r.code, r.stderr, err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s %v: %s", v.Name, a, diff)
			}
		}
	}
	if seen < 10 {
		t.Errorf("%d vectors", seen)
	}
}

func write(t *testing.T, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func seedFile(t *testing.T, seed string) string {
	t.Helper()
	raw, err := hex.DecodeString(seed)
	if err != nil {
		t.Fatal(err)
	}
	key, err := identity.NewKey(ed25519.NewKeyFromSeed(raw))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "key.pem")
	if err := identity.SaveKey(path, key); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestIDRefuses(t *testing.T) {
	open := seedFile(t, strings.Repeat("07", 32))
	if err := os.Chmod(open, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, file, says string }{
		{"no file", filepath.Join(t.TempDir(), "none.pem"), "no such file"},
		{"a directory", t.TempDir(), "not a regular file"},
		{"not a key", write(t, "hello\n", 0o600), "not a usable ed25519 key"},
		{"key that others may read", open, "chmod 600 " + open},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := ferry(t, "", "id", c.file)
			if r.code != exitFailed || r.stdout != "" || !strings.Contains(r.stderr, c.says) || strings.Count(r.stderr, "\n") != 1 {
				t.Errorf("exit %d, stdout %q, stderr %q", r.code, r.stdout, r.stderr)
			}
		})
	}
}
