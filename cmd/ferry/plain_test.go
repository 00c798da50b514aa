package main

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"ferry/frame"
	"ferry/identity"
	"ferry/proto0500"
	"ferry/transport"
)

// tenMessages is a peer that says no hello; what it is told goes to heard.
type tenMessages struct {
	t     *testing.T
	heard chan proto0500.Message
}

func (p tenMessages) Opened(*transport.Session, []byte) error { return nil }
func (p tenMessages) Closed(*transport.Session, error)        {}
func (p tenMessages) Stream(_ *transport.Session, st *transport.Stream) {
	st.Cancel(transport.CodeRefused)
}
func (p tenMessages) Control(_ *transport.Session, f frame.Frame) {
	lim := frame.NetMesh()
	m, err := proto0500.DecodeBase(slices.Clone(f.Message()), &lim)
	if err != nil {
		p.t.Errorf("sent % x: %v", f.Message(), err)
		return
	}
	p.heard <- m
}

// TestAllowPlain: an orchestrator with the ten messages moves a daemon between two processes that let it, and is told
// the name of the flag by one that does not.
func TestAllowPlain(t *testing.T) {
	slow(t)
	w := newWorld(t, "a", "b", "c", "o")
	w.node("a", "--daemon", "orders", "--allow-plain")
	w.node("b", "--allow-plain")
	w.node("c", "--daemon", "other")
	key, err := w.file.Key("o")
	if err != nil {
		t.Fatal(err)
	}
	p := tenMessages{t, make(chan proto0500.Message, 100)}
	ep, err := transport.New(transport.Config{Key: key, Resolver: w.file, Handler: p})
	if err != nil {
		t.Fatal(err)
	}
	if err := ep.Listen("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- ep.Run(ctx) }()
	defer func() {
		cancel()
		<-done
	}()
	node := func(name string) identity.NodeID { return identity.NodeIDOf(w.find(name).PublicKey) }
	say := func(to string, m proto0500.Message) {
		t.Helper()
		s, err := ep.Session(t.Context(), node(to))
		if err != nil {
			t.Fatal(err)
		}
		lim := frame.NetMesh()
		b, err := m.Append(nil, &lim)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Send(0, b); err != nil {
			t.Fatal(err)
		}
	}
	hear := func(want proto0500.Kind) proto0500.Message {
		t.Helper()
		select {
		case m := <-p.heard:
			if m.Kind() != want {
				t.Fatalf("heard %v %+v, not %v", m.Kind(), m, want)
			}
			return m
		case <-time.After(patience):
			t.Fatalf("no %v", want)
			panic("unreachable")
		}
	}
	origins := make(map[string]proto0500.Origin)
	for name, n := range w.status() {
		for _, d := range n.Daemons {
			v, err := strconv.ParseUint(d.Origin, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			origins[name] = proto0500.Origin(v)
		}
	}
	say("c", proto0500.TakeSnapshot{DaemonOrigin: origins["c"], TargetNode: proto0500.NodeID(node("b"))})
	if m := hear(proto0500.KindMigrationFailed).(proto0500.MigrationFailed); !strings.Contains(m.Reason.String(), "ferry node --allow-plain") {
		t.Errorf("refused with %v", m.Reason)
	}
	orders := origins["a"]
	say("a", proto0500.TakeSnapshot{DaemonOrigin: orders, TargetNode: proto0500.NodeID(node("b"))})
	hear(proto0500.KindRestoreComplete)
	hear(proto0500.KindReplayComplete)
	say("a", proto0500.CutoverNotify{DaemonOrigin: orders, TargetNode: proto0500.NodeID(node("b"))})
	hear(proto0500.KindCleanupComplete)
	eventually(t, "b has it", patience, func() bool { _, err := w.state("b", "orders"); return err == nil })
	say("b", proto0500.ActivateTarget{DaemonOrigin: orders})
	hear(proto0500.KindActivateAck)
	w.owner("orders", "b", "a")
}
