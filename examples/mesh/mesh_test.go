package mesh

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"go.uber.org/goleak"

	"ferry/daemon"
	"ferry/identity"
	"ferry/journal"
	"ferry/migration"
	"ferry/orchestrator"
	"ferry/proto0500"
	"ferry/transport"
)

// patience bounds what a test waits for. It is only reached when the test fails.
const patience = 60 * time.Second

func TestByTransport(t *testing.T) {
	nodes := testMove(t, ByTransport)
	for _, n := range nodes {
		if n.guests.Load() == 0 && n.name != "o" { // o only dials
			t.Errorf("%s: ferry has made no connection of its own", n.name)
		}
	}
}

func TestByConn(t *testing.T) {
	nodes := testMove(t, ByConn)
	for _, n := range nodes {
		if n.streams.Load() == 0 {
			t.Errorf("%s: no stream of ferry's has come by the mesh's connections", n.name)
		}
	}
}

// TestByConnAgain ends ferry's session on a connection that goes on: another one follows.
func TestByConnAgain(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	nodes := start(t, ByConn, "a", "b", "o")
	a, b := nodes[0], nodes[1]
	for _, n := range nodes {
		if err := n.Joined(ctx); err != nil {
			t.Fatal(err)
		}
	}
	old, ok := a.host.Endpoint().Live(b.id)
	if !ok {
		t.Fatal("a has joined b without a session")
	}
	conn, err := a.conn(ctx, b.id)
	if err != nil {
		t.Fatal(err)
	}
	old.Close(nil)
	<-old.Done()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if s, ok := a.host.Endpoint().Live(b.id); ok && s != old {
			break
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("no second session")
		}
	}
	if same, err := a.conn(ctx, b.id); err != nil || same != conn {
		t.Errorf("the mesh's own connection has not outlived the session: %v", err)
	}
}

// testMove moves a daemon from a to b and back, by a mover o, while each node pings each and writes to the daemon. It
// checks that the moves commit, that the mesh has lost no message, and that every write is there once, in order, under
// the sequence number that its writer was told.
func testMove(t *testing.T, ride func(*Node, *transport.Endpoint) error) []*node {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	nodes := start(t, ride, "a", "b", "o")
	a, b, o := nodes[0], nodes[1], nodes[2]
	for _, n := range nodes {
		if err := n.Joined(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Create(ctx, "notes", notebookKind.Name); err != nil {
		t.Fatal(err)
	}
	writers := write(ctx, t, nodes)
	writers.more(20)
	pinged := pings(nodes)
	for i, leg := range []struct{ from, to *node }{{a, b}, {b, a}} {
		before, began := pings(nodes), time.Now()
		res, err := o.Move(ctx, "notes", leg.to.id)
		if err != nil {
			t.Fatal(err)
		}
		if res.Outcome != migration.OutcomeCommitted {
			t.Fatalf("move %d: %v: %s", i, res.Outcome, res.Text)
		}
		took := time.Since(began)
		during := pings(nodes)
		if during.Answered == before.Answered {
			t.Errorf("move %d: the mesh was mute for %v", i, took)
		}
		t.Logf("move %d: %v at event %d, %v; lanes moved %d bytes; pings answered meanwhile: %d, slowest %v (before: %v)", i, took.Round(time.Millisecond),
			res.FinalSeq, lanes(res), res.Last.Target[proto0500.CounterStateBytes], during.Answered-before.Answered, during.Slowest, before.Slowest)
		writers.more(20)
	}
	writers.end()

	for _, n := range nodes {
		n.Quiet()
	}
	after := pings(nodes)
	if after.Sent != after.Answered || after.Sent != after.Heard || after.Answered == pinged.Answered {
		t.Errorf("pings: %d sent, %d heard, %d answered, %d of them before the moves", after.Sent, after.Heard, after.Answered, pinged.Answered)
	}
	writers.check(t, a)
	if st, err := b.host.Status(ctx, "notes"); err != nil || st.Authority {
		t.Errorf("b: authority %v, %v", st.Authority, err)
	}
	return nodes
}

// lanes says which lanes carried how many chunks.
func lanes(res orchestrator.Result) string {
	var carried []uint64
	for lane := range uint8(proto0500.LanesMax) {
		if n := res.Last.Source[proto0500.CounterLaneChunks(lane)]; n > 0 {
			carried = append(carried, n)
		}
	}
	return fmt.Sprintf("chunks by lane %v", carried)
}

// node counts what the mesh has handed to ferry.
type node struct {
	*Node
	name            string
	guests, streams atomic.Int64
}

// start runs a mesh, of which the last node is the mover, until the test ends.
func start(t *testing.T, ride func(*Node, *transport.Endpoint) error, names ...string) []*node {
	ignore := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, ignore) })
	keys := make([]*identity.Key, len(names))
	for i, name := range names {
		keys[i] = identity.KeyFromSeed([32]byte{byte(i + 1), name[0]})
	}
	dir := t.TempDir()
	var nodes []*node
	for i, name := range names {
		n, err := New(Config{
			Key: keys[i], Name: name, Dir: dir, Journal: journal.NewMemory(), Kinds: []daemon.Kind{notebookKind},
			Mover: keys[len(keys)-1].NodeID(), Ride: ride, Every: 2 * time.Millisecond,
			Log: slog.New(slog.NewTextHandler(testLog{t, name}, &slog.HandlerOptions{Level: slog.LevelWarn})),
		})
		if err != nil {
			t.Fatal(err)
		}
		counted := &node{Node: n, name: name}
		counted.count()
		nodes = append(nodes, counted)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	t.Cleanup(running.Wait)
	t.Cleanup(cancel)
	for _, n := range nodes {
		for _, peer := range nodes {
			n.Meet(peer.Address())
		}
	}
	for _, n := range nodes {
		running.Go(func() {
			if err := n.Run(ctx); err != nil {
				t.Errorf("%s: %v", n.name, err)
			}
		})
	}
	return nodes
}

