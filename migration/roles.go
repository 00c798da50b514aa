package migration

import "ferry/proto0500"

// Who may say what (safety.md, section 4). The transport has proven which node a message is from; here it must be one that
// has the message's role, and this is judged before anything else, so that a message of the wrong node never gets as far
// as a state.

// role is a set of those who may send a message.
type role uint8

const (
	// roleOrchestrator is any node that may orchestrate the daemon, at whatever epoch.
	roleOrchestrator role = 1 << iota
	// roleDriver is the orchestrator recorded for the epoch, roleOther the other side recorded for it: the source at its
	// target, the target at its source.
	roleDriver
	roleOther
)

// roleOf is who may send m to a participant; none: a participant takes no such message.
func roleOf(m proto0500.Message) role {
	switch m := m.(type) {
	case proto0500.Begin, proto0500.Prepare, proto0500.Release, proto0500.Force:
		return roleOrchestrator
	case proto0500.Query, proto0500.MigrationFailed, proto0500.ActivateTarget:
		return roleOrchestrator | roleOther
	case proto0500.TakeSnapshot, proto0500.CutoverNotify, proto0500.Recipient:
		return roleDriver
	case proto0500.BufferedEvents:
		if m.Events.Len() == 0 {
			return roleDriver
		}
		return roleOther
	case proto0500.SnapshotReady, proto0500.Chunk, proto0500.Transfer, proto0500.Seal, // the source's
		proto0500.TransferStatus, proto0500.Have, proto0500.Ack, proto0500.ActivateAck, // the target's
		proto0500.Report: // either's
		return roleOther
	}
	return 0
}

// mayTell tells whether the sender has the role of its message. Roles are recorded for the record's own epoch: of another
// one only that of an orchestrator is known, and what the message would do there is answered or refused by its epoch.
func (p *Participant) mayTell(in Frame, r role) bool {
	switch {
	case r&roleOrchestrator != 0 && in.Orchestrator:
		return true
	case r == roleOrchestrator:
		return false
	case in.Epoch != p.rec.Epoch:
		return true
	}
	return r&roleDriver != 0 && in.From == p.rec.Orchestrator || r&roleOther != 0 && in.From == p.rec.Peer
}

// mayTell refuses what the move's orchestrator is not told by that node. Source and target of a move never change.
func (m *Move) mayTell(in Frame) error {
	if in.Message == nil {
		return m.refuse(in, "without a message")
	}
	source, target := in.From == m.cfg.Source, in.From == m.cfg.Target
	var may bool
	switch in.Message.(type) {
	case proto0500.Report, proto0500.Rejected, proto0500.MigrationFailed, proto0500.Progress:
		may = source || target
	case proto0500.CleanupComplete:
		may = source
	case proto0500.Prepared, proto0500.RestoreComplete, proto0500.ReplayComplete, proto0500.ActivateAck:
		may = target
	default:
		return m.refuseAs(in, proto0500.RejectUnsupported, "no orchestrator takes it")
	}
	switch {
	case in.Message.Origin() != m.cfg.Origin:
		return m.refuseAs(in, proto0500.RejectUnknownDaemon, "of another daemon")
	case !may:
		return m.refuseAs(in, proto0500.RejectWrongPeer, "not from the node that has this role in this move")
	}
	return nil
}
