package daemon_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"ferry/daemon"
	"ferry/frame"
	"ferry/identity"
	"ferry/journal"
	"ferry/migration"
	"ferry/proto0500"
	"ferry/transport"
)

// TestSourceStalls: the source of an attempt, allowed and prepared for, opens its lanes, sends half a chunk on each and no
// more. The target gives the attempt up when it has made no progress for its time, says so, and ends the lanes; meanwhile
// another daemon moves to it.
func TestSourceStalls(t *testing.T) {
	w := newWorld(t, "a", "b", "c", "o", "p")
	may := identity.NewAllowList(w.keys["o"].NodeID(), w.keys["p"].NodeID())
	a := w.run("a", nil)
	b := w.run("b", func(cfg *daemon.Config) { cfg.Orchestrators, cfg.AttemptTimeout = may, time.Second })
	o := w.orchestrator(journal.NewMemory(), nil)
	p, c := w.asking("p"), w.asking("c")
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ordering, err := p.Session(ctx, b.Node())
	if err != nil {
		t.Fatal(err)
	}
	key := identity.KeyFromSeed([32]byte{77})
	origin := proto0500.Origin(key.Origin())
	const size = 1 << 20
	prepared := p.say(ordering, 1, 1, proto0500.Prepare{
		DaemonOrigin: origin, SourceNode: w.id("c"), EntityID: [32]byte(key.Public()), Name: proto0500.Text("stalled"),
		DaemonKind: proto0500.Text("diary"), Schema: 1, StateBytes: size, ChunkBytes: size, EventPayloadBytes: 1000,
	})[0]
	if _, ok := prepared.(proto0500.Prepared); !ok {
		t.Fatalf("told %+v", prepared)
	}
	sess, err := c.Session(ctx, b.Node())
	if err != nil {
		t.Fatal(err)
	}
	lim := frame.Default()
	chunk, err := proto0500.SnapshotReady{DaemonOrigin: origin, TotalChunks: 1, SnapshotBytes: make([]byte, size)}.Append(nil, &lim)
	if err == nil {
		chunk, err = frame.Append(nil, 1, chunk, &lim)
	}
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 16)
	for n := range cap(ended) {
		st, err := sess.OpenStream(ctx, transport.Lane, uint8(n))
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			_, err := st.Write(chunk[:len(chunk)/2])
			if err == nil {
				_, err = io.ReadAll(st)
			}
			_ = st.Close()
			ended <- err
		}()
	}
	d := a.create("d", "diary")
	a.fill("d", lines(0, 5))
	w.want(o.move(d, "a", "b"), migration.OutcomeCommitted)
	for n := range cap(ended) {
		err := <-ended
		if e, ok := errors.AsType[*transport.StreamError](err); !ok || !e.Remote {
			t.Errorf("lane %d ended with %v", n, err)
		}
	}
	for told := false; !told; {
		select {
		case m := <-p.heard:
			no, failed := m.(proto0500.MigrationFailed)
			told = failed && no.DaemonOrigin == origin
		case <-ctx.Done():
			t.Fatal("its orchestrator is told nothing")
		}
	}
	if st := b.status("stalled"); st.State != proto0500.StateNone {
		t.Errorf("the target is %+v", st)
	}
}
