package daemon

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"ferry/frame"
	"ferry/identity"
	"ferry/migration"
	"ferry/proto0500"
	"ferry/transport"
)

// What the steward does with the data plane of an attempt, and the data plane
// with the steward.

// fail says that the attempt e cannot go on here, unless ctx, the attempt's,
// has ended. It may be called from any goroutine.
func (s *steward) fail(ctx context.Context, e frame.Epoch, err error) {
	s.postFor(ctx, func() {
		if (s.out == nil || s.out.epoch != e) && (s.in == nil || s.in.epoch != e) {
			return
		}
		s.log.Warn("attempt failed", "epoch", e, "err", err)
		_ = s.step(migration.Failed{Epoch: e, Reason: stateFailed(err)})
	})
}

// fired steps a timer, unless the data plane has moved on since it was armed:
// an attempt times out since its last progress, however long it takes.
func (s *steward) fired(t migration.Timer, e frame.Epoch) {
	if t == migration.TimerAttempt {
		if now := s.progress(); now != s.active {
			s.active = now
			s.timers.Arm(t, e, s.h.cfg.AttemptTimeout)
			return
		}
		s.log.Warn("no progress", "epoch", e, "for", s.h.cfg.AttemptTimeout, "peer", identity.NodeID(s.p.Peer()), "state", s.p.State())
	}
	_ = s.step(migration.Fired{Timer: t, Epoch: e})
}

// progress is a number that changes while the attempt gets on.
func (s *steward) progress() uint64 {
	switch {
	case s.out != nil:
		// While the target restores, only it knows.
		return s.out.stats.get(proto0500.CounterBytesWire) + s.out.peer.Load()
	case s.in != nil:
		return s.in.stats.get(proto0500.CounterBytesWire) + s.in.stats.get(proto0500.CounterBaseBytes) +
			s.in.stats.get(proto0500.CounterEventsReplayed) + s.in.stats.get(proto0500.CounterRestoreNs)
	}
	return 0
}

// peerProgress takes what the target says of itself.
func (s *steward) peerProgress(from proto0500.NodeID, e frame.Epoch, m proto0500.Progress) {
	if s.wrongPeer(from, e, m) {
		return
	}
	if out := s.out; out != nil && out.target == from && out.epoch == e {
		var sum uint64
		for v := range m.Counters.All() {
			sum += v.Value
		}
		out.peer.Store(sum)
		replayed, _ := m.Counters.Get(proto0500.CounterEventsReplayed)
		s.follow(out, replayed)
	}
}

// endOut ends the source's data plane and waits for it: its readers have let go
// of the snapshot and the log then. They wait for nothing but the author's
// snapshot and our disk.
func (s *steward) endOut(cause error) {
	out := s.out
	if out == nil {
		return
	}
	s.out, s.lastOut = nil, out
	out.cancel(cause)
	<-out.done
	if mem, ok := out.log.(*memLog); ok {
		mem.release()
	}
	if s.w != nil {
		s.w.hold(false)
		s.w.slow(0)
	}
}

// What becomes of an attempt's files when it ends here.
type filesFate bool

const (
	keepFiles filesFate = false // they are the daemon's now, or may be
	dropFiles filesFate = true
)

// endIn ends the target's data plane, in the background where that takes time.
// A restored daemon that was not adopted is closed.
func (s *steward) endIn(cause error, files filesFate) {
	in := s.in
	if in == nil {
		return
	}
	s.in, s.inRep, s.batch = nil, nil, nil
	inMemory := s.inMemory()
	in.stop(cause)
	in.room.leave()
	s.cleanup.Go(func() {
		defer in.room.release()
		rep := in.end()
		if rep != nil {
			if err := rep.close(); err != nil {
				s.log.Warn("dropped daemon closed with an error", "err", err)
			}
		}
		in.turn.wait()
		defer close(in.turn.done)
		if files == keepFiles {
			// Where the daemon did not take it, nobody needs it any more.
			_ = os.Remove(filepath.Join(in.dir, incomingFile))
			s.removeBase()
			return
		}
		if inMemory {
			s.removeDir(in.dir)
			return
		}
		s.leave(in.dir, true, false)
	})
}

// adopt makes the restored daemon this node's own.
func (s *steward) adopt() {
	s.rep, s.inRep, s.failed = s.in.take(), nil, nil
	s.serve()
}

// snapshotComplete: every byte of the state is here and on disk.
func (s *steward) snapshotComplete(in *inbound, base Head) {
	s.postFor(in.ctx, func() {
		if s.in != in {
			return
		}
		s.inBase = base
		_ = s.step(migration.SnapshotComplete{Epoch: in.epoch, Seq: base.Seq, Hash: base.Hash})
	})
}

// restoredReplica: the daemon is open on that state. It is in's until adopted.
func (s *steward) restoredReplica(in *inbound, rep *replica) {
	s.postFor(in.ctx, func() {
		if s.in != in {
			return
		}
		s.inRep = rep
		head := rep.head.Load()
		_ = s.step(migration.Restored{Epoch: in.epoch, Seq: head.Seq, Head: head.Link, Hash: head.Hash})
		if s.in == in {
			close(in.restored)
		}
	})
}

