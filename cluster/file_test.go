package cluster

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ferry/identity"
	"ferry/transport"
)

const (
	keyA = "3b6a27bcceb6a42d62a3a8d02a6f0d73653215771de243a63ac048a18b59da29"
	keyB = "76a1592044a6e4f511265bca73a604d90b0529d1df602be30a19a9257660d1f5"
)

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), FileName)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

const good = `# comment
[[nodes]]
name = "a"
addr = "127.0.0.1:7501"
http = "127.0.0.1:7502"
public_key = "` + keyA + `"

[[nodes]]
name = "b-2"
addr = "[::1]:7501"
public_key = "` + keyB + `"
orchestrator = false
`

func TestLoad(t *testing.T) {
	path := write(t, good)
	f, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	a, err := f.Node("a")
	if err != nil {
		t.Fatal(err)
	}
	pub, err := identity.ParsePublic(keyA)
	if err != nil {
		t.Fatal(err)
	}
	want := Node{Name: "a", Addr: "127.0.0.1:7501", HTTP: "127.0.0.1:7502", PublicKey: pub, Orchestrator: true}
	if diff := cmp.Diff(want, a); diff != "" {
		t.Error(diff)
	}
	b, err := f.Node("b-2")
	if err != nil {
		t.Fatal(err)
	}
	if b.HTTP != "" || b.Orchestrator {
		t.Errorf("b-2: http %q, orchestrator %v", b.HTTP, b.Orchestrator)
	}
	if list := f.Askers(); !list.Allows(a.ID()) || list.Allows(b.ID()) {
		t.Error("a may ask, b-2 may not")
	}
	if f, err = Load(write(t, good+"asks = true\n")); err != nil || !f.Askers().Allows(b.ID()) || f.Orchestrators().Allows(b.ID()) {
		t.Errorf("b-2 asks, and does not orchestrate: %v", err)
	}
	if err := f.Save(path); err != nil {
		t.Fatal(err)
	}
	if f, err = Load(path); err != nil || !f.Askers().Allows(b.ID()) {
		t.Errorf("b-2 asks, saved: %v", err)
	}
	if list := f.Orchestrators(); !list.Allows(a.ID()) || list.Allows(b.ID()) {
		t.Error("a may orchestrate, b-2 may not")
	}
	dir := filepath.Dir(path)
	if got, want := f.KeyPath("a"), filepath.Join(dir, "keys", "a.pem"); got != want {
		t.Errorf("KeyPath: %s, want %s", got, want)
	}
	if got, want := f.DataDir("a"), filepath.Join(dir, "data", "a"); got != want {
		t.Errorf("DataDir: %s, want %s", got, want)
	}
}

func TestResolve(t *testing.T) {
	f, err := Load(write(t, good))
	if err != nil {
		t.Fatal(err)
	}
	n, err := f.Node("b-2")
	if err != nil {
		t.Fatal(err)
	}
	addr, err := f.Resolve(context.Background(), n.ID())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(transport.Address{ID: n.ID(), Name: "b-2", Addr: "[::1]:7501", Key: n.PublicKey}, addr); diff != "" {
		t.Error(diff)
	}
	if _, err := f.Resolve(context.Background(), n.ID()+1); !errors.Is(err, transport.ErrUnknownNode) {
		t.Errorf("a stranger: %v", err)
	}
	_, err = f.Node("c")
	unknown, ok := errors.AsType[*UnknownNodeError](err)
	if !ok || !errors.Is(err, transport.ErrUnknownNode) || cmp.Diff(unknown.Known, []string{"a", "b-2"}) != "" {
		t.Errorf("node c: %v", err)
	}
}

