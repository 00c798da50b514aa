package daemon_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ferry/daemon"
	"ferry/frame"
	"ferry/identity"
	"ferry/journal"
	"ferry/migration"
	"ferry/orchestrator"
	"ferry/proto0500"
	"ferry/transport"
)

// chief is a peer that has only the ten messages: it says no hello, knows no epoch, keeps net-mesh's limits and can read
// nothing else. It is driven by the test, message by message.
type chief struct {
	*transport.Endpoint
	w      *world
	heard  chan proto0500.Message
	closed chan proto0500.NodeID
}

func (c *chief) Opened(_ *transport.Session, _ []byte) error      { return nil }
func (c *chief) Closed(s *transport.Session, _ error)             { c.closed <- proto0500.NodeID(s.Peer()) }
func (c *chief) Stream(_ *transport.Session, s *transport.Stream) { s.Cancel(transport.CodeRefused) }
func (c *chief) Control(s *transport.Session, f frame.Frame) {
	lim := frame.NetMesh()
	m, err := proto0500.DecodeBase(slices.Clone(f.Message()), &lim)
	if err != nil || f.Epoch() != 0 {
		c.w.t.Errorf("a peer with ten messages was sent % x in epoch %d: %v", f.Message(), f.Epoch(), err)
		return
	}
	if again, err := m.Append(nil, &lim); err != nil || !bytes.Equal(again, f.Message()) {
		c.w.t.Errorf("% x is not how net-mesh would write it: % x, %v", f.Message(), again, err)
	}
	c.heard <- m
}

func (w *world) chief(name string) *chief {
	w.t.Helper()
	c := &chief{w: w, heard: make(chan proto0500.Message, 1000), closed: make(chan proto0500.NodeID, 100)}
	ep, err := transport.New(transport.Config{Key: w.keys[name], Resolver: w, Handler: c, Limits: frame.NetMesh(), Log: w.log(name)})
	if err != nil {
		w.t.Fatal(err)
	}
	c.Endpoint = ep
	_, unplug := w.plugIn(name, ep)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- ep.Run(ctx) }()
	w.ends = append(w.ends, func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Error(err)
		}
		unplug()
	})
	return c
}

func (c *chief) say(to string, m proto0500.Message) {
	c.w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s, err := c.Session(ctx, c.w.keys[to].NodeID())
	if err != nil {
		c.w.t.Fatal(err)
	}
	lim := frame.NetMesh()
	b, err := m.Append(nil, &lim)
	if err != nil {
		c.w.t.Fatal(err)
	}
	if err := s.Send(0, b); err != nil {
		c.w.t.Fatal(err)
	}
}

// hear is the next message, which must be of this type.
func hear[M proto0500.Message](c *chief) M {
	c.w.t.Helper()
	select {
	case m := <-c.heard:
		got, ok := m.(M)
		if !ok {
			c.w.t.Fatalf("heard %v %+v", m.Kind(), m)
		}
		return got
	case <-time.After(patience):
		c.w.t.Fatalf("heard nothing")
	}
	panic("unreachable")
}

// activate asks until the target says that it is live: what a retired source says to it may come later than we.
func (c *chief) activate(at string, o proto0500.Origin) proto0500.ActivateAck {
	c.w.t.Helper()
	for range 10_000 {
		c.say(at, proto0500.ActivateTarget{DaemonOrigin: o})
		select {
		case m := <-c.heard:
			switch m := m.(type) {
			case proto0500.ActivateAck:
				return m
			case proto0500.MigrationFailed:
				if !m.Reason.Retriable() {
					c.w.t.Fatalf("the target has refused: %v", m.Reason)
				}
			default:
				c.w.t.Fatalf("heard %v", m.Kind())
			}
		case <-time.After(patience):
			c.w.t.Fatal("no answer")
		}
	}
	panic("the target never goes live")
}

