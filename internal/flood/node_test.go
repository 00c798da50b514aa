package flood

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"ferry/daemon"
	"ferry/identity"
	"ferry/journal"
	"ferry/journal/boltjournal"
	"ferry/transport"
)

// nodeEnv holds the directory of the attacked node, in its process.
const nodeEnv = "FERRY_FLOOD_NODE"

func TestMain(m *testing.M) {
	if dir := os.Getenv(nodeEnv); dir != "" {
		if err := runNode(dir, os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// Everybody's key, in the order of seeds. The attackers but the first two, who have no key, are nodes of the cluster.
const (
	keyNode = iota + 1
	keySource
	keyOrchestrator
	keyAttacker                   // and those behind it
	keyAsker    = keyAttacker + 5 // who may ask
	keysEnd     = keyAsker + 1
)

func key(n int) *identity.Key { return identity.KeyFromSeed([32]byte{byte(n), 0xf1}) }

// cluster knows all keys, and the addresses that were set.
type cluster struct {
	mu   sync.Mutex
	addr map[identity.NodeID]string
}

func newCluster() *cluster { return &cluster{addr: make(map[identity.NodeID]string)} }

func (c *cluster) set(n int, addr string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.addr[key(n).NodeID()] = addr
}

func (c *cluster) Resolve(_ context.Context, id identity.NodeID) (transport.Address, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for n := keyNode; n < keysEnd; n++ {
		if k := key(n); k.NodeID() == id {
			return transport.Address{ID: id, Key: k.Public(), Addr: c.addr[id]}, nil
		}
	}
	return transport.Address{}, fmt.Errorf("%w: %v", transport.ErrUnknownNode, id)
}

// blobBytes is the state that moves: incompressible, and the same everywhere.
const blobBytes = 64 << 20

// blob is a daemon with a large state, which counts its events.
type blob struct{ n atomic.Int64 }

func (b *blob) Apply(events []daemon.Event) error  { b.n.Add(int64(len(events))); return nil }
func (b *blob) Snapshot() (daemon.Snapshot, error) { return &blobSnapshot{n: b.n.Load()}, nil }
func (b *blob) Close() error                       { return nil }

func (b *blob) Restore(s daemon.State) error {
	var head [8]byte
	if _, err := s.ReadAt(head[:], 0); err != nil {
		return err
	}
	b.n.Store(int64(le.Uint64(head[:])))
	want, got := make([]byte, 1<<16), make([]byte, 1<<16)
	src := &blobSnapshot{n: b.n.Load()}
	for at := int64(0); at < blobBytes; at += int64(len(got)) {
		if _, err := s.ReadAt(got, at); err != nil && err != io.EOF {
			return err
		}
		_, _ = src.ReadAt(want, at)
		if string(want) != string(got) {
			return fmt.Errorf("another state came, at byte %d or soon after", at)
		}
	}
	return nil
}

type blobSnapshot struct{ n int64 }

func (s *blobSnapshot) Size() int64  { return blobBytes }
func (s *blobSnapshot) Close() error { return nil }

func (s *blobSnapshot) ReadAt(p []byte, off int64) (int, error) {
	n := min(int64(len(p)), blobBytes-off)
	for i := range n {
		at := off + i
		if at < 8 {
			p[i] = byte(s.n >> (8 * at))
			continue
		}
		word := uint64(at/8) * 0x9e3779b97f4a7c15
		word ^= word >> 29
		p[i] = byte(word * 0xbf58476d1ce4e5b9 >> (8 * (at % 8)))
	}
	if n < int64(len(p)) {
		return int(n), io.EOF
	}
	return int(n), nil
}

var kind = daemon.Kind{Name: "blob", Schema: 1, Open: func(daemon.Env) (daemon.Daemon, error) { return &blob{}, nil }}

// newHost makes a node on a directory.
func newHost(dir string, n int, nodes *cluster, log *slog.Logger) (*daemon.Host, journal.Journal, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, err
	}
	j, err := boltjournal.Open(filepath.Join(dir, "journal"), boltjournal.Options{})
	if err != nil {
		return nil, nil, err
	}
	h, err := daemon.New(daemon.Config{
		Key: key(n), Dir: dir, Journal: j, Resolver: nodes, Kinds: []daemon.Kind{kind}, Log: log,
		Orchestrators: identity.NewAllowList(key(keyOrchestrator).NodeID()), Askers: identity.NewAllowList(key(keySource).NodeID(), key(keyAsker).NodeID()),
	})
	if err == nil {
		err = h.Endpoint().Listen("127.0.0.1:0")
	}
	if err != nil {
		return nil, nil, errors.Join(err, j.Close())
	}
	return h, j, nil
}

// runNode is the attacked node's process: it says its address, serves until its input ends, closes, and says which
// goroutines are left.
func runNode(dir string, in io.Reader, out io.Writer) error {
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return err
	}
	defer log.Close()
	ignore := goleak.IgnoreCurrent()
	h, j, err := newHost(filepath.Join(dir, "node"), keyNode, newCluster(), slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- h.Run(ctx) }()
	<-h.Ready()
	fmt.Fprintln(out, h.Endpoint().Addr())
	_, _ = io.Copy(io.Discard, in)
	cancel()
	if err := errors.Join(<-ended, j.Close()); err != nil {
		return err
	}
	if err := goleak.Find(ignore); err != nil {
		return fmt.Errorf("goroutines are left: %w", err)
	}
	return json.NewEncoder(out).Encode(h.Refused()) // and no goroutine is left
}

// attacked is that process, seen from the test.
type attacked struct {
	cmd  *exec.Cmd
	addr string
	dir  string
	out  *bufio.Reader
	in   io.Closer

	watching sync.WaitGroup
	stop     chan struct{}
	most     atomic.Int64 // of its anonymous memory, bytes
}

func startNode(t *testing.T) *attacked {
	t.Helper()
	n := &attacked{dir: t.TempDir(), stop: make(chan struct{})}
	n.cmd = exec.Command(os.Args[0])
	n.cmd.Env = append(os.Environ(), nodeEnv+"="+n.dir)
	n.cmd.Stderr = os.Stderr
	in, err := n.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := n.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := n.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.cmd.Process.Kill() })
	n.in, n.out = in, bufio.NewReader(out)
	line, err := n.out.ReadString('\n')
	if err != nil {
		t.Fatalf("the node has not said its address: %v", err)
	}
	n.addr = strings.TrimSpace(line)
	n.watching.Go(n.watch)
	return n
}

