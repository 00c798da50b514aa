package daemon

import (
	"ferry/identity"
	"ferry/migration"
	"ferry/proto0500"
)

// An operator may have ended an attempt without its other side (migration.Participant, Force). His word that this node
// stays dead is all that keeps a second owner away: when the node speaks all the same, nothing here may act on it, and
// somebody must be told.

// contradicts says how a frame shows a second authority beside this one, "": it does not. It is never so while everybody
// speaks the truth: of two nodes that were live the later one has the higher live_epoch, and serves.
func contradicts(rec migration.Record, f migration.Frame) string {
	if rec.State != migration.RecordServing {
		return ""
	}
	switch m := f.Message.(type) {
	case proto0500.ActivateAck:
		if f.Epoch > rec.LiveEpoch {
			return "it says that it went live at an epoch above this node's own"
		}
	case proto0500.Report:
		switch {
		case m.LiveEpoch > rec.LiveEpoch:
			return "it reports a live epoch above this node's own"
		case f.From == rec.Peer && rec.LiveEpoch == rec.Epoch && m.Epoch >= rec.Epoch && m.LiveEpoch < rec.LiveEpoch && m.State == proto0500.StateServing && m.Copy:
			return "it serves on as the source of the epoch at which this node went live"
		}
	case proto0500.MigrationFailed:
		if f.From == rec.Peer && f.Epoch == rec.LiveEpoch && !m.Reason.Retriable() {
			return "it says that it serves on as the source of the epoch at which this node went live"
		}
	}
	return ""
}

// alarm tells of a second authority.
func (s *steward) alarm(f migration.Frame) {
	rec := s.p.Record()
	if how := contradicts(rec, f); how != "" {
		s.log.Error("TWO OWNERS: this node serves, and so may another, which a force order has called dead: stop that one and keep its data apart",
			"other", identity.NodeID(f.From), "message", f.Message.Kind(), "because", how, "epoch", rec.Epoch, "live_epoch", rec.LiveEpoch)
	}
}

// forced tells the host's owner, and the log, what a force order has changed. A target that went live has said so itself.
func (s *steward) forced(before migration.Record, m proto0500.Force) {
	rec := s.p.Record()
	if rec == before || s.halted {
		return
	}
	s.log.Warn("FORCED by an operator's order: this node is the authority; the other side must never serve again",
		"dead", identity.NodeID(m.DeadNode), "was", before.State, "epoch", rec.Epoch, "seq", s.copyOf().Seq)
	if before.State == migration.RecordRetired && rec.State == migration.RecordServing {
		s.h.authority(s.desc.Name, s.origin, s.h.self, rec.Epoch)
	}
}