// logged is a log to look at while it is written.
type logged struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// plainly allows chiefs, and the other nodes as orchestrators.
func (w *world) plainly(cfg *daemon.Config) {
	cfg.AllowPlain = true
	cfg.Orchestrators = identity.NewAllowList(w.keys["o"].NodeID(), w.keys["a"].NodeID(), w.keys["b"].NodeID())
}

// TestPlainOrchestrator: net-mesh's ten messages alone move a daemon there and back, while it is written to.
func TestPlainOrchestrator(t *testing.T) {
	w := newWorld(t, "a", "b", "o")
	nodes := map[string]*node{"a": w.run("a", w.plainly), "b": w.run("b", w.plainly)}
	o := w.chief("o")
	origin := nodes["a"].create("d", "diary")
	n := 3
	nodes["a"].fill("d", lines(0, 3))
	for i, way := range [][2]string{{"a", "b"}, {"b", "a"}} {
		from, to := nodes[way[0]], nodes[way[1]]
		take := proto0500.TakeSnapshot{DaemonOrigin: origin, TargetNode: w.id(way[1])}
		o.say(way[0], take)
		if m := hear[proto0500.RestoreComplete](o); m.DaemonOrigin != origin || int(m.RestoredSeq) != n {
			t.Fatalf("%+v after %d events", m, n)
		}
		replayed := hear[proto0500.ReplayComplete](o)
		if replayed.TargetHead.Sequence != replayed.ReplayedSeq || int(replayed.ReplayedSeq) < n {
			t.Fatalf("%+v", replayed)
		}
		// It serves until it is told otherwise. What is doubled, of another target or too early changes nothing.
		from.fill("d", lines(n, 5))
		n += 5
		o.say(way[0], take)
		o.say(way[0], proto0500.CutoverNotify{DaemonOrigin: origin, TargetNode: w.id("o")})
		o.say(way[1], proto0500.ActivateTarget{DaemonOrigin: origin})
		if m := hear[proto0500.MigrationFailed](o); !m.Reason.Retriable() {
			t.Fatalf("a target that is not live says %v", m.Reason)
		}
		if !from.status("d").Authority || to.status("d").Authority {
			t.Fatal("the source is not the authority before the cutover")
		}
		o.say(way[0], proto0500.CutoverNotify{DaemonOrigin: origin, TargetNode: w.id(way[1])})
		hear[proto0500.CleanupComplete](o)
		if ack := o.activate(way[1], origin); int(ack.ReplayedSeq) != n {
			t.Fatalf("live at %d of %d", ack.ReplayedSeq, n)
		}
		w.eventually("the source has let go", func() bool { return from.status("d").State == proto0500.StateMoved })
		if from.status("d").Authority || !to.status("d").Authority || to.status("d").Epoch != frame.Epoch(i+1) {
			t.Fatalf("%+v, %+v", from.status("d"), to.status("d"))
		}
		to.fill("d", lines(n, 2))
		n += 2
		if got := to.read("d"); !slices.Equal(got, lines(0, n)) {
			t.Fatalf("got %q", got)
		}
	}
}

// TestPlainIsRefused: without the setting, or for who may not, nothing begins, and the refusal says why.
func TestPlainIsRefused(t *testing.T) {
	w := newWorld(t, "a", "b", "o", "x")
	a, b := w.run("a", nil), w.run("b", w.plainly)
	origin, other := a.create("d", "diary"), b.create("e", "diary")
	o, x := w.chief("o"), w.chief("x")
	for _, tc := range []struct {
		by     *chief
		at     string
		daemon proto0500.Origin
		why    string
	}{
		{o, "a", origin, "ferry node --allow-plain"},
		{x, "b", other, "may not orchestrate"},
		{o, "b", other + 1, "no such daemon"},
	} {
		tc.by.say(tc.at, proto0500.TakeSnapshot{DaemonOrigin: tc.daemon, TargetNode: w.id("b")})
		if m := hear[proto0500.MigrationFailed](tc.by); m.DaemonOrigin != tc.daemon || !strings.Contains(m.Reason.String(), tc.why) {
			t.Errorf("%v", m.Reason)
		}
		tc.by.say(tc.at, proto0500.ActivateTarget{DaemonOrigin: tc.daemon})
		if m := hear[proto0500.MigrationFailed](tc.by); !m.Reason.Retriable() {
			t.Errorf("%v", m.Reason)
		}
	}
	if a.status("d").Epoch != 0 || b.status("e").Epoch != 0 {
		t.Error("an epoch was handed out")
	}
}

