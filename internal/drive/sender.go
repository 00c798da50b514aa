package drive

import (
	"bytes"
	"context"
	"errors"
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
	// Unoffered is told of each message that was not sent because the node offers no extensions; it may block. Set it
	// before the first Send, or leave it nil.
	Unoffered func(to proto0500.NodeID, epoch frame.Epoch, o proto0500.Origin, k proto0500.Kind)

	mu      sync.Mutex
	waiting map[proto0500.NodeID][]outgoing // nodes being dialled
	work    sync.WaitGroup
}

type outgoing struct {
	epoch  frame.Epoch
	msg    []byte
	kind   proto0500.Kind
	origin proto0500.Origin
}

// ErrPlainPeer: the node has only the ten messages of net-mesh. What needs ours
// cannot be said to it.
var ErrPlainPeer = errors.New("the node offers no extension messages")

// Offers says whether a session's peer has opened it with a hello, whose value
// is the session's: only then is it sent any message but the ten.
func Offers(sess *transport.Session) bool {
	_, ok := sess.Value().(proto0500.Hello)
	return ok
}

// Takes says whether a message may be sent over a session: to a peer without a
// hello only one of the ten, and in no epoch, which it could not tell from
// another.
func Takes(sess *transport.Session, e frame.Epoch, k proto0500.Kind) bool {
	return e == 0 && !k.Extension() || Offers(sess)
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
	out := outgoing{epoch: epoch, msg: b, kind: m.Kind(), origin: m.Origin()}
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
		sent := false
		for _, sess := range all {
			sent = s.send(sess, out) || sent
		}
		if !sent && s.Unoffered != nil {
			to := proto0500.NodeID(all[0].Peer())
			s.work.Go(func() { s.Unoffered(to, out.epoch, out.origin, out.kind) })
		}
	}
}

// send says whether the session's peer takes such a message at all.
func (s *Sender) send(sess *transport.Session, out outgoing) (offered bool) {
	if !Takes(sess, out.epoch, out.kind) {
		s.log.Debug("message not sent: the node offers no extensions", "node", sess.Peer(), "kind", out.kind)
		return false
	}
	if err := sess.Send(out.epoch, out.msg); err != nil {
		s.log.Debug("message not sent", "node", sess.Peer(), "kind", out.kind, "err", err)
	}
	return true
}

// Refusal is a node's answer as this node must give it itself where the other
// offers no extensions: the message that was not sent is refused.
func Refusal(o proto0500.Origin, k proto0500.Kind) proto0500.Rejected {
	return proto0500.Rejected{
		DaemonOrigin: o, Refused: k, Reason: proto0500.RejectUnsupported,
		Text: proto0500.Text(ErrPlainPeer.Error() + ": it can drive a move, and be neither its source nor its target"),
	}
}

// Wait returns when no dial is under way; the caller has ended their context.
func (s *Sender) Wait() { s.work.Wait() }
