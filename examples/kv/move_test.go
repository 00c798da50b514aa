package kv_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"ferry/daemon"
	"ferry/examples/kv"
	"ferry/identity"
	"ferry/journal"
	"ferry/journal/boltjournal"
	"ferry/migration"
	"ferry/orchestrator"
	"ferry/proto0500"
	"ferry/transport"
)

const daemonName = "orders"

// cluster is nodes on loopback, each with its own socket, disk, journal and
// HTTP server, that know each other by key.
type cluster struct {
	mu   sync.Mutex
	addr map[identity.NodeID]transport.Address
	url  map[proto0500.NodeID]string
}

// Resolve implements transport.Resolver.
func (c *cluster) Resolve(_ context.Context, id identity.NodeID) (transport.Address, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a, ok := c.addr[id]
	if !ok {
		return a, fmt.Errorf("%w: %v", transport.ErrUnknownNode, id)
	}
	return a, nil
}

func (c *cluster) add(key *identity.Key, name, addr string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	id := key.NodeID()
	c.addr[id] = transport.Address{ID: id, Name: name, Addr: addr, Key: ed25519.PublicKey(key.Public())}
}

func (c *cluster) urlOf(id proto0500.NodeID) (string, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	u, ok := c.url[id]
	return u, ok
}

// node runs a host with a kv daemon's kind and its HTTP server until the test ends.
func (c *cluster) node(t *testing.T, name string, key *identity.Key, orchestrators identity.AllowList, opts kv.Options) *daemon.Host {
	t.Helper()
	dir := t.TempDir()
	j, err := boltjournal.Open(filepath.Join(dir, "journal.db"), boltjournal.Options{})
	if err != nil {
		t.Fatal(err)
	}
	host, err := daemon.New(daemon.Config{
		Key: key, Dir: filepath.Join(dir, "data"), Journal: j, Resolver: c,
		Kinds: []daemon.Kind{kv.Kind(opts)}, Orchestrators: orchestrators,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := host.Endpoint().Listen("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	c.add(key, name, host.Endpoint().Addr().String())

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: kv.Handler(kv.HostBackend(host, daemonName), kv.HandlerOptions{
		Owner: func(_ context.Context, hint proto0500.NodeID) (string, bool) { return c.urlOf(hint) },
	})}
	c.mu.Lock()
	c.url[proto0500.NodeID(key.NodeID())] = "http://" + listener.Addr().String()
	c.mu.Unlock()

	ctx, cancel := context.WithCancel(context.Background())
	var work sync.WaitGroup
	work.Go(func() {
		if err := host.Run(ctx); err != nil {
			t.Errorf("node %s: %v", name, err)
		}
	})
	work.Go(func() { _ = srv.Serve(listener) }) // ends with Close
	t.Cleanup(func() {
		_ = srv.Close()
		cancel()
		work.Wait()
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	})
	select {
	case <-host.Ready():
	case <-time.After(10 * time.Second):
		t.Fatal("node not ready")
	}
	return host
}

// A filled store moves to another node and back under writers that speak HTTP.
// By their own records and the log as HTTP gives it, nothing is lost, doubled or
// reordered; a twin that never moved has the same digest.
func TestMoveUnderWriters(t *testing.T) {
	opts := kv.Options{FillBytes: 16 << 20, FillSeed: 1}
	c := &cluster{addr: make(map[identity.NodeID]transport.Address), url: make(map[proto0500.NodeID]string)}
	keyA, keyB, keyO := identity.KeyFromSeed([32]byte{1}), identity.KeyFromSeed([32]byte{2}), identity.KeyFromSeed([32]byte{3})
	allowed := identity.NewAllowList(keyO.NodeID())
	a := c.node(t, "a", keyA, allowed, opts)
	c.node(t, "b", keyB, allowed, opts)
	idA, idB := proto0500.NodeID(keyA.NodeID()), proto0500.NodeID(keyB.NodeID())
	urlA, _ := c.urlOf(idA)
	urlB, _ := c.urlOf(idB)
	c.add(keyO, "o", "")

	o, err := orchestrator.New(orchestrator.Config{Key: keyO, Journal: journal.NewMemory(), Resolver: c})
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Endpoint().Listen("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	octx, ostop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := o.Run(octx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { ostop(); running.Wait() })

	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	if err := a.Create(ctx, daemonName, "kv"); err != nil {
		t.Fatal(err)
	}
	st, err := a.Status(ctx, daemonName)
	if err != nil {
		t.Fatal(err)
	}

	client, err := kv.NewClient(nil, urlA, urlB)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdle)
	writing, stop := context.WithCancel(ctx)
	var (
		writers sync.WaitGroup
		mu      sync.Mutex
		records []kv.Record
	)
	for w := range 4 {
		writers.Go(func() {
			for n := 0; writing.Err() == nil; n++ {
				key, value := fmt.Appendf(nil, "w%d/%d", w, n%50), fmt.Appendf(nil, "writer %d, write %d", w, n)
				payload, err := kv.EncodePut(key, value)
				if err != nil {
					t.Error(err)
					return
				}
				seq, err := client.Put(ctx, key, value) // ctx, not writing: each one is answered
				if err != nil {
					t.Errorf("writer %d, write %d: %v", w, n, err)
					return
				}
				mu.Lock()
				records = append(records, kv.Record{Seq: seq, Payload: payload})
				mu.Unlock()
			}
		})
	}
	for _, move := range []orchestrator.Move{
		{Daemon: st.Origin, Source: idA, Target: idB},
		{Daemon: st.Origin, Source: idB, Target: idA},
		{Daemon: st.Origin, Source: idA, Target: idB},
	} {
		h, err := o.Migrate(ctx, move)
		if err != nil {
			t.Fatal(err)
		}
		res, err := h.Wait(ctx)
		if err != nil || res.Outcome != migration.OutcomeCommitted {
			t.Fatalf("%v: %s, %v", res.Outcome, res.Text, err)
		}
	}
	stop()
	writers.Wait()

	report, err := kv.CheckLog(kv.Records(records), client.Log(ctx, 1))
	if err != nil {
		t.Fatal(err)
	}
	if !report.OK() || report.Unacked != 0 || report.Acked < 100 {
		t.Errorf("%+v", report)
	}
	state, err := client.State(ctx, urlB, true)
	if err != nil {
		t.Fatal(err)
	}
	head := hex.EncodeToString(report.Head.Link.Append(nil))
	if !state.Authority || state.Seq != report.Head.Seq || state.Head != head || state.Recount != state.Digest {
		t.Errorf("b says %+v, its log ends at %d with %s", state, report.Head.Seq, head)
	}
	twin, err := kv.Twin(t.TempDir(), opts, kv.Records(records))
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("%016x", twin.Digest()); state.Digest != want {
		t.Errorf("digest %s, the twin's is %s", state.Digest, want)
	}
	if got, err := client.Get(ctx, []byte("fill/00000255")); err != nil || len(got) != 64<<10 || bytes.Count(got, []byte{0}) > 1000 {
		t.Errorf("the fill did not move: %d bytes, %v", len(got), err)
	}
	if other, err := client.State(ctx, urlA, false); err != nil || other.Authority {
		t.Errorf("a says %+v, %v", other, err)
	}
	t.Logf("%d writes acknowledged over three moves", report.Acked)
}
