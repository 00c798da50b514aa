package drive

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"sync"

	"ferry/frame"
	"ferry/identity"
	"ferry/proto0500"
	"ferry/transport"
)

// Sender sends control messages to nodes, dialling where there is no session.
// It never blocks: what cannot be sent is lost, as on any network, and the core
// asks again. Messages to one node keep their order.
//
// A node that has several sessions gets the message over each: two processes
// may act under one key, as two orchestrators' moves at a time do, and only one
// of them knows what the message is about. To the other it is one of those
// doubled frames that change nothing.
type Sender struct {
	ep  *transport.Endpoint
	log *slog.Logger
	lim frame.Limits

	mu      sync.Mutex
	waiting map[proto0500.NodeID][]outgoing // nodes being dialled
	work    sync.WaitGroup
}

type outgoing struct {
	epoch frame.Epoch
	msg   []byte
	kind  proto0500.Kind
}

// waitingMax bounds what waits for one node's dial; the oldest is dropped first.
const waitingMax = 64

// NewSender sends through ep.
func NewSender(ep *transport.Endpoint, lim frame.Limits, log *slog.Logger) *Sender {
	return &Sender{ep: ep, log: log, lim: lim, waiting: make(map[proto0500.NodeID][]outgoing)}
}

// Send sends m. Without a session it dials, through a node of via where there is
// no direct way, until ctx ends; m is then sent by the dial's end.
func (s *Sender) Send(ctx context.Context, to proto0500.NodeID, epoch frame.Epoch, m proto0500.Message, via ...proto0500.NodeID) {
	b, err := m.Append(nil, &s.lim)
	if err != nil {
		s.log.Error("message cannot be encoded", "kind", m.Kind(), "err", err)
		return
	}
	out := outgoing{epoch: epoch, msg: b, kind: m.Kind()}
	s.mu.Lock()
	defer s.mu.Unlock()
	q, dialling := s.waiting[to]
	if all := s.ep.LiveAll(identity.NodeID(to)); len(all) > 0 {
		// Also beside a dial: the node may have dialled us meanwhile, as an
		// orchestrator does that nobody can dial.
		s.sendAll(all, append(q, out))
		if dialling {
			s.waiting[to] = nil
		}
		return
	}
	if dialling {
		again := func(o outgoing) bool { return o.epoch == epoch && bytes.Equal(o.msg, b) }
		if slices.ContainsFunc(q, again) {
			return // what is asked again and again is asked once when there is a way
		}
		if len(q) == waitingMax {
			q = q[1:]
		}
		s.waiting[to] = append(q, out)
		return
	}
	s.waiting[to] = []outgoing{out}
	relays := make([]identity.NodeID, 0, len(via))
	for _, id := range via {
		if id != 0 && id != to {
			relays = append(relays, identity.NodeID(id))
		}
	}
	s.work.Go(func() { s.dial(ctx, to, relays) })
}

func (s *Sender) dial(ctx context.Context, to proto0500.NodeID, relays []identity.NodeID) {
	sess, err := s.ep.Session(ctx, identity.NodeID(to), relays...)
	s.mu.Lock()
	defer s.mu.Unlock()
	queue := s.waiting[to]
	delete(s.waiting, to)
	switch all := s.ep.LiveAll(identity.NodeID(to)); {
	case len(all) > 0:
		s.sendAll(all, queue)
	case err == nil:
		s.sendAll([]*transport.Session{sess}, queue)
	default:
		s.log.Debug("node cannot be reached", "node", identity.NodeID(to), "dropped", len(queue), "err", err)
	}
}

func (s *Sender) sendAll(all []*transport.Session, queue []outgoing) {
	for _, out := range queue {
		for _, sess := range all {
			s.send(sess, out)
		}
	}
}

func (s *Sender) send(sess *transport.Session, out outgoing) {
	if err := sess.Send(out.epoch, out.msg); err != nil {
		s.log.Debug("message not sent", "node", sess.Peer(), "kind", out.kind, "err", err)
	}
}

// Wait returns when no dial is under way; the caller has ended their context.
func (s *Sender) Wait() { s.work.Wait() }