// TestPlainTargetRefuses: a target that does not let the source orchestrate, and one that cannot take the daemon; the
// chief is told in their words, and the source serves on.
func TestPlainTargetRefuses(t *testing.T) {
	w := newWorld(t, "a", "b", "c", "o")
	a := w.run("a", w.plainly)
	w.run("b", func(c *daemon.Config) { c.AllowPlain = true })
	w.run("c", func(c *daemon.Config) { w.plainly(c); c.Kinds = []daemon.Kind{Counter} })
	o := w.chief("o")
	origin := a.create("d", "diary")
	for _, tc := range []struct {
		to, why string
	}{{"b", "not on this node's list of orchestrators"}, {"c", "FactoryNotFound"}} {
		o.say("a", proto0500.TakeSnapshot{DaemonOrigin: origin, TargetNode: w.id(tc.to)})
		if m := hear[proto0500.MigrationFailed](o); !strings.Contains(m.Reason.String(), tc.why) {
			t.Errorf("%s: %v", tc.to, m.Reason)
		}
	}
	a.fill("d", lines(0, 2))
}

// TestPlainLongCopy: a copy that takes several times the attempt's timeout is alive as long as bytes travel, and no
// CutoverNotify within that timeout undoes the move.
func TestPlainLongCopy(t *testing.T) {
	const timeout = 600 * time.Millisecond
	w := newWorld(t, "a", "b", "o")
	slow := func(c *daemon.Config) {
		w.plainly(c)
		c.AttemptTimeout, c.RateLimit, c.ChunkBytes = timeout, daemon.RateLimitMin, 8<<10
	}
	a, b := w.run("a", slow), w.run("b", slow)
	o := w.chief("o")
	origin := a.create("d", "diary")
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 24 {
		page := make([]byte, 8<<10)
		for i := range page {
			page[i] = byte(rnd.Uint32())
		}
		a.write("d", page)
	}
	begun := time.Now()
	o.say("a", proto0500.TakeSnapshot{DaemonOrigin: origin, TargetNode: w.id("b")})
	hear[proto0500.RestoreComplete](o)
	if took := time.Since(begun); took < 2*timeout {
		t.Fatalf("the copy took %v: too fast to show anything", took)
	}
	hear[proto0500.ReplayComplete](o)
	if m := hear[proto0500.MigrationFailed](o); !strings.Contains(m.Reason.String(), "no progress") {
		t.Errorf("%v", m.Reason)
	}
	if !a.status("d").Authority || b.status("d").Authority {
		t.Error("the source does not serve")
	}
}

