package daemon

import (
	"fmt"
	"time"

	"ferry/frame"
	"ferry/identity"
	"ferry/internal/drive"
	"ferry/migration"
	"ferry/proto0500"
	"ferry/transport"
)

// An orchestrator that has only net-mesh's ten messages, a chief, cannot ask for
// an epoch, nor prepare a target. Where Config.AllowPlain lets it, the source
// does so itself: see migration.Deputy. The deputy is the steward's: what it and
// the participant say to each other does not leave the goroutine.

// plainGone is what such a move cannot promise, for the log.
const plainGone = "the orchestrator cannot ask where the move is, nor release, pace or force it; it is not told the end if this node restarts; " +
	"a stale message of its earlier moves cannot be told apart: it can begin or cancel a move, never make a second owner"

// deputy is one move that the source drives itself.
type deputy struct {
	d      migration.Deputy
	timers *drive.Timers
	heard  []migration.MoveInput // while it was being told something
	busy   bool
}

// deputyStepEvery is how often it asks again.
const deputyStepEvery = 100 * time.Millisecond

// plain takes a message of a peer that offers no extensions.
func (t handler) plain(sess *transport.Session, from proto0500.NodeID, orchestrator bool, e frame.Epoch, m proto0500.Message, bytes int) {
	h := t.h
	refuse := func(why string) {
		h.refused.Warn("message of a peer without extensions refused", sess.Peer().String(),
			"node", sess.Peer(), "kind", m.Kind(), "origin", fmt.Sprintf("%016x", uint64(m.Origin())), "why", why)
		switch m.(type) {
		case proto0500.TakeSnapshot:
			sayFailed(sess, m.Origin(), proto0500.NewReason(proto0500.CodeStateFailed, why))
		case proto0500.ActivateTarget: // no answer may sound like the target's refusal
			sayFailed(sess, m.Origin(), proto0500.NewReason(proto0500.CodeNotReady, ""))
		}
	}
	st := h.steward(m.Origin())
	switch {
	case m.Kind().Extension():
		refuse("it has offered no extensions in a hello, and uses one")
	case !h.cfg.AllowPlain:
		refuse("this node takes no orchestrator without extensions: daemon.Config.AllowPlain, ferry node --allow-plain")
	case !orchestrator:
		refuse("this node may not orchestrate here")
	case e != 0:
		refuse("without extensions there are no epochs")
	case st == nil:
		refuse("no such daemon at this node")
	default:
		if post, ok := h.reserve(st, bytes); ok {
			post(func() { st.fromChief(sess, from, m) })
		}
	}
}

func sayFailed(sess *transport.Session, o proto0500.Origin, r proto0500.Reason) {
	_ = send(sess, 0, proto0500.MigrationFailed{DaemonOrigin: o, Reason: r})
}

// fromChief takes what an orchestrator with the ten messages says of a daemon.
// What belongs to no move that is open for it changes nothing.
func (s *steward) fromChief(sess *transport.Session, from proto0500.NodeID, m proto0500.Message) {
	mine := s.dep != nil && s.dep.d.Chief() == from
	switch m := m.(type) {
	case proto0500.ActivateTarget:
		_ = send(sess, 0, s.p.AnswerPlain(s.copyOf()))
	case proto0500.TakeSnapshot:
		switch {
		case mine:
			s.tellDeputy(migration.FromChief{Message: m})
		case s.dep != nil:
			sayFailed(sess, s.origin, proto0500.NewReason(proto0500.CodeAlreadyMigrating, ""))
		default:
			s.depute(from, m.TargetNode)
		}
	case proto0500.CutoverNotify, proto0500.MigrationFailed:
		if mine {
			s.tellDeputy(migration.FromChief{Message: m})
		}
	default:
		s.log.Debug("ignored of a peer without extensions", "node", identity.NodeID(from), "kind", m.Kind())
	}
}

// depute begins a move away from here for chief.
func (s *steward) depute(chief, target proto0500.NodeID) {
	s.log.Warn("an orchestrator without extensions moves this daemon", "orchestrator", identity.NodeID(chief),
		"target", identity.NodeID(target), "gone", plainGone)
	dep := &deputy{d: migration.NewDeputy(s.h.self, chief, target, s.origin)}
	dep.timers = drive.NewTimers(func(due drive.Due) {
		s.post(func() {
			if s.dep == dep && dep.timers.Take(due) {
				s.tellDeputy(migration.Fired{Timer: due.Timer, Epoch: due.Epoch})
			}
		})
	})
	s.dep = dep
	s.tellDeputy(migration.Start{})
}