func (n *node) count() {
	if accept := n.guest.accept; accept != nil {
		n.guest.accept = func(conn *quic.Conn) {
			n.guests.Add(1)
			accept(conn)
		}
	}
	if stream := n.guest.stream; stream != nil {
		n.guest.stream = func(conn *quic.Conn, str *quic.Stream, first []byte) bool {
			taken := stream(conn, str, first)
			if taken {
				n.streams.Add(1)
			}
			return taken
		}
	}
}

func pings(nodes []*node) (sum Traffic) {
	for _, n := range nodes {
		t := n.Traffic()
		sum.Sent += t.Sent
		sum.Answered += t.Answered
		sum.Heard += t.Heard
		sum.Slowest = max(sum.Slowest, t.Slowest)
	}
	return sum
}

// writers write numbered notes from every node, one at a time each.
type writers struct {
	wg    sync.WaitGroup
	stop  chan struct{}
	round chan struct{} // one for each write
	t     *testing.T

	mu    sync.Mutex
	wrote map[proto0500.Seq]string
}

func write(ctx context.Context, t *testing.T, nodes []*node) *writers {
	w := &writers{stop: make(chan struct{}), round: make(chan struct{}), t: t, wrote: make(map[proto0500.Seq]string)}
	for _, n := range nodes {
		w.wg.Go(func() {
			for i := 0; ; i++ {
				note := fmt.Sprintf("%s%d", n.name, i)
				seq, err := n.Write(ctx, "notes", []byte(note))
				if err != nil {
					t.Errorf("%s: write %d: %v", n.name, i, err)
					return
				}
				w.mu.Lock()
				if other, twice := w.wrote[seq]; twice {
					t.Errorf("event %d is %q and %q", seq, other, note)
				}
				w.wrote[seq] = note
				w.mu.Unlock()
				select {
				case w.round <- struct{}{}:
				case <-w.stop:
					return
				default:
				}
				select {
				case <-w.stop:
					return
				default:
				}
			}
		})
	}
	return w
}

// more waits for n further writes.
func (w *writers) more(n int) {
	for range n {
		select {
		case <-w.round:
		case <-time.After(patience):
			w.t.Fatal("writes have stopped")
		}
	}
}

func (w *writers) end() {
	close(w.stop)
	w.wg.Wait()
}

// check compares what the writers were told with what the daemon has.
func (w *writers) check(t *testing.T, at *node) {
	t.Helper()
	st, err := at.host.Status(t.Context(), "notes")
	if err != nil || !st.Authority {
		t.Fatalf("%s: authority %v, %v", at.name, st.Authority, err)
	}
	notes := st.Daemon.(*notebook).all()
	if len(notes) != len(w.wrote) || int(st.Head.Seq) != len(notes) {
		t.Errorf("%d notes through event %d, but %d writes were acknowledged", len(notes), st.Head.Seq, len(w.wrote))
	}
	for i, note := range notes {
		if want := w.wrote[proto0500.Seq(i+1)]; note != want {
			t.Fatalf("event %d is %q, its writer wrote %q", i+1, note, want)
		}
	}
	t.Logf("%d writes", len(notes))
}

// notebook is a daemon that keeps what is written, and much else.
type notebook struct {
	mu    sync.Mutex
	notes []string
	bulk  []byte
}

// bulkBytes are moved beside the notes, so that a move takes a while.
const bulkBytes = 6 << 20

var notebookKind = daemon.Kind{
	Name: "notebook", Schema: 1,
	Open: func(env daemon.Env) (daemon.Daemon, error) {
		n := new(notebook)
		if env.Created {
			n.bulk = make([]byte, bulkBytes)
		}
		return n, nil
	},
}

func (n *notebook) all() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]string(nil), n.notes...)
}

func (n *notebook) Apply(events []daemon.Event) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, e := range events {
		n.notes = append(n.notes, string(e.Payload))
	}
	return nil
}

func (n *notebook) Snapshot() (daemon.Snapshot, error) {
	b, err := json.Marshal(n.all())
	return daemon.Bytes(append(n.bulk[:len(n.bulk):len(n.bulk)], b...)), err
}

func (n *notebook) Restore(s daemon.State) error {
	n.bulk = make([]byte, bulkBytes)
	if _, err := s.ReadAt(n.bulk, 0); err != nil {
		return err
	}
	return json.NewDecoder(io.NewSectionReader(s, bulkBytes, s.Size()-bulkBytes)).Decode(&n.notes)
}

func (n *notebook) Close() error { return nil }

// testLog writes to the test's log as long as it runs.
type testLog struct {
	t    *testing.T
	name string
}

func (l testLog) Write(b []byte) (int, error) {
	if l.t.Context().Err() == nil {
		l.t.Logf("%s: %s", l.name, b)
	}
	return len(b), nil
}
