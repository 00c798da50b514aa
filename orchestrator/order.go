package orchestrator

import (
	"context"
	"fmt"
	"sync"

	"ferry/frame"
	"ferry/identity"
	"ferry/internal/drive"
	"ferry/proto0500"
)

// orders are the orders to nodes that wait for their answer, one for a daemon at a time.
type orders struct {
	mu      sync.Mutex
	waiting map[proto0500.Origin]order
}

type order struct {
	node   proto0500.NodeID
	epoch  frame.Epoch
	kind   proto0500.Kind // of the order, as a Rejected names it
	yes    func(proto0500.Message) bool
	answer chan proto0500.Message
}

// take gives an order its answer. Others may want the message too.
func (os *orders) take(from proto0500.NodeID, e frame.Epoch, m proto0500.Message) {
	os.mu.Lock()
	defer os.mu.Unlock()
	w, ok := os.waiting[m.Origin()]
	if !ok || w.node != from || w.epoch != e {
		return
	}
	if no, rejected := m.(proto0500.Rejected); rejected && no.Refused != w.kind || !rejected && !w.yes(m) {
		return
	}
	delete(os.waiting, m.Origin())
	w.answer <- m // has room for it
}

// order sends m to a node and waits for the answer that yes takes, or until ctx or the session ends. A Rejected is an
// error.
func (o *Orchestrator) order(ctx context.Context, node identity.NodeID, e frame.Epoch, m proto0500.Message, yes func(proto0500.Message) bool) (proto0500.Message, error) {
	sess, err := o.ep.Session(ctx, node)
	if err != nil {
		return nil, err
	}
	if !drive.Takes(sess, e, m.Kind()) {
		return nil, fmt.Errorf("node %v: %w", node, ErrPlainPeer)
	}
	b, err := m.Append(nil, &o.cfg.Limits)
	if err != nil {
		return nil, err
	}
	daemon := m.Origin()
	w := order{node: proto0500.NodeID(node), epoch: e, kind: m.Kind(), yes: yes, answer: make(chan proto0500.Message, 1)}
	o.orders.mu.Lock()
	if o.orders.waiting == nil {
		o.orders.waiting = make(map[proto0500.Origin]order)
	}
	if _, busy := o.orders.waiting[daemon]; busy {
		o.orders.mu.Unlock()
		return nil, ErrBusy
	}
	o.orders.waiting[daemon] = w
	o.orders.mu.Unlock()
	defer func() {
		o.orders.mu.Lock()
		delete(o.orders.waiting, daemon)
		o.orders.mu.Unlock()
	}()
	if err := sess.Send(e, b); err != nil {
		return nil, err
	}
	select {
	case m := <-w.answer:
		if no, rejected := m.(proto0500.Rejected); rejected {
			return nil, &RefusedError{Node: node, Reason: no.Reason, Text: no.Text.String()}
		}
		return m, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("node %v does not answer: %w", node, context.Cause(ctx))
	case <-sess.Done():
		return nil, sess.Err()
	}
}
