package orchestrator

import (
	"context"
	"crypto/ed25519"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"ferry/identity"
	"ferry/internal/drive"
	"ferry/journal"
	"ferry/proto0500"
	"ferry/transport"
)

// nowhere knows all keys and no address.
type nowhere struct{ keys []*identity.Key }

func (r nowhere) Resolve(_ context.Context, id identity.NodeID) (transport.Address, error) {
	for _, k := range r.keys {
		if k.NodeID() == id {
			return transport.Address{ID: id, Key: ed25519.PublicKey(k.Public())}, nil
		}
	}
	return transport.Address{}, transport.ErrUnknownNode
}

// idle is an orchestrator that does not run.
func idle(t *testing.T, log *slog.Logger) *Orchestrator {
	t.Helper()
	o, err := New(Config{Key: identity.KeyFromSeed([32]byte{9}), Journal: journal.NewMemory(), Resolver: nowhere{}, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// stuck is a move whose journal, say, does not return: nobody takes what it is told.
func stuck(o *Orchestrator, origin proto0500.Origin) *Handle {
	return &Handle{
		o: o, req: Move{Daemon: origin, Source: 1, Target: 2}, inbox: make(chan inbound, inboxFrames),
		done: make(chan struct{}), changed: make(chan struct{}), timers: drive.NewTimers(func(drive.Due) {}), log: o.log,
	}
}

// TestInboxIsBounded: what waits for moves that take nothing is bounded in bytes, over all moves. Whoever says more waits,
// which is logged once, and goes on when the moves do; what a move that has ended did not take counts no more.
func TestInboxIsBounded(t *testing.T) {
	var log strings.Builder
	synctest.Test(t, func(t *testing.T) {
		o := idle(t, slog.New(slog.NewTextHandler(&log, nil)))
		moves := []*Handle{stuck(o, 1), stuck(o, 2), stuck(o, 3)}
		said, waiting := new(counter), 0
		sess := new(transport.Session) // whose peer is node 0, and says what follows for both sides
		var flood sync.WaitGroup
		for _, h := range moves {
			flood.Go(func() {
				for range inboxFrames {
					o.tell(h, sess, 1, 1, proto0500.Report{DaemonOrigin: h.req.Daemon}, toldBytesMax)
					said.add(toldBytesMax)
				}
			})
		}
		synctest.Wait()
		if said.get() != inboxBytesMax {
			t.Errorf("%d bytes wait, want %d", said.get(), inboxBytesMax)
		}
		if n := o.Refused()["message held back: too many wait"]; n == 0 || n > 3 || strings.Count(log.String(), "held back") != 1 {
			t.Errorf("%d are held back, and the log has:\n%s", n, log.String())
		}
		for range inboxFrames / 2 { // one move takes some
			o.inbox.Release((<-moves[0].inbox).bytes)
			synctest.Wait()
			waiting++
		}
		if want := inboxBytesMax + waiting*toldBytesMax; said.get() != want {
			t.Errorf("%d bytes were said, want %d", said.get(), want)
		}
		for _, h := range moves {
			close(h.done)
			h.empty()
		}
		flood.Wait()
		if !o.inbox.TryAcquire(inboxBytesMax) {
			t.Error("the room of moves that have ended is not given back")
		}
	})
}

type counter struct {
	mu sync.Mutex
	n  int
}

func (c *counter) add(n int) { c.mu.Lock(); c.n += n; c.mu.Unlock() }
func (c *counter) get() int  { c.mu.Lock(); defer c.mu.Unlock(); return c.n }

// TestInboxRefuses what is from neither side of the move, or larger than anything that a move takes.
func TestInboxRefuses(t *testing.T) {
	o := idle(t, slog.New(slog.DiscardHandler))
	h := stuck(o, 1)
	sess := new(transport.Session)
	o.tell(h, sess, 3, 1, proto0500.Report{DaemonOrigin: 1}, 100)
	o.tell(h, sess, 1, 1, proto0500.BufferedEvents{DaemonOrigin: 1}, toldBytesMax+1)
	if n := o.Refused()["message refused"]; n != 2 || len(h.inbox) != 0 {
		t.Errorf("%d refused, %d wait", n, len(h.inbox))
	}
	o.tell(h, sess, 2, 1, proto0500.Progress{DaemonOrigin: 1}, 100)
	if len(h.inbox) != 1 {
		t.Errorf("%d of one wait", len(h.inbox))
	}
}
