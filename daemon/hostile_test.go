package daemon_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"ferry/frame"
	"ferry/identity"
	"ferry/journal"
	"ferry/migration"
	"ferry/transport"
)

// TestStreamOfNobody: streams that no attempt here waits for are refused with a
// code of their own before their bytes have come, many of them, while a daemon
// moves to the same node from another.
func TestStreamOfNobody(t *testing.T) {
	w := newWorld(t, "a", "b", "c", "o")
	a, b, c := w.run("a", with(&hooks{padding: 4 << 20})), w.run("b", nil), w.run("c", nil)
	o := w.orchestrator(journal.NewMemory(), nil)
	origin := a.create("d", "diary")
	a.fill("d", lines(0, 5))
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	sess, err := c.Endpoint().Session(ctx, identity.NodeID(w.id("b")))
	if err != nil {
		t.Fatal(err)
	}
	// The header of a frame of the largest chunk, and then nothing.
	lim := frame.Default()
	whole, err := frame.Append(nil, 1, make([]byte, 1<<20), &lim)
	if err != nil {
		t.Fatal(err)
	}
	attacked := make(chan error, 1)
	go func() {
		for i := range 500 {
			st, err := sess.OpenStream(ctx, transport.Lane, uint8(i%16))
			if err != nil {
				attacked <- err
				return
			}
			_, _ = st.Write(whole[:frame.HeaderBytes])
			_, err = io.ReadAll(st)
			st.Close()
			if e, ok := errors.AsType[*transport.StreamError](err); !ok || !e.Remote || e.Code != transport.CodeRefused {
				attacked <- fmt.Errorf("stream %d ended with %w", i, err)
				return
			}
		}
		attacked <- nil
	}()
	w.want(o.move(origin, "a", "b"), migration.OutcomeCommitted)
	if err := <-attacked; err != nil {
		t.Error(err)
	}
	if got := b.read("d"); len(got) != 5 {
		t.Errorf("%d events at the target", len(got))
	}
}
