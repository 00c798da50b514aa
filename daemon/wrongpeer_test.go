package daemon_test

import (
	"context"
	"fmt"
	"testing"

	"ferry/daemon"
	"ferry/frame"
	"ferry/identity"
	"ferry/journal"
	"ferry/migration"
	"ferry/proto0500"
)

// said is every message that is about one daemon.
func said(o proto0500.Origin, entity [32]byte) []proto0500.Message {
	link := proto0500.Genesis(o)
	return []proto0500.Message{
		proto0500.TakeSnapshot{DaemonOrigin: o, TargetNode: 5}, proto0500.SnapshotReady{DaemonOrigin: o, TotalChunks: 1, SnapshotBytes: []byte{1}},
		proto0500.RestoreComplete{DaemonOrigin: o}, proto0500.ReplayComplete{DaemonOrigin: o, TargetHead: link},
		proto0500.CutoverNotify{DaemonOrigin: o, TargetNode: 5}, proto0500.CleanupComplete{DaemonOrigin: o},
		proto0500.MigrationFailed{DaemonOrigin: o, Reason: proto0500.NewReason(proto0500.CodeStateFailed, "no")},
		proto0500.BufferedEvents{DaemonOrigin: o}, proto0500.ActivateTarget{DaemonOrigin: o}, proto0500.ActivateAck{DaemonOrigin: o},
		proto0500.Begin{DaemonOrigin: o, TargetNode: 5}, proto0500.Prepare{DaemonOrigin: o, SourceNode: 5, EntityID: entity, Name: proto0500.Text("d"), DaemonKind: proto0500.Text("diary")},
		proto0500.Prepared{DaemonOrigin: o}, proto0500.Transfer{DaemonOrigin: o, Size: 100, StateSize: 10, ChunkSize: 7000},
		proto0500.TransferStatus{DaemonOrigin: o}, proto0500.Seal{DaemonOrigin: o, Head: link}, proto0500.Ack{DaemonOrigin: o, Head: link},
		proto0500.Release{DaemonOrigin: o}, proto0500.Progress{DaemonOrigin: o},
		proto0500.Rejected{DaemonOrigin: o, Refused: proto0500.KindTransfer, Reason: proto0500.RejectNotReady},
		proto0500.Force{DaemonOrigin: o, DeadNode: 5}, proto0500.Have{DaemonOrigin: o}, proto0500.Pace{DaemonOrigin: o}, proto0500.Recipient{DaemonOrigin: o}, proto0500.Query{DaemonOrigin: o}, proto0500.Query{},
	}
}

// TestWrongPeerAtTheShell: whatever a node that has no role says of a daemon, in whatever state that is, at its source and
// at its target: it is counted as refused, and changes nothing. What the core makes of each message in each of its states
// is in migration's own table.
func TestWrongPeerAtTheShell(t *testing.T) {
	w := newWorld(t, "a", "b", "c", "o")
	restoring, restore := make(chan struct{}), make(chan struct{})
	h := &hooks{padding: 1 << 20}
	h.on("restore", func() error {
		close(restoring)
		<-restore
		return nil
	})
	a, b, c := w.run("a", with(h)), w.run("b", with(h)), w.run("c", nil)
	o := w.orchestrator(journal.NewMemory(), nil)
	origin := a.create("d", "diary")
	a.fill("d", lines(0, 3))
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	lim := frame.Default()
	reports, err := o.Query(ctx, identity.NodeID(w.id("a")))
	if err != nil || len(reports) != 1 {
		t.Fatalf("%+v, %v", reports, err)
	}
	entity := reports[0].EntityID
	tried := 0
	// These ask, and are answered with a report, whoever asks; a Transfer where nothing is coming in.
	answered := map[proto0500.Kind]bool{proto0500.KindActivateTarget: true, proto0500.KindRelease: true, proto0500.KindTransfer: true, proto0500.KindQuery: true}
	attack := func(state string, n *node) {
		t.Helper()
		before := n.status("d")
		sess, err := c.Endpoint().Session(ctx, identity.NodeID(w.id(n.name)))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range said(origin, entity) {
			for _, e := range []frame.Epoch{0, before.Epoch, before.Epoch + 1, before.Epoch + 1<<40} {
				was := refusals(n)
				// A Have behind it is refused in any case, and tells that it was handled.
				for _, m := range []proto0500.Message{m, proto0500.Have{DaemonOrigin: origin}} {
					raw, err := m.Append(nil, &lim)
					if err == nil {
						err = sess.Send(e, raw)
					}
					if err != nil {
						t.Fatalf("%v: %v", m.Kind(), err)
					}
				}
				tried++
				want := was + 2
				if answered[m.Kind()] {
					want--
				}
				w.eventually(fmt.Sprintf("%s: %v of epoch %d is counted as refused", state, m.Kind(), e), func() bool { return refusals(n) >= want })
			}
		}
		if after := n.status("d"); after != before {
			t.Errorf("%s: %+v after %+v", state, after, before)
		}
	}
	attack("serving", a)
	move := o.begin(origin, "a", "b")
	<-restoring
	attack("copying", a)
	attack("prepared", b)
	close(restore)
	w.want(w.wait(move), migration.OutcomeCommitted)
	attack("live", b)
	if got := b.read("d"); len(got) != 3 {
		t.Errorf("%d events at the target", len(got))
	}
	t.Logf("%d messages of a node without a role, all refused and counted, nothing changed", tried)
}

func refusals(n *node) (sum uint64) {
	for _, k := range n.Refused() {
		sum += k
	}
	return sum
}

// TestStrangersAreBounded: an orchestrator that has a node asked for daemons that never come costs it so many records and
// no more.
func TestStrangersAreBounded(t *testing.T) {
	w := newWorld(t, "a", "o")
	a := w.run("a", func(cfg *daemon.Config) { cfg.Journal = journal.NewMemory() })
	o := w.orchestrator(journal.NewMemory(), nil)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	sess, err := o.Endpoint().Session(ctx, identity.NodeID(w.id("a")))
	if err != nil {
		t.Fatal(err)
	}
	lim := frame.Default()
	const asked = daemon.StrangersMax + 50
	for n := range asked {
		key := identity.KeyFromSeed([32]byte{byte(n), byte(n >> 8), 0xcc})
		m, err := proto0500.Prepare{
			DaemonOrigin: proto0500.Origin(key.Origin()), SourceNode: 5, EntityID: [32]byte(key.Public()),
			Name: proto0500.Text("d"), DaemonKind: proto0500.Text("no such kind"),
		}.Append(nil, &lim)
		if err == nil {
			err = sess.Send(1, m)
		}
		if err != nil {
			t.Fatal(err)
		}
		// One by one: the queue of frames has a bound of its own.
		w.eventually("it is answered", func() bool {
			return uint64(len(a.List()))+a.Refused()["prepare refused: too many daemons that never came"] > uint64(n)
		})
	}
	if got := len(a.List()); got != daemon.StrangersMax {
		t.Errorf("%d daemons that never came are remembered, want %d", got, daemon.StrangersMax)
	}
}