// transfer takes the source's announcement.
func (s *steward) transfer(from proto0500.NodeID, sess *transport.Session, e frame.Epoch, t proto0500.Transfer) {
	s.back(from, e)
	if s.in == nil || s.in.epoch != e {
		s.send(from, e, s.reportFor(from))
		return
	}
	if s.in.source != from {
		s.logWrongPeer(from, e, t)
		s.send(from, e, proto0500.Rejected{DaemonOrigin: s.origin, Refused: t.Kind(), Reason: proto0500.RejectWrongPeer})
		return
	}
	if err := s.in.announce(t, sess); err != nil {
		s.log.Warn("transfer refused", "epoch", e, "err", err)
		_ = s.step(migration.Failed{Epoch: e, Reason: stateFailed(err)})
	}
}

// replay takes one frame of the event stream, and returns when the daemon has
// applied it: the frame's bytes are borrowed.
func (s *steward) replay(in *inbound, m proto0500.Message) error {
	res := make(chan error, 1)
	s.post(func() { res <- s.replayFrame(in, m) })
	select {
	case err := <-res:
		return err
	case <-s.h.ctx.Done():
		// The steward may be at it still; the stream's reader, whose bytes
		// these are, reads no more.
		return ErrClosed
	}
}

func (s *steward) replayFrame(in *inbound, m proto0500.Message) error {
	if s.in != in {
		return errDropped
	}
	events, ok := m.(proto0500.BufferedEvents)
	if !ok {
		return s.step(migration.Frame{From: in.source, Epoch: in.epoch, Message: m})
	}
	defer s.publish()
	err := s.replayEvents(in, events)
	if err != nil && s.in == in {
		// Nothing borrowed may stay behind. What the core has let through is
		// of the chain, whatever came after it.
		err = errors.Join(err, s.replayBatch())
	}
	return err
}

func (s *steward) replayEvents(in *inbound, events proto0500.BufferedEvents) error {
	for ev := range events.Events.All() {
		s.current = Event{
			Seq: ev.Link.Sequence, Link: ev.Link, Hash: ev.Link.Hash(ev.Payload),
			Payload: ev.Payload, ReceivedAt: ev.ReceivedAt,
		}
		if err := s.drain(migration.Event{From: in.source, Epoch: in.epoch, Link: ev.Link, Hash: s.current.Hash}); err != nil {
			return err
		}
		if s.in != in {
			return errDropped
		}
	}
	if err := s.replayBatch(); err != nil {
		s.log.Warn("replay failed", "err", err)
		_ = s.drain(migration.Failed{Epoch: in.epoch, Reason: stateFailed(err)})
		return err
	}
	return nil
}

// replayBatch applies the events that the core has let through.
func (s *steward) replayBatch() error {
	if len(s.batch) == 0 {
		return nil
	}
	err := s.inRep.extend(s.batch)
	if err == nil && !s.inRep.kind.InMemory {
		_, err = s.in.flush.replayed(len(s.batch))
	}
	s.in.stats.add(proto0500.CounterEventsReplayed, uint64(len(s.batch)))
	clear(s.batch)
	s.batch = s.batch[:0]
	return err
}

// losses are the nodes that an attempt needs and that there is no session with,
// each with the number of its last loss.
type losses struct {
	n  uint64
	of map[proto0500.NodeID]uint64
}

// lost: the last session with a node has ended. What the attempt needs is given
// time for a way back before the core hears of it.
func (s *steward) lost(peer proto0500.NodeID) {
	if s.out != nil && peer == s.out.target && s.h.cfg.ResumeFor > 0 {
		return // outbound takes its session again, or ends the attempt
	}
	wait := s.patience()
	if _, waits := s.losses.of[peer]; waits {
		return // other processes under its key may come and go
	}
	if wait <= 0 {
		_ = s.step(migration.PeerLost{Peer: peer})
		return
	}
	if s.losses.of == nil {
		s.losses.of = make(map[proto0500.NodeID]uint64)
	}
	s.losses.n++
	n, e := s.losses.n, s.p.Epoch()
	s.losses.of[peer] = n
	time.AfterFunc(wait, func() {
		s.post(func() {
			if s.losses.of[peer] != n {
				return // it came back
			}
			delete(s.losses.of, peer)
			if s.p.Epoch() == e {
				_ = s.step(migration.PeerLost{Peer: peer})
			}
		})
	})
}

// back: a node that was lost has spoken of the attempt e. A session alone says
// nothing: several processes may have one key.
func (s *steward) back(from proto0500.NodeID, e frame.Epoch) {
	if e == s.p.Epoch() {
		delete(s.losses.of, from)
	}
}

// patience is how long the attempt can do without another node.
func (s *steward) patience() time.Duration {
	resume := max(s.h.cfg.ResumeFor, 0)
	switch s.p.State() {
	case proto0500.StateBegun, proto0500.StateCopying:
		return resume
	case proto0500.StatePrepared, proto0500.StateRestored:
		// The source may notice it later than we, and has as long then, or twice
		// as long. Nothing waits for us.
		return 4 * resume
	}
	return 0 // nothing breaks off; some ask at once
}
