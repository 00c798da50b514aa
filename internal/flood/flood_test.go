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
	for _, a := range list {
		t.Logf("%-38s %8d, of which the node refused or answered %d", a.name, a.did.Load(), a.answered.Load())
		if a.answered.Load() == 0 && a.name != "garbage datagrams" {
			t.Errorf("%s: nothing has come of it: it is no attack", a.name)
		}
	}
	// Each is told of in the log, and not so often that the log becomes a flood itself.
	for _, line := range []string{
		"connection refused before its handshake", // half open
		"stream refused",     // stalled, or for unknown daemons
		"session ended here", // 4 GiB, or deaf
	} {
		n := node.logged(t, line)
		t.Logf("%d lines in the node's log: %s", n, line)
		if n == 0 && !raceEnabled || n > 1000 { // a tenth of the attackers does not reach every limit
			t.Errorf("%d lines in the node's log with %q", n, line)
		}
	}
	most := node.most.Load()
	t.Logf("anonymous memory: %.1f MiB before, %.1f MiB at the most, bound %d MiB", float64(calm)/(1<<20), float64(most)/(1<<20), boundBytes>>20)
	if most > boundBytes && !raceEnabled { // whose own memory is a multiple
		t.Errorf("%d MiB of memory, over the bound", most>>20)
	}
	node.end(t)
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
