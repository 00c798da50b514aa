package orchestrator

import (
	"context"
	"fmt"
	"sync"

	"ferry/frame"
	"ferry/identity"
	"ferry/proto0500"
)

// orders are the force orders that wait for their answer, one for a daemon at a time.
type orders struct {
	mu      sync.Mutex
	waiting map[proto0500.Origin]order
}

type order struct {
	node   proto0500.NodeID
	epoch  frame.Epoch
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
	switch m := m.(type) {
	case proto0500.Report:
	case proto0500.Rejected:
		if m.Refused != proto0500.KindForce {
			return
		}
	default:
		return
	}
	delete(os.waiting, m.Origin())
	w.answer <- m // has room for it
}

// Force orders node to end the attempt e of a daemon without the node dead, its other side, and gives its report. It
// rests on a person's word that this node stays dead: with it, this is safe; without, it makes two owners, or loses
// what the other side accepted. The node refuses unless it has retired and holds what it sealed, or is sealed; that is
// an error. It is safe to repeat.
func (o *Orchestrator) Force(ctx context.Context, node, dead identity.NodeID, daemon proto0500.Origin, e frame.Epoch) (proto0500.Report, error) {
	sess, err := o.ep.Session(ctx, node)
	if err != nil {
		return proto0500.Report{}, err
	}
	w := order{node: proto0500.NodeID(node), epoch: e, answer: make(chan proto0500.Message, 1)}
	o.orders.mu.Lock()
	if o.orders.waiting == nil {
		o.orders.waiting = make(map[proto0500.Origin]order)
	}
	if _, busy := o.orders.waiting[daemon]; busy {
		o.orders.mu.Unlock()
		return proto0500.Report{}, ErrBusy
	}
	o.orders.waiting[daemon] = w
	o.orders.mu.Unlock()
	defer func() {
		o.orders.mu.Lock()
		delete(o.orders.waiting, daemon)
		o.orders.mu.Unlock()
	}()
	b, err := proto0500.Force{DaemonOrigin: daemon, DeadNode: proto0500.NodeID(dead)}.Append(nil, &o.cfg.Limits)
	if err != nil {
		return proto0500.Report{}, err
	}
	if err := sess.Send(e, b); err != nil {
		return proto0500.Report{}, err
	}
	select {
	case m := <-w.answer:
		switch m := m.(type) {
		case proto0500.Report:
			return m, nil
		case proto0500.Rejected:
			return proto0500.Report{}, fmt.Errorf("node %v refuses: %v: %s", node, m.Reason, m.Text)
		}
		panic("orchestrator: an answer that no order takes")
	case <-ctx.Done():
		return proto0500.Report{}, fmt.Errorf("node %v does not answer: %w", node, context.Cause(ctx))
	case <-sess.Done():
		return proto0500.Report{}, sess.Err()
	}
}
