package main

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ferry/daemon"
	"ferry/journal"
	"ferry/journal/boltjournal"
)

// What is wrong with a cluster, a key or a port is one line that says what and
// what to do, and nothing is begun.
func TestBadInput(t *testing.T) {
	const node, migrate = "node --cluster FILE --name a", "migrate --cluster FILE --as o --daemon orders --to b"
	for _, c := range []struct {
		name string
		args string // FILE is the cluster file
		harm func(t *testing.T, w *world)
		code int
		says []string
	}{
		{"no cluster file", "node --cluster nowhere.toml --name a", nil, exitFailed, []string{"nowhere.toml", "no such file", "ferry init"}},
		{"status without a file", "status --cluster nowhere.toml", nil, exitFailed, []string{"no such file", "ferry init"}},
		{"broken file", node, func(t *testing.T, w *world) { edit(t, w.file.Path(), "[[nodes]]", "[[nodes") }, exitFailed, []string{"cluster.toml:", "bad TOML"}},
		{"unknown field", node, func(t *testing.T, w *world) { edit(t, w.file.Path(), "addr =", "adress =") }, exitFailed, []string{"cluster.toml:", "adress"}},
		{"unknown node", "node --cluster FILE --name x", nil, exitFailed, []string{`no node "x"`, "it has a, b, o"}},
		{"no key", node, func(t *testing.T, w *world) { mustDo(t, os.Remove(w.file.KeyPath("a"))) }, exitFailed, []string{"a.pem", "no such file"}},
		{"key that others may read", node, func(t *testing.T, w *world) { mustDo(t, os.Chmod(w.file.KeyPath("a"), 0o644)) }, exitFailed, []string{"a.pem", "chmod 600"}},
		{"another node's key", node, func(t *testing.T, w *world) { mustDo(t, os.Rename(w.file.KeyPath("b"), w.file.KeyPath("a"))) }, exitFailed, []string{"is not the key of node a"}},
		{"http port in use", node, func(t *testing.T, w *world) { takeTCP(t, w.find("a").HTTP) }, exitFailed, []string{"address already in use", "free the port", "cluster.toml"}},
		{"udp port in use", node, func(t *testing.T, w *world) { takeUDP(t, w.find("a").Addr) }, exitFailed, []string{"address already in use", "free the port", "cluster.toml"}},
		{"journal in use", node, func(t *testing.T, w *world) {
			lockJournal(t, nodeJournal(w.file, "a"))
		}, exitFailed, []string{"runs already", "another process"}},
		{"create without a daemon", node + " --create", nil, exitUsage, []string{"--daemon"}},
		{"too many lanes", node + " --lanes 33", nil, exitUsage, []string{"--lanes"}},
		{"no such behind", node + " --behind never", nil, exitUsage, []string{"--behind", "slow or give-up"}},
		{"bad size", node + " --fill lots", nil, exitUsage, []string{`"lots" is not a size`}},
		{"node without a name", "node --cluster FILE", nil, exitUsage, []string{`"name" not set`}},
		{"migrate without all flags", "migrate --cluster FILE --as o", nil, exitUsage, []string{`"daemon", "to" not set`}},
		{"migrate to nowhere", "migrate --cluster FILE --as o --daemon orders --to x", nil, exitFailed, []string{`no node "x"`, "it has a, b, o"}},
		{"migrate as nobody", "migrate --cluster FILE --as x --daemon orders --to b", nil, exitFailed, []string{`no node "x"`}},
		{"migrate as the target", "migrate --cluster FILE --as b --daemon orders --to b", nil, exitUsage, []string{"third node"}},
		{"migrate with no patience", migrate + " --timeout 0s", nil, exitUsage, []string{"--timeout"}},
		{"may not orchestrate", migrate, func(t *testing.T, w *world) {
			edit(t, w.file.Path(), "name = 'o'", "name = 'o'\norchestrator = false")
		}, exitFailed, []string{"may not orchestrate", "orchestrator = false"}},
		{"nobody is there", migrate, nil, exitFailed, []string{"no node of the cluster answers", "ferry node"}},
		{"status, nobody is there", "status --cluster FILE", nil, exitFailed, []string{"can be reached", "ferry node"}},
		{"status without any key", "status --cluster FILE", func(t *testing.T, w *world) {
			mustDo(t, os.RemoveAll(filepath.Dir(w.file.KeyPath("a"))))
		}, exitFailed, []string{"no key to ask with"}},
		{"demo in a cluster", "demo --keep DIR", nil, exitFailed, []string{"there is a cluster already", "--keep"}},
		{"demo without writes", "demo --writes 0", nil, exitUsage, []string{"--writes"}},
		{"demo with a bad size", "demo --state x", nil, exitUsage, []string{"is not a size"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "a", "b", "o")
			if c.harm != nil {
				c.harm(t, w)
			}
			args := strings.NewReplacer("FILE", w.file.Path(), "DIR", w.dir).Replace(c.args)
			begun := time.Now()
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			var stdout, stderr strings.Builder
			code := run(ctx, strings.Fields(args), strings.NewReader(""), &stdout, &stderr)
			took := time.Since(begun)
			if code != c.code {
				t.Errorf("exit %d, want %d", code, c.code)
			}
			oneLineSays(t, stderr.String(), c.says...)
			if stdout.Len() > 0 && !strings.HasPrefix(c.args, "status") {
				t.Errorf("stdout: %q", stdout.String())
			}
			if took > 10*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

// oneLineSays checks what a person gets to read.
func oneLineSays(t *testing.T, text string, says ...string) {
	t.Helper()
	if !strings.HasPrefix(text, "ferry: ") || strings.Count(strings.TrimSpace(text), "\n") != 0 {
		t.Errorf("not one line: %q", text)
	}
	for _, s := range says {
		if !strings.Contains(text, s) {
			t.Errorf("does not say %q: %s", s, text)
		}
	}
	for _, s := range []string{"Usage:", "goroutine ", "panic", "%!"} {
		if strings.Contains(text, s) {
			t.Errorf("%q in %s", s, text)
		}
	}
}

func mustDo(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func edit(t *testing.T, path, old, with string) {
	t.Helper()
	text, err := os.ReadFile(path)
	mustDo(t, err)
	changed := strings.Replace(string(text), old, with, 1)
	if changed == string(text) {
		t.Fatalf("%s: no %q in it", path, old)
	}
	mustDo(t, os.WriteFile(path, []byte(changed), 0o644))
}

func takeTCP(t *testing.T, addr string) {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	mustDo(t, err)
	t.Cleanup(func() { l.Close() })
}

func takeUDP(t *testing.T, addr string) {
	t.Helper()
	l, err := net.ListenPacket("udp", addr)
	mustDo(t, err)
	t.Cleanup(func() { l.Close() })
}

func lockJournal(t *testing.T, path string) {
	t.Helper()
	mustDo(t, os.MkdirAll(filepath.Dir(path), 0o700))
	j, err := boltjournal.Open(path, boltjournal.Options{})
	mustDo(t, err)
	t.Cleanup(func() { _ = j.Close() })
}

// A journal in use is not waited for over 1 s.
func TestLockedJournalIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "a", "b", "o")
	lockJournal(t, nodeJournal(w.file, "a"))
	begun := time.Now()
	r := ferry(t, "", "node", "--cluster", w.file.Path(), "--name", "a")
	if took := time.Since(begun); r.code != exitFailed || took > 1500*time.Millisecond {
		t.Errorf("exit %d after %v", r.code, took)
	}
}

// What ferry migrate refuses when the nodes are there.
func TestMigrateRefuses(t *testing.T) {
	slow(t)
	w := newWorld(t, "a", "b", "c", "d", "o")
	w.node("a", "--daemon", "orders")
	w.foreignNode("b")
	for _, c := range []struct {
		name, as, daemon, to string
		code                 int
		says                 []string
	}{
		{"unknown daemon", "o", "order", "b", exitFailed, []string{`no node has daemon "order"`, "there is orders"}},
		{"as the source", "a", "orders", "b", exitFailed, []string{"a itself, which is not asked", "third node"}},
		{"to a node that is down", "o", "orders", "c", exitFailed, []string{"target c does not answer", "ferry node"}},
		{"to a node without its kind", "o", "orders", "b", exitFailed, []string{"refused", "FactoryNotFound"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := command(t, "migrate", "--quiet", "--cluster", w.file.Path(), "--as", c.as, "--daemon", c.daemon, "--to", c.to)
			if r.code != c.code || r.stdout != "" {
				t.Errorf("exit %d, want %d; stdout %q", r.code, c.code, r.stdout)
			}
			oneLineSays(t, r.stderr, c.says...)
			w.serving("a", "orders")
		})
	}
}

// foreignNode is a node of another program, which makes no kv daemons.
func (w *world) foreignNode(name string) {
	w.t.Helper()
	key, err := w.file.Key(name)
	mustDo(w.t, err)
	host, err := daemon.New(daemon.Config{
		Key: key, Dir: filepath.Join(w.dir, "foreign"), Journal: journal.NewMemory(), Resolver: w.file, Orchestrators: w.file.Orchestrators(),
		Kinds: []daemon.Kind{{Name: "other", Open: func(daemon.Env) (daemon.Daemon, error) { return nil, os.ErrInvalid }}},
	})
	mustDo(w.t, err)
	mustDo(w.t, host.Endpoint().Listen(w.find(name).Addr))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- host.Run(ctx) }()
	w.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("foreign node: %v", err)
		}
	})
}
