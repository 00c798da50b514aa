package flood

import (
	"context"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"ferry/daemon"
	"ferry/journal"
	"ferry/migration"
	"ferry/orchestrator"
	"ferry/proto0500"
)

// patience bounds what the test waits for. It is reached only when the test fails.
const patience = 3 * time.Minute

// What the attacked node's anonymous memory may come to: what its limits allow to those who attack it here.
const (
	ownBytes      = 32 << 20       // a node at work: the heap that is promised of one
	strangerBytes = 512 * 64 << 10 // connections without a session: 512 of them, 50 KiB each
	sessionsBytes = 14 * 4 << 20   // the attackers' sessions, at most so many at a time: a connection's window of unread bytes each
	boundBytes    = ownBytes + strangerBytes + sessionsBytes
)

// TestFlood: a daemon moves to a node that is attacked in every way at once. The move ends, every write that was
// accepted is there, the node's memory stays below its bound, and when it closes nothing of it is left.
func TestFlood(t *testing.T) {
	node := startNode(t)
	nodes := newCluster()
	nodes.set(keyNode, node.addr)
	source, o := startSource(t, nodes), startOrchestrator(t, nodes)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := source.Create(ctx, "d", kind.Name); err != nil {
		t.Fatal(err)
	}
	status, err := source.Status(ctx, "d")
	if err != nil {
		t.Fatal(err)
	}
	calm := node.anonymous()

	attacking, peace := context.WithCancel(ctx)
	var work sync.WaitGroup
	defer work.Wait()
	defer peace()
	noise := newGarbage()
	work.Go(func() { noise.run(attacking, noise, node.addr) })
	alone(ctx, t, node, noise)
	list := attacks()
	for _, a := range list {
		work.Go(func() { a.run(attacking, a, node.addr) })
	}
	for _, a := range list {
		select {
		case <-a.height:
		case <-ctx.Done():
			t.Fatalf("%s: %d of %d", a.name, a.did.Load(), a.quota)
		}
	}

	accepted, written := make(chan int64, 1), make(chan struct{})
	go func() { accepted <- write(ctx, source, written) }()
	began := time.Now()
	h, err := o.Migrate(ctx, orchestrator.Move{Daemon: status.Origin, Source: proto0500.NodeID(source.Node()), Target: proto0500.NodeID(key(keyNode).NodeID())})
	if err != nil {
		t.Fatal(err)
	}
	res, err := h.Wait(ctx)
	if err != nil || res.Outcome != migration.OutcomeCommitted {
		t.Fatalf("%v: %s, %v", res.Outcome, res.Text, err)
	}
	t.Logf("%d MiB moved in %.1f s, under attack", blobBytes>>20, time.Since(began).Seconds())
	close(written)
	n := <-accepted
	reports, err := source.Query(ctx, key(keyNode).NodeID())
	if err != nil || len(reports) != 1 || reports[0].State != proto0500.StateServing || uint64(reports[0].Seq) < uint64(n) {
		t.Fatalf("%d writes accepted, and the target says %+v, %v", n, reports, err)
	}
	t.Logf("%d writes accepted at the source, %d events at the target", n, reports[0].Seq)

	peace()
	work.Wait()
	most := node.most.Load()
	t.Logf("anonymous memory: %.1f MiB before, %.1f MiB at the most, bound %d MiB", float64(calm)/(1<<20), float64(most)/(1<<20), boundBytes>>20)
	if most > boundBytes && !raceEnabled { // whose own memory is a multiple
		t.Errorf("%d MiB of memory, over the bound", most>>20)
	}
	for _, line := range []string{"connection refused before its handshake", "stream refused", "session ended here", "query refused"} {
		if n := node.told(t, line); n > 1000 { // or the log would be a flood itself
			t.Errorf("%d lines in the node's log with %q", n, line)
		}
	}
	refused := node.end(t)
	t.Logf("the node has refused %v", refused)
	for _, a := range list {
		t.Logf("%-38s %8d, of which %d were seen to be refused or answered", a.name, a.did.Load(), a.answered.Load())
		if a.answered.Load() == 0 {
			t.Errorf("%s: nothing has come of it: it is no attack", a.name)
		}
		for _, what := range a.refused {
			n := node.told(t, what, a.who)
			t.Logf("%-38s %8d counted by the node, %d lines in its log: %s", "", refused[what], n, what)
			if !raceEnabled && (refused[what] == 0 || n == 0) { // a tenth of the attackers does not reach every limit
				t.Errorf("%s: the node has not counted or not told of %q, %s", a.name, what, a.who)
			}
		}
	}
}

// alone looks at what datagrams without sense cost the node while nothing else is done to it.
func alone(ctx context.Context, t *testing.T, node *attacked, noise *attack) {
	t.Helper()
	began, before := time.Now(), node.busy()
	select {
	case <-noise.height:
	case <-ctx.Done():
		t.Fatalf("%d datagrams of garbage", noise.did.Load())
	}
	took, cost, sent := time.Since(began), node.busy()-before, noise.did.Load()
	rate := float64(sent) / took.Seconds()
	each := cost / time.Duration(sent)
	t.Logf("%-38s %8d alone, %.0f a second; the node has spent %v, %v each", noise.name, sent, rate, cost, each)
	if rate < 10_000 && !raceEnabled {
		t.Errorf("%.0f datagrams of garbage a second", rate)
	}
	if lost, ok := node.dropped(); ok {
		t.Logf("%-38s %8d lost at the node's socket: the others have arrived", "", lost)
		if lost > sent/2 {
			t.Errorf("%d of %d datagrams have not arrived", lost, sent)
		}
		if cost == 0 {
			t.Error("the node has spent nothing on them: has it read them?")
		}
	}
	if each > 100*time.Microsecond && !raceEnabled {
		t.Errorf("a datagram of garbage costs the node %v", each)
	}
}

// write writes until it is told to stop or the daemon has moved, and gives how many writes were accepted here.
func write(ctx context.Context, h *daemon.Host, stop <-chan struct{}) (n int64) {
	for {
		select {
		case <-stop:
			return n
		default:
		}
		if _, err := h.Write(ctx, "d", []byte("event")); err != nil {
			return n // it has gone
		}
		n++
	}
}

func startSource(t *testing.T, nodes *cluster) *daemon.Host {
	t.Helper()
	h, j, err := newHost(filepath.Join(t.TempDir(), "source"), keySource, nodes, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	nodes.set(keySource, h.Endpoint().Addr().String())
	background(t, h.Run)
	t.Cleanup(func() { _ = j.Close() })
	<-h.Ready()
	return h
}

func startOrchestrator(t *testing.T, nodes *cluster) *orchestrator.Orchestrator {
	t.Helper()
	o, err := orchestrator.New(orchestrator.Config{Key: key(keyOrchestrator), Journal: journal.NewMemory(), Resolver: nodes})
	if err == nil {
		err = o.Endpoint().Listen("127.0.0.1:0")
	}
	if err != nil {
		t.Fatal(err)
	}
	nodes.set(keyOrchestrator, o.Endpoint().Addr().String())
	background(t, o.Run)
	return o
}

// background runs run until the test ends.
func background(t *testing.T, run func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
