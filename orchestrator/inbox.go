package orchestrator

import (
	"fmt"

	"ferry/frame"
	"ferry/migration"
	"ferry/proto0500"
	"ferry/transport"
)

const (
	// inboxBytesMax bounds the messages that wait for all moves together. A session
	// whose message finds no room waits with it, and by flow control the peer.
	inboxBytesMax = 32 << 20
	// inboxFrames is how many may wait for one move.
	inboxFrames = 256
	// toldBytesMax is more than any message that a move takes; larger ones are
	// refused. It is such that no one move's queue takes all the room.
	toldBytesMax = inboxBytesMax / inboxFrames / 2
)

// Refused is how often this orchestrator has refused or held back what others
// said, by kind, since it was made; see daemon.Host.Refused.
func (o *Orchestrator) Refused() map[string]uint64 {
	counts := o.ep.Refused()
	for what, n := range o.refused.Counts() {
		counts[what] += n
	}
	return counts
}

// tell gives a message to its move, if it is from one of the move's two sides
// and may be one that a move takes. It waits for room.
func (o *Orchestrator) tell(h *Handle, s *transport.Session, from proto0500.NodeID, e frame.Epoch, m proto0500.Message, bytes int) {
	refuse := func(why string) {
		o.refused.Warn("message refused", s.Peer().String(), "node", s.Peer(), "name", s.PeerName(),
			"daemon", fmt.Sprintf("%016x", uint64(m.Origin())), "kind", m.Kind(), "epoch", e, "bytes", bytes, "cause", why)
	}
	switch {
	case from != h.req.Source && from != h.req.Target:
		refuse("it is not from a side of this move")
		return
	case bytes > toldBytesMax:
		refuse("no move takes a message as large")
		return
	}
	n := int64(bytes)
	if !o.inbox.TryAcquire(n) {
		o.refused.Warn("message held back: too many wait", s.Peer().String(), "node", s.Peer(), "name", s.PeerName())
		if o.inbox.Acquire(o.ctx, n) != nil {
			return // the orchestrator has ended
		}
	}
	if p, ok := m.(proto0500.Progress); ok {
		h.count(from, e, p)
	}
	in := inbound{in: migration.Frame{From: from, Orchestrator: true, Epoch: e, Message: m}, bytes: n}
	if !h.put(in) {
		o.inbox.Release(n)
	}
}
