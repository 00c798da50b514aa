package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"ferry/cluster"
	"ferry/examples/kv"
)

// asFerry makes the test binary the ferry command, so that tests run real
// processes of the code under test.
const asFerry = "FERRY_TEST_IS_FERRY=1"

func TestMain(m *testing.M) {
	name, value, _ := strings.Cut(asFerry, "=")
	if os.Getenv(name) == value {
		os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	flag.Parse()
	// These tests wait for processes, more than they compute.
	if err := flag.Set("test.parallel", "6"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// patience is how long anything may take that should take a moment: the machine
// may be busy.
const patience = 60 * time.Second

// slow is for tests that take seconds.
func slow(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("takes seconds")
	}
	t.Parallel()
}

// proc is a running ferry process.
type proc struct {
	t      *testing.T
	name   string
	cmd    *exec.Cmd
	stdout bytes.Buffer
	done   chan struct{}

	mu     sync.Mutex
	stderr []string      // lines
	grown  chan struct{} // closed when there is another line
}

// spawn starts ferry. It is killed when the test ends.
func spawn(t *testing.T, args ...string) *proc {
	t.Helper()
	return spawnEnv(t, nil, args...)
}

func spawnEnv(t *testing.T, env []string, args ...string) *proc {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &proc{t: t, name: strings.Join(args, " "), done: make(chan struct{}), grown: make(chan struct{})}
	p.cmd = exec.Command(exe, args...)
	p.cmd.Env = append(append(os.Environ(), asFerry), env...)
	p.cmd.SysProcAttr = ownGroup()
	p.cmd.Stdout = &p.stdout
	if _, err := p.cmd.StdinPipe(); err != nil { // open until the test binary ends
		t.Fatal(err)
	}
	pipe, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		lines := bufio.NewScanner(pipe)
		for lines.Scan() {
			p.mu.Lock()
			p.stderr = append(p.stderr, lines.Text())
			close(p.grown)
			p.grown = make(chan struct{})
			p.mu.Unlock()
		}
		_ = p.cmd.Wait() // its exit code says it
	}()
	t.Cleanup(func() {
		p.signal(syscall.SIGKILL)
		<-p.done
		for _, text := range []string{"DATA RACE", "panic:", "goroutine "} {
			if strings.Contains(p.said(), text) {
				t.Errorf("ferry %s: %s", p.name, text)
			}
		}
		if t.Failed() {
			t.Logf("ferry %s: exit %d\n%s", p.name, p.cmd.ProcessState.ExitCode(), p.said())
		}
	})
	return p
}

func (p *proc) said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.stderr, "\n")
}

func (p *proc) signal(s syscall.Signal) {
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Errorf("ferry %s: %v", p.name, err)
	}
}

// await returns the first line of stderr that contains text.
func (p *proc) await(text string) string {
	p.t.Helper()
	over := time.After(patience)
	for seen := 0; ; {
		p.mu.Lock()
		lines, grown := p.stderr, p.grown
		p.mu.Unlock()
		for _, line := range lines[seen:] {
			if strings.Contains(line, text) {
				return line
			}
		}
		seen = len(lines)
		select {
		case <-grown:
		case <-p.done:
			p.mu.Lock()
			rest := strings.Join(p.stderr[seen:], "\n")
			p.mu.Unlock()
			if !strings.Contains(rest, text) {
				p.t.Fatalf("ferry %s ended and never said %q:\n%s", p.name, text, p.said())
			}
		case <-over:
			p.t.Fatalf("ferry %s does not say %q:\n%s", p.name, text, p.said())
		}
	}
}

// exit waits for the process to end, and for no longer than within.
func (p *proc) exit(within time.Duration) result {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(within):
		p.t.Fatalf("ferry %s has not ended within %v:\n%s", p.name, within, p.said())
	}
	return result{p.cmd.ProcessState.ExitCode(), p.stdout.String(), p.said()}
}

// command runs ferry to its end.
func command(t *testing.T, args ...string) result {
	t.Helper()
	return spawn(t, args...).exit(patience)
}

// world is a cluster of processes.
type world struct {
	t     *testing.T
	dir   string
	file  *cluster.File
	files map[string]string // of nodes that have a cluster file of their own
}

func newWorld(t *testing.T, nodes ...string) *world {
	t.Helper()
	dir := t.TempDir()
	made, err := cluster.Init(dir, cluster.Options{Names: nodes})
	if err != nil {
		t.Fatal(err)
	}
	return &world{t: t, dir: dir, file: made.File, files: make(map[string]string)}
}

