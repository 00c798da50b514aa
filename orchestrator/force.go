package orchestrator

import (
	"context"

	"ferry/frame"
	"ferry/identity"
	"ferry/proto0500"
)

// Force orders node to end the attempt e of a daemon without the node dead, its other side, and gives its report. It
// rests on a person's word that this node stays dead: with it, this is safe; without, it makes two owners, or loses
// what the other side accepted. The node refuses unless it has retired and holds what it sealed, or is sealed; that is
// an error. It is safe to repeat.
func (o *Orchestrator) Force(ctx context.Context, node, dead identity.NodeID, daemon proto0500.Origin, e frame.Epoch) (proto0500.Report, error) {
	m, err := o.order(ctx, node, e, proto0500.Force{DaemonOrigin: daemon, DeadNode: proto0500.NodeID(dead)}, func(m proto0500.Message) bool {
		_, report := m.(proto0500.Report)
		return report
	})
	if err != nil {
		return proto0500.Report{}, err
	}
	return m.(proto0500.Report), nil
}