// forDeputyAlone: no participant takes it.
func forDeputyAlone(m proto0500.Message) bool {
	switch m.(type) {
	case proto0500.Prepared, proto0500.RestoreComplete, proto0500.ReplayComplete, proto0500.CleanupComplete:
		return true
	}
	return false
}

// hear keeps what this node's participant says to its own orchestrator, until the
// step is over.
func (s *steward) hear(e frame.Epoch, m proto0500.Message) {
	if s.dep != nil {
		s.dep.heard = append(s.dep.heard, migration.Frame{From: s.h.self, Orchestrator: true, Epoch: e, Message: m})
	}
}

// drive tells the deputy what it has heard.
func (s *steward) drive() {
	for s.dep != nil && !s.dep.busy && len(s.dep.heard) > 0 {
		in := s.dep.heard[0]
		s.dep.heard = s.dep.heard[1:]
		s.tellDeputy(in)
	}
}

// tellDeputy steps the deputy, if there is one, and carries out what it wants.
func (s *steward) tellDeputy(in migration.MoveInput) {
	dep := s.dep
	if dep == nil || s.halted {
		return
	}
	if dep.busy {
		dep.heard = append(dep.heard, in)
		return
	}
	dep.busy = true
	fx, err := dep.d.Step(in, nil)
	if err != nil {
		s.log.Debug("refused by the deputy", "input", fmt.Sprintf("%T", in), "err", err)
	}
	if err := dep.d.Check(); err != nil {
		panic("daemon: deputy: " + err.Error())
	}
	for _, e := range fx {
		if s.dep == dep { // carrying one out may have halted the daemon
			s.carryOutDeputy(dep, e)
		}
	}
	dep.busy = false
	s.drive()
}

func (s *steward) carryOutDeputy(dep *deputy, e migration.MoveEffect) {
	switch e := e.(type) {
	case migration.Send:
		if e.To == s.h.self {
			_ = s.step(migration.Frame{From: s.h.self, Orchestrator: true, Epoch: e.Epoch, Message: e.Message})
			return
		}
		s.h.sender.Send(s.h.ctx, e.To, e.Epoch, e.Message)
	case migration.Arm:
		length := deputyStepEvery
		if e.Timer == migration.TimerPhase {
			length = s.h.cfg.AttemptTimeout
		}
		dep.timers.Arm(e.Timer, e.Epoch, length)
	case migration.Disarm:
		dep.timers.Disarm(e.Timer)
	case migration.Progress:
		s.log.Info("move driven here", "phase", e.Phase)
	case migration.Notice:
		s.log.Info("move driven here", "notice", e.Text)
	case migration.Done:
		s.log.Info("move driven here has ended", "outcome", e.Result.Outcome, "epoch", e.Result.Epoch, "why", e.Result.Text)
		s.endDeputy()
	case migration.PersistMove, migration.CaughtUp: // nothing rests on the one; the deputy has told the other
	}
}

func (s *steward) endDeputy() {
	if s.dep != nil {
		s.dep.timers.Stop()
		s.dep = nil
	}
}

// unoffered refuses, in the place of a peer without extensions, what was not
// sent to it.
func (h *Host) unoffered(to proto0500.NodeID, e frame.Epoch, o proto0500.Origin, k proto0500.Kind) {
	if st := h.steward(o); st != nil {
		st.post(func() { st.tellDeputy(migration.Frame{From: to, Epoch: e, Message: drive.Refusal(o, k)}) })
	}
}

// ownProgress lets the deputy see that the copy goes on. It may come from the
// steward itself, or from who it waits for: without room it is not said.
func (h *Host) ownProgress(o proto0500.Origin, e frame.Epoch, stats *moveStats) {
	st := h.steward(o)
	if st == nil {
		return
	}
	m := migration.Frame{From: h.self, Orchestrator: true, Epoch: e, Message: proto0500.Progress{DaemonOrigin: o, Counters: stats.values()}}
	select {
	case st.inbox <- func() { st.tellDeputy(m) }:
	default:
	}
}
