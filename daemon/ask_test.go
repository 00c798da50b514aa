package daemon_test

import (
	"context"
	"reflect"
	"slices"
	"testing"

	"ferry/daemon"
	"ferry/frame"
	"ferry/identity"
	"ferry/journal"
	"ferry/migration"
	"ferry/proto0500"
	"ferry/transport"
)

// asking is a peer with our extensions that says what the test wants, and keeps what it is told.
type asking struct {
	*transport.Endpoint
	w     *world
	heard chan proto0500.Message
}

func (a *asking) Opened(*transport.Session, []byte) error          { return nil }
func (a *asking) Closed(*transport.Session, error)                 {}
func (a *asking) Stream(_ *transport.Session, s *transport.Stream) { s.Cancel(transport.CodeRefused) }
func (a *asking) Control(_ *transport.Session, f frame.Frame) {
	lim := frame.Default()
	m, err := proto0500.Decode(slices.Clone(f.Message()), &lim)
	if err != nil {
		a.w.t.Error(err)
		return
	}
	a.heard <- m
}

func (w *world) asking(name string) *asking {
	w.t.Helper()
	lim := frame.Default()
	hello, err := proto0500.Hello{
		Version: proto0500.HelloVersion, ChunkBytesMax: lim.ChunkBytesMax, EventPayloadBytesMax: lim.EventPayloadBytesMax, MessageBytesMax: lim.MessageBytesMax,
	}.Append(nil, &lim)
	if err != nil {
		w.t.Fatal(err)
	}
	a := &asking{w: w, heard: make(chan proto0500.Message, 1<<16)}
	a.Endpoint, err = transport.New(transport.Config{Key: w.keys[name], Resolver: w, Handler: a, Log: w.log(name), Hello: func() []byte { return hello }})
	if err != nil {
		w.t.Fatal(err)
	}
	_, unplug := w.plugIn(name, a.Endpoint)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	w.ends = append(w.ends, func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Error(err)
		}
		unplug()
	})
	return a
}

// ask sends n queries at once and gives n answers.
func (a *asking) ask(s *transport.Session, n int, e frame.Epoch, o proto0500.Origin) (answers []proto0500.Message) {
	a.w.t.Helper()
	return a.say(s, n, e, proto0500.Query{DaemonOrigin: o})
}

// say sends a message n times and gives n answers.
func (a *asking) say(s *transport.Session, n int, e frame.Epoch, m proto0500.Message) (answers []proto0500.Message) {
	a.w.t.Helper()
	lim := frame.Default()
	for range n {
		b, err := m.Append(nil, &lim)
		if err == nil {
			err = s.Send(e, b)
		}
		if err != nil {
			a.w.t.Fatal(err)
		}
	}
	for range n {
		select {
		case m := <-a.heard:
			answers = append(answers, m)
		case <-s.Done():
			a.w.t.Fatalf("the session has ended: %v", s.Err())
		}
	}
	return answers
}

// TestQueryOfAStranger: a node that has no role is told nothing at the epoch that is recorded; at any other, of which
// nobody's role is recorded, only what could end an attempt of its own.
func TestQueryOfAStranger(t *testing.T) {
	w := newWorld(t, "a", "b", "c", "o")
	a, b := w.run("a", nil), w.run("b", nil)
	o := w.orchestrator(journal.NewMemory(), nil)
	origin := a.create("d", "diary")
	a.fill("d", lines(0, 3))
	w.want(o.move(origin, "a", "b"), migration.OutcomeCommitted)
	c := w.asking("c")
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s, err := c.Session(ctx, b.Node())
	if err != nil {
		t.Fatal(err)
	}
	now := b.status("d")
	for _, e := range []frame.Epoch{0, now.Epoch} {
		if no, ok := c.ask(s, 1, e, origin)[0].(proto0500.Rejected); !ok || no.Reason != proto0500.RejectWrongPeer || no.Refused != proto0500.KindQuery {
			t.Errorf("epoch %d: told %+v", e, no)
		}
	}
	for _, e := range []frame.Epoch{now.Epoch + 1, 1 << 62} {
		m := proto0500.Message(proto0500.Query{DaemonOrigin: origin})
		if e == 1<<62 { // which is answered with a report where nothing is on its way, too
			m = proto0500.Transfer{DaemonOrigin: origin, Size: 100, StateSize: 10, ChunkSize: 7000}
		}
		r, ok := c.say(s, 1, e, m)[0].(proto0500.Report)
		want := proto0500.Report{DaemonOrigin: origin, Epoch: now.Epoch, LiveEpoch: now.Epoch, BootID: r.BootID, Last: true, Name: r.Name, DaemonKind: r.DaemonKind}
		if !ok || !reflect.DeepEqual(r, want) || len(r.Name)+len(r.DaemonKind) != 0 {
			t.Errorf("epoch %d: told %+v", e, r)
		}
	}
	if no, ok := c.ask(s, 1, 1<<63, 0)[0].(proto0500.Rejected); !ok || no.Reason != proto0500.RejectWrongPeer {
		t.Errorf("about all daemons: told %+v", no)
	}
}

// TestQueryFlood: who may ask, and asks without end, is answered up to its budget; the others' questions are answered all
// the while.
func TestQueryFlood(t *testing.T) {
	w := newWorld(t, "a", "c", "o")
	a := w.run("a", func(cfg *daemon.Config) { cfg.Askers = identity.NewAllowList(w.keys["c"].NodeID()) })
	o := w.orchestrator(journal.NewMemory(), nil)
	origin := a.create("d", "diary")
	c := w.asking("c")
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s, err := c.Session(ctx, a.Node())
	if err != nil {
		t.Fatal(err)
	}
	const refused = "query refused: too many in a second"
	told := 0
	for a.Refused()[refused] == 0 {
		for _, m := range c.ask(s, 500, 1<<63, 0) {
			switch m := m.(type) {
			case proto0500.Report:
				told++
			case proto0500.Rejected:
				if m.Reason != proto0500.RejectNotReady || m.Refused != proto0500.KindQuery {
					t.Fatalf("told %+v", m)
				}
			}
		}
	}
	if told < daemon.ReportsBurst {
		t.Errorf("%d questions were answered, and the budget is %d", told, daemon.ReportsBurst)
	}
	if got, err := o.Query(ctx, a.Node()); err != nil || len(got) != 1 || got[0].DaemonOrigin != origin {
		t.Errorf("another node is told %+v, %v", got, err)
	}
}
