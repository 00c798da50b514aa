package sim

import (
	"ferry/migration"
	"ferry/proto0500"
)

// Observed is a participant after one input.
type Observed struct {
	Node   proto0500.NodeID
	Daemon int
	Input  migration.Input
	Err    error
	Now    migration.Participant
}

func (h *host) observe(in migration.Input, err error) {
	h.w.cfg.Watch(Observed{Node: h.n.id, Daemon: h.d.i, Input: in, Err: err, Now: h.p})
}
