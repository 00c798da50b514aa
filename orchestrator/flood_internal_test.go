package orchestrator

import (
	"context"
	"crypto/ed25519"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"ferry/frame"
	"ferry/identity"
	"ferry/journal"
	"ferry/migration"
	"ferry/proto0500"
	"ferry/transport"
)

// liar is a node that opens a session and floods it.
type liar struct{ sessions chan *transport.Session }

func (l liar) Opened(s *transport.Session, _ []byte) error       { l.sessions <- s; return nil }
func (l liar) Closed(*transport.Session, error)                  {}
func (l liar) Control(*transport.Session, frame.Frame)           {}
func (l liar) Stream(_ *transport.Session, st *transport.Stream) { st.Cancel(transport.CodeRefused) }

type nodes map[identity.NodeID]transport.Address

func (n nodes) Resolve(_ context.Context, id identity.NodeID) (transport.Address, error) {
	if a, ok := n[id]; ok {
		return a, nil
	}
	return transport.Address{}, transport.ErrUnknownNode
}

type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), text)
}

// TestSourceFloods: a source that says without end what the move does not wait for, and sends chunks to an orchestrator:
// the move ends as it would in silence, and the log has one line of it.
func TestSourceFloods(t *testing.T) {
	ignore := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, ignore) })
	keyO, keyA := identity.KeyFromSeed([32]byte{9}), identity.KeyFromSeed([32]byte{8})
	book := nodes{keyO.NodeID(): {ID: keyO.NodeID(), Key: ed25519.PublicKey(keyO.Public())}}
	lim := frame.Default()
	hello, err := proto0500.Hello{
		Version: proto0500.HelloVersion, ChunkBytesMax: lim.ChunkBytesMax, EventPayloadBytesMax: lim.EventPayloadBytesMax, MessageBytesMax: lim.MessageBytesMax,
	}.Append(nil, &lim)
	if err != nil {
		t.Fatal(err)
	}
	a := liar{make(chan *transport.Session, 16)}
	ep, err := transport.New(transport.Config{Key: keyA, Resolver: book, Handler: a, Hello: func() []byte { return hello }})
	if err == nil {
		err = ep.Listen("127.0.0.1:0")
	}
	if err != nil {
		t.Fatal(err)
	}
	book[keyA.NodeID()] = transport.Address{ID: keyA.NodeID(), Key: ed25519.PublicKey(keyA.Public()), Addr: ep.Addr().String()}
	var log lines
	o, err := New(Config{Key: keyO, Journal: journal.NewMemory(), Resolver: book, Log: slog.New(slog.NewTextHandler(&log, nil)), PhaseTimeout: 500 * time.Millisecond})
	if err == nil {
		err = o.Endpoint().Listen("127.0.0.1:0")
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var work sync.WaitGroup
	work.Go(func() { _ = ep.Run(ctx) })
	work.Go(func() { _ = o.Run(ctx) })
	defer work.Wait()
	defer cancel()
	const origin = 7
	var said [][]byte
	for _, m := range []proto0500.Message{
		proto0500.Report{DaemonOrigin: origin}, proto0500.Progress{DaemonOrigin: origin}, proto0500.ActivateAck{DaemonOrigin: origin},
		proto0500.SnapshotReady{DaemonOrigin: origin, TotalChunks: 1, SnapshotBytes: make([]byte, 100_000)},
	} {
		b, err := m.Append(nil, &lim)
		if err != nil {
			t.Fatal(err)
		}
		said = append(said, b)
	}
	h, err := o.Migrate(ctx, Move{Daemon: origin, Source: proto0500.NodeID(keyA.NodeID()), Target: 2})
	if err != nil {
		t.Fatal(err)
	}
	sent := 0
	for ended := false; !ended; {
		var s *transport.Session
		select {
		case s = <-a.sessions:
		case <-h.Done():
			ended = true
			continue
		}
		for err = nil; err == nil; { // until its own queue is full, for the orchestrator takes no more so fast
			for _, m := range said {
				if err = s.Send(1, m); err == nil {
					sent++
				}
			}
			select {
			case <-h.Done():
				ended, err = true, context.Canceled
			default:
			}
		}
	}
	res, err := h.Wait(ctx)
	if err != nil || res.Outcome != migration.OutcomeRefused || res.Epoch != 0 {
		t.Errorf("%+v, %v", res, err)
	}
	if n := o.Refused()["message refused"]; n == 0 || log.count("message refused") != 1 {
		t.Errorf("%d messages refused, in %d lines of the log", n, log.count("message refused"))
	}
	t.Logf("%d messages, and the move ended as %v: %s; refused: %v", sent, res.Outcome, res.Text, o.Refused())
}