// TestPlainCancels: the chief's MigrationFailed is a wish, which the source grants, and says so.
func TestPlainCancels(t *testing.T) {
	w := newWorld(t, "a", "b", "o")
	var source, target logged
	logging := func(l *logged) func(*daemon.Config) {
		return func(c *daemon.Config) { w.plainly(c); c.Log = slog.New(slog.NewTextHandler(l, nil)) }
	}
	a, b := w.run("a", logging(&source)), w.run("b", logging(&target))
	o := w.chief("o")
	origin := a.create("d", "diary")
	a.fill("d", lines(0, 3))
	o.say("a", proto0500.TakeSnapshot{DaemonOrigin: origin, TargetNode: w.id("b")})
	hear[proto0500.RestoreComplete](o)
	hear[proto0500.ReplayComplete](o)
	// Both have said at the start what kind of move this is, and the source what is gone.
	if got := source.String(); !strings.Contains(got, "an orchestrator without extensions moves this daemon") || !strings.Contains(got, "never make a second owner") {
		t.Errorf("the source's log: %s", got)
	}
	if got := target.String(); !strings.Contains(got, "its orchestrator has no extensions") {
		t.Errorf("the target's log: %s", got)
	}
	o.say("a", proto0500.MigrationFailed{DaemonOrigin: origin, Reason: proto0500.NewReason(proto0500.CodeStateFailed, "no")})
	hear[proto0500.MigrationFailed](o)
	a.fill("d", lines(3, 2))
	w.eventually("the target has let go", func() bool { return b.status("d").State == proto0500.StateNone })
	// A cutover that comes late, and of a move that is over, moves nothing.
	o.say("a", proto0500.CutoverNotify{DaemonOrigin: origin, TargetNode: w.id("b")})
	o.say("b", proto0500.ActivateTarget{DaemonOrigin: origin})
	if m := hear[proto0500.MigrationFailed](o); !m.Reason.Retriable() {
		t.Errorf("%v", m.Reason)
	}
	if !a.status("d").Authority {
		t.Error("the source does not serve")
	}
}

// TestPlainSourceRestarts: the move is over, the source serves on with everything, and the next one succeeds.
func TestPlainSourceRestarts(t *testing.T) {
	w := newWorld(t, "a", "b", "o")
	a, b := w.run("a", w.plainly), w.run("b", w.plainly)
	o := w.chief("o")
	origin := a.create("d", "diary")
	a.fill("d", lines(0, 3))
	take := proto0500.TakeSnapshot{DaemonOrigin: origin, TargetNode: w.id("b")}
	o.say("a", take)
	hear[proto0500.RestoreComplete](o)
	hear[proto0500.ReplayComplete](o)
	a.end()
	// Whether it has been told that the move is over, or the source was gone before, is a matter of luck.
	if got := <-o.closed; got != w.id("a") {
		t.Fatalf("lost %v", got)
	}
	for len(o.heard) > 0 {
		hear[proto0500.MigrationFailed](o)
	}
	a = w.run("a", w.plainly)
	if !a.status("d").Authority {
		t.Fatal("the source does not serve after its restart")
	}
	o.say("b", proto0500.ActivateTarget{DaemonOrigin: origin})
	if m := hear[proto0500.MigrationFailed](o); !m.Reason.Retriable() {
		t.Fatalf("%v", m.Reason)
	}
	a.fill("d", lines(3, 1))
	o.say("a", take)
	hear[proto0500.RestoreComplete](o)
	hear[proto0500.ReplayComplete](o)
	o.say("a", proto0500.CutoverNotify{DaemonOrigin: origin, TargetNode: w.id("b")})
	hear[proto0500.CleanupComplete](o)
	o.activate("b", origin)
	if got := b.read("d"); !slices.Equal(got, lines(0, 4)) {
		t.Fatalf("got %q", got)
	}
}

// TestPlainSourceOrTarget: a peer with ten messages is neither, and whoever wants it hears so before anything is copied.
func TestPlainSourceOrTarget(t *testing.T) {
	w := newWorld(t, "a", "b", "o", "x")
	a := w.run("a", w.plainly)
	w.chief("x")
	o := w.orchestrator(journal.NewMemory(), nil)
	origin := a.create("d", "diary")
	for _, way := range [][2]string{{"a", "x"}, {"x", "a"}} {
		res := o.move(origin, way[0], way[1])
		w.want(res, migration.OutcomeRefused)
		if !strings.Contains(res.Text, "no extension messages") {
			t.Errorf("%v: %s", way, res.Text)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if _, err := o.Query(ctx, w.keys["x"].NodeID()); !errors.Is(err, orchestrator.ErrPlainPeer) {
		t.Errorf("%v", err)
	}
	if !a.status("d").Authority {
		t.Error("the source does not serve")
	}
	a.write("d", []byte("on"))
}