// watch looks at the process's memory a hundred times a second.
func (n *attacked) watch() {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		n.most.Store(max(n.most.Load(), n.anonymous()))
		select {
		case <-tick.C:
		case <-n.stop:
			return
		}
	}
}

// anonymous is the process's RssAnon; 0 where /proc has none.
func (n *attacked) anonymous() int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			kb, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return kb << 10
		}
	}
	return 0
}

// told is how many lines of the node's log have all of these texts.
func (n *attacked) told(t *testing.T, texts ...string) (lines int) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(n.dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(line, text) }) {
			lines++
		}
	}
	return lines
}

// dropped is how many datagrams the kernel has thrown away for want of room in the node's socket; not ok where it does not tell.
func (n *attacked) dropped() (datagrams int64, ok bool) {
	_, port, _ := strings.Cut(n.addr, ":")
	want, _ := strconv.Atoi(port)
	text, err := os.ReadFile("/proc/net/udp")
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) == 13 && strings.HasSuffix(fields[1], fmt.Sprintf(":%04X", want)) {
			datagrams, err = strconv.ParseInt(fields[12], 10, 64)
			return datagrams, err == nil
		}
	}
	return 0, false
}

// busy is the processor time that the node has had; 0 where /proc has none.
func (n *attacked) busy() time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", n.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(fields[11], 10, 64)
	system, _ := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * (time.Second / 100)
}

// end closes the node, fails if anything of it is left, and gives what it has refused.
func (n *attacked) end(t *testing.T) (refused map[string]uint64) {
	t.Helper()
	close(n.stop)
	n.watching.Wait()
	_ = n.in.Close()
	rest, _ := io.ReadAll(n.out)
	if err := n.cmd.Wait(); err != nil {
		t.Errorf("the node: %v: %s", err, rest)
	}
	if err := json.Unmarshal(rest, &refused); err != nil {
		t.Errorf("the node's last word is %q: %v", rest, err)
	}
	return refused
}
