package cluster

import (
	"bytes"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ferry/identity"
)

func TestInit(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "cluster")
	made, err := Init(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	f, err := Load(filepath.Join(dir, FileName))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(made.File.Nodes, f.Nodes); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"a", "b", "o"}, f.names()); diff != "" {
		t.Error(diff)
	}
	for _, n := range f.Nodes {
		info, err := os.Stat(f.KeyPath(n.Name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("key of %s: mode %v", n.Name, info.Mode())
		}
		if _, err := f.Key(n.Name); err != nil {
			t.Error(err)
		}
		tcp, err := net.Listen("tcp", n.HTTP)
		if err != nil {
			t.Fatalf("http of %s: %v", n.Name, err)
		}
		defer tcp.Close()
		udp, err := net.ListenPacket("udp", n.Addr)
		if err != nil {
			t.Fatalf("addr of %s: %v", n.Name, err)
		}
		defer udp.Close()
	}
}

func TestInitKeepsWhatIsThere(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, FileName)
	if _, err := Init(dir, Options{Names: []string{"a"}}); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Init(dir, Options{Names: []string{"b"}}); !errors.Is(err, ErrExists) {
		t.Errorf("a second time: %v", err)
	}
	after, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("the file has changed (%v)", err)
	}
	if _, err := os.Stat(keyPath(dir, "b")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a refused init left a key: %v", err)
	}

	old, err := identity.LoadKey(keyPath(dir, "a"))
	if err != nil {
		t.Fatal(err)
	}
	made, err := Init(dir, Options{Names: []string{"a", "b"}, Force: true})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a"}, made.KeysKept); diff != "" {
		t.Error(diff)
	}
	if !made.File.Nodes[0].PublicKey.Equal(old.Public()) {
		t.Error("the key of a was replaced: its data would be nobody's")
	}
}

func TestInitRefuses(t *testing.T) {
	for _, c := range []struct {
		name string
		opts Options
		err  error
	}{
		{"no node", Options{Names: []string{}}, ErrMissing},
		{"empty name", Options{Names: []string{"a", ""}}, ErrMissing},
		{"bad name", Options{Names: []string{"a/b"}}, ErrValue},
		{"name twice", Options{Names: []string{"a", "a"}}, ErrDuplicate},
		{"all interfaces", Options{Host: "0.0.0.0"}, ErrValue},
		{"host with port", Options{Host: "localhost:80"}, ErrValue},
		{"negative port", Options{BasePort: -1}, ErrValue},
		{"port too high", Options{BasePort: 65536}, ErrValue},
		{"no port above", Options{BasePort: 65535}, ErrNoPort},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "c")
			if _, err := Init(dir, c.opts); !errors.Is(err, c.err) {
				t.Errorf("%v, want %v", err, c.err)
			}
			if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("a refused init left something: %v", err)
			}
		})
	}
}

// Either protocol on the number takes it.
func TestInitSkipsPortsInUse(t *testing.T) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	for _, used := range []net.Addr{tcp.Addr(), udp.LocalAddr()} {
		_, number, err := net.SplitHostPort(used.String())
		if err != nil {
			t.Fatal(err)
		}
		port, err := strconv.Atoi(number)
		if err != nil {
			t.Fatal(err)
		}
		nodes, err := place([]string{"a", "b"}, DefaultHost, port)
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for _, n := range nodes {
			for _, addr := range []string{n.Addr, n.HTTP} {
				if seen[addr] {
					t.Errorf("%s given twice", addr)
				}
				seen[addr] = true
			}
		}
		if seen[net.JoinHostPort(DefaultHost, number)] {
			t.Errorf("%s port %d is in use and was given", used.Network(), port)
		}
	}
}

// A host of another machine can be written down here; only the numbers are looked at.
func TestInitForAnotherMachine(t *testing.T) {
	made, err := Init(t.TempDir(), Options{Names: []string{"a"}, Host: "192.0.2.7", BasePort: 20000})
	if err != nil {
		t.Fatal(err)
	}
	n := made.File.Nodes[0]
	if host, _, _ := net.SplitHostPort(n.Addr); host != "192.0.2.7" {
		t.Errorf("addr %s", n.Addr)
	}
	if host, _, _ := net.SplitHostPort(n.HTTP); host != "127.0.0.1" {
		t.Errorf("http %s", n.HTTP)
	}
}

func TestKeyMustBelongToTheFile(t *testing.T) {
	dir := t.TempDir()
	made, err := Init(dir, Options{Names: []string{"a", "b"}})
	if err != nil {
		t.Fatal(err)
	}
	f := made.File
	if err := os.Rename(f.KeyPath("b"), f.KeyPath("a")); err != nil {
		t.Fatal(err)
	}
	if _, ok := errors.AsType[*KeyMismatchError](second(f.Key("a"))); !ok {
		t.Error("the key of b passed for that of a")
	}
	if err := second(f.Key("b")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no key: %v", err)
	}
	if err := os.Chmod(f.KeyPath("a"), 0o640); err != nil {
		t.Fatal(err)
	}
	if _, ok := errors.AsType[*identity.KeyModeError](second(f.Key("a"))); !ok {
		t.Error("a key that others may read was taken")
	}
}

func second[T any](_ T, err error) error { return err }