func (w *world) find(name string) cluster.Node {
	w.t.Helper()
	n, err := w.file.Node(name)
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

func (w *world) url(name string) string { return "http://" + w.find(name).HTTP }

// path is the cluster file that a node is given.
func (w *world) path(name string) string {
	if own := w.files[name]; own != "" {
		return own
	}
	return w.file.Path()
}

// reroute gives a node a cluster file of its own, in which another node is at
// another address.
func (w *world) reroute(name, peer, addr string) {
	w.t.Helper()
	dir := filepath.Join(w.dir, "only-"+name)
	key, err := os.ReadFile(w.file.KeyPath(name))
	if err == nil {
		err = os.MkdirAll(filepath.Join(dir, "keys"), 0o700)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "keys", name+".pem"), key, 0o600)
	}
	file := cluster.File{}
	for _, n := range w.file.Nodes {
		if n.Name == peer {
			n.Addr = addr
		}
		file.Nodes = append(file.Nodes, n)
	}
	path := filepath.Join(dir, cluster.FileName)
	if err = errors.Join(err, file.Save(path)); err != nil {
		w.t.Fatal(err)
	}
	w.files[name] = path
}

// node starts a node and waits until it is up.
func (w *world) node(name string, args ...string) *proc {
	w.t.Helper()
	p := w.startNode(name, args...)
	p.await("node is up")
	return p
}

func (w *world) startNode(name string, args ...string) *proc {
	w.t.Helper()
	return spawn(w.t, append([]string{"node", "--until-stdin-ends", "--cluster", w.path(name), "--name", name}, args...)...)
}

// migrateArgs is a move by o.
func (w *world) migrateArgs(daemon, to string, more ...string) []string {
	return append([]string{"migrate", "--cluster", w.path("o"), "--as", "o", "--daemon", daemon, "--to", to}, more...)
}

// migrate moves a daemon, and expects an exit code.
func (w *world) migrate(want int, daemon, to string, more ...string) (moveResult, result) {
	w.t.Helper()
	r := command(w.t, w.migrateArgs(daemon, to, append(more, "--json")...)...)
	if r.code != want {
		w.t.Fatalf("migrate %s to %s: exit %d, want %d: %s", daemon, to, r.code, want, r.stderr)
	}
	var res moveResult
	if r.stdout != "" {
		if err := json.Unmarshal([]byte(r.stdout), &res); err != nil {
			w.t.Fatal(err)
		}
	}
	return res, r
}

// state is /state of a daemon at a node.
func (w *world) state(node, daemon string) (kv.State, error) {
	base := w.url(node) + daemonsPrefix + daemon
	client, err := kv.NewClient(nil, base)
	if err != nil {
		return kv.State{}, err
	}
	defer client.CloseIdle()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return client.State(ctx, base, false)
}

// owner checks that exactly the one node is the daemon's authority, and returns
// its state.
func (w *world) owner(daemon, want string, others ...string) kv.State {
	w.t.Helper()
	st, err := w.state(want, daemon)
	if err != nil || !st.Authority {
		w.t.Fatalf("%s at %s: %+v, %v", daemon, want, st, err)
	}
	for _, name := range others {
		if st, err := w.state(name, daemon); err != nil || st.Authority {
			w.t.Fatalf("%s at %s too: %+v, %v", daemon, name, st, err)
		}
	}
	return st
}

// status is ferry status --json, by name of the node.
func (w *world) status() map[string]nodeStatus {
	w.t.Helper()
	r := command(w.t, "status", "--cluster", w.path("o"), "--as", "o", "--json")
	var res statusResult
	if err := json.Unmarshal([]byte(r.stdout), &res); err != nil || r.code != exitDone || r.stderr != "" {
		w.t.Fatalf("status: exit %d, %q, %v", r.code, r.stderr, err)
	}
	nodes := make(map[string]nodeStatus)
	for _, n := range res.Nodes {
		nodes[n.Name] = n
	}
	return nodes
}

// daemon is what a node says of a daemon in status, nil: nothing.
func (n nodeStatus) daemon(name string) *daemonStatus {
	for i := range n.Daemons {
		if n.Daemons[i].Name == name {
			return &n.Daemons[i]
		}
	}
	return nil
}

// eventually asks until it is so.
func eventually(t *testing.T, what string, within time.Duration, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	over := time.After(within)
	for !ok() {
		select {
		case <-tick.C:
		case <-over:
			t.Fatalf("not within %v: %s", within, what)
		}
	}
}