func TestLoadRefuses(t *testing.T) {
	swap := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("the good file has no %q", old)
		}
		return strings.Replace(good, old, new, 1)
	}
	for _, c := range []struct {
		name  string
		text  string
		line  int
		node  string
		field string
		err   error
	}{
		{"empty", "", 0, "", "nodes", ErrMissing},
		{"not TOML", "[[nodes]]\nname = \"a\"\naddr = 127.0.0.1\n", 3, "", "", ErrSyntax},
		{"not text", "\x00\xff", 1, "", "", ErrSyntax},
		{"wrong type", swap(`name = "a"`, `name = 7`), 3, "", "", ErrSyntax},
		{"key twice in a table", swap(`name = "a"`, "name = \"a\"\nname = \"c\""), 4, "", "", ErrSyntax},
		{"misspelt field", swap(`http =`, `htpp =`), 5, "", "htpp", ErrField},
		{"unknown table", good + "\n[cluster]\nsize = 3\n", 14, "", "cluster", ErrField},
		{"no name", swap("name = \"a\"\n", ""), 2, "", "name", ErrMissing},
		{"empty name", swap(`name = "a"`, `name = ""`), 3, "", "name", ErrMissing},
		{"name is a path", swap(`name = "a"`, `name = "../a"`), 3, "../a", "name", ErrValue},
		{"name in upper case", swap(`name = "a"`, `name = "A"`), 3, "A", "name", ErrValue},
		{"name begins with a dash", swap(`name = "a"`, `name = "-a"`), 3, "-a", "name", ErrValue},
		{"long name", swap(`name = "a"`, `name = "`+strings.Repeat("a", 64)+`"`), 3, strings.Repeat("a", 64), "name", ErrValue},
		{"no addr", swap("addr = \"127.0.0.1:7501\"\n", ""), 2, "a", "addr", ErrMissing},
		{"addr without port", swap(`"127.0.0.1:7501"`, `"127.0.0.1"`), 4, "a", "addr", ErrValue},
		{"addr without host", swap(`"127.0.0.1:7501"`, `":7501"`), 4, "a", "addr", ErrValue},
		{"addr port 0", swap(`"127.0.0.1:7501"`, `"127.0.0.1:0"`), 4, "a", "addr", ErrValue},
		{"addr port too high", swap(`"127.0.0.1:7501"`, `"127.0.0.1:65536"`), 4, "a", "addr", ErrValue},
		{"addr port with a zero before it", swap(`"127.0.0.1:7501"`, `"127.0.0.1:07501"`), 4, "a", "addr", ErrValue},
		{"addr port is a word", swap(`"127.0.0.1:7501"`, `"127.0.0.1:http"`), 4, "a", "addr", ErrValue},
		{"addr of all interfaces", swap(`"127.0.0.1:7501"`, `"0.0.0.0:7501"`), 4, "a", "addr", ErrValue},
		{"addr with a scheme", swap(`"127.0.0.1:7501"`, `"udp://127.0.0.1:7501"`), 4, "a", "addr", ErrValue},
		{"http without port", swap(`"127.0.0.1:7502"`, `"127.0.0.1"`), 5, "a", "http", ErrValue},
		{"no public_key", swap("public_key = \""+keyB+"\"\n", ""), 8, "b-2", "public_key", ErrMissing},
		{"public_key not hex", swap(keyB, "zz"+keyB[2:]), 11, "b-2", "public_key", ErrValue},
		{"public_key too short", swap(keyB, keyB[2:]), 11, "b-2", "public_key", ErrValue},
		{"name twice", swap(`"b-2"`, `"a"`), 9, "a", "name", ErrDuplicate},
		{"addr twice", swap(`"[::1]:7501"`, `"127.0.0.1:7501"`), 10, "b-2", "addr", ErrDuplicate},
		{"http twice", swap(`addr = "[::1]:7501"`, "addr = \"[::1]:7501\"\nhttp = \"127.0.0.1:7502\""), 11, "b-2", "http", ErrDuplicate},
		{"key twice", swap(keyB, keyA), 11, "b-2", "public_key", ErrDuplicate},
		{"key twice in other digits", swap(keyB, strings.ToUpper(keyA)), 11, "b-2", "public_key", ErrDuplicate},
		{"inline tables have no lines", `nodes = [{name = "a", addr = "x"}]`, 0, "a", "addr", ErrValue},
		{"huge", good + strings.Repeat("#\n", fileBytesMax/2), 0, "", "", ErrTooLarge},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := write(t, c.text)
			_, err := Load(path)
			bad, ok := errors.AsType[*FileError](err)
			if !ok {
				t.Fatalf("%v", err)
			}
			if bad.Path != path || bad.Line != c.line || bad.Node != c.node || bad.Field != c.field || !errors.Is(err, c.err) {
				t.Errorf("%v\ngot  line %d node %q field %q %v\nwant line %d node %q field %q %v",
					err, bad.Line, bad.Node, bad.Field, bad.Err, c.line, c.node, c.field, c.err)
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("more than one line: %q", err)
			}
		})
	}
}

func TestLoadMissing(t *testing.T) {
	if _, err := Load(filepath.Join(t.TempDir(), FileName)); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func TestSaveLoads(t *testing.T) {
	f, err := Load(write(t, good))
	if err != nil {
		t.Fatal(err)
	}
	other := &File{Nodes: f.Nodes}
	path := filepath.Join(t.TempDir(), "other.toml")
	if err := other.Save(path); err != nil {
		t.Fatal(err)
	}
	again, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(f.Nodes, again.Nodes); diff != "" {
		t.Error(diff)
	}
}

func TestSaveRefuses(t *testing.T) {
	path := write(t, good)
	f, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	twice := &File{Nodes: append(f.Nodes, f.Nodes[0])}
	if err := twice.Save(path); !errors.Is(err, ErrDuplicate) {
		t.Errorf("a node twice: %v", err)
	}
	text, err := os.ReadFile(path)
	if err != nil || string(text) != good {
		t.Errorf("the refused file touched the old one: %v", err)
	}
}
