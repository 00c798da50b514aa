package node

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"ferry/cluster"
	"ferry/fuzz/internal/harness"
	"ferry/identity"
)

// FuzzClusterFile: whatever text is a cluster file, it is loaded as nodes that are written and loaded again as the same,
// or refused with the line, where there is one. mend first makes each public_key one, so that the mutator gets behind it.
func FuzzClusterFile(f *testing.F) { fuzzClusterFile(f) }

func fuzzClusterFile(f harness.F) {
	key := func(n byte) string { return identity.FormatPublic(identity.KeyFromSeed([32]byte{n}).Public()) }
	node := func(name, port string, n byte) string {
		return "[[nodes]]\nname = '" + name + "'\naddr = '127.0.0.1:" + port + "'\npublic_key = '" + key(n) + "'\n"
	}
	f.Add(node("a", "7501", 1)+node("b", "7502", 2)+"orchestrator = false\nhttp = '[::1]:80'\n", false)
	f.Add(node("a", "7501", 1)+node("a", "7501", 1), true)
	f.Add("# nothing\n", false)
	f.Add("nodes = [{name = 'a', addr = 'host:1', public_key = '"+key(3)+"'}]\n", true)
	f.Add("[[nodes]]\nname = \"\\u0061\"\naddr = 'x:1'\npublic_key = 'none'\n[nodes.more]\n", true)
	dir, err := os.MkdirTemp("", "ferry-fuzz-*")
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, cluster.FileName)
	f.Fuzz(func(t *testing.T, text string, mend bool) {
		if mend {
			text = mendedKeys(text)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		file, err := cluster.Load(path)
		if err != nil {
			e, ok := errors.AsType[*cluster.FileError](err)
			if !ok || e.Path != path || e.Line < 0 || e.Line > strings.Count(text, "\n")+1 {
				t.Fatalf("%T: %v", err, err)
			}
			known := false
			for _, kind := range []error{cluster.ErrSyntax, cluster.ErrField, cluster.ErrValue, cluster.ErrMissing, cluster.ErrDuplicate, cluster.ErrTooLarge} {
				known = known || errors.Is(err, kind)
			}
			if !known {
				t.Fatalf("of no kind: %v", err)
			}
			if harness.Canary() && errors.Is(err, cluster.ErrSyntax) {
				e.Line = 0
			}
			if e.Line == 0 && (errors.Is(err, cluster.ErrSyntax) || errors.Is(err, cluster.ErrField)) {
				t.Fatalf("no line: %v", err)
			}
			return
		}
		harness.Accept("cluster file")
		if err := file.Save(path + ".again"); err != nil {
			t.Fatalf("what was loaded is not written: %v", err)
		}
		again, err := cluster.Load(path + ".again")
		if err != nil || !reflect.DeepEqual(again.Nodes, file.Nodes) {
			t.Fatalf("loaded again as %+v, %v, not %+v", again, err, file.Nodes)
		}
		first, err := os.ReadFile(path + ".again")
		if err != nil {
			t.Fatal(err)
		}
		if err := again.Save(path + ".again"); err != nil {
			t.Fatal(err)
		}
		if second, err := os.ReadFile(path + ".again"); err != nil || !bytes.Equal(first, second) {
			t.Fatalf("written again as %q, %v, not %q", second, err, first)
		}
	})
}

// mendedKeys gives every line with a public_key another good one.
func mendedKeys(text string) string {
	lines := strings.SplitAfter(text, "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, "public_key") {
			lines[i] = "public_key = '" + identity.FormatPublic(identity.KeyFromSeed([32]byte{byte(i), 1}).Public()) + "'\n"
		}
	}
	return strings.Join(lines, "")
}
