package daemon

import (
	"bytes"
	"fmt"
	"time"

	"ferry/frame"
	"ferry/identity"
	"ferry/internal/drive"
	"ferry/migration"
	"ferry/proto0500"
	"ferry/snapshot"
	"ferry/transport"
)

// frame steps a control message; the source times its blackout by the last one.
func (s *steward) frame(f migration.Frame) {
	if _, ok := f.Message.(proto0500.ActivateAck); ok {
		s.activated(f)
	}
	s.back(f.From, f.Epoch)
	s.alarm(f)
	if s.dep != nil && forDeputyAlone(f.Message) {
		s.tellDeputy(f)
		return
	}
	before := s.p.Record()
	_ = s.step(f)
	s.tellDeputy(f)
	if m, ok := f.Message.(proto0500.Force); ok {
		s.forced(before, m)
	}
}

// activated is the target's word that it is live: the blackout is over.
func (s *steward) activated(f migration.Frame) {
	rec := s.p.Record()
	if rec.State != migration.RecordRetired || rec.Epoch != f.Epoch || rec.Peer != f.From {
		return
	}
	if out := s.lastOut; out != nil && out.epoch == f.Epoch && !s.clocks.retired.IsZero() {
		now := time.Now()
		out.stats.took(proto0500.CounterActivateNs, now.Sub(s.clocks.retired))
		out.stats.took(proto0500.CounterBlackoutNs, now.Sub(s.clocks.freeze))
		s.h.sendProgress(out.orchestrator, s.origin, f.Epoch, out.stats)
		s.clocks.retired = time.Time{}
		s.log.Info("moved away", "epoch", f.Epoch, "blackout", now.Sub(s.clocks.freeze))
	}
	s.tellMoved(rec)
}

// tellMoved tells the host's owner, once, that the target has the daemon.
func (s *steward) tellMoved(rec migration.Record) {
	if s.told == rec.Epoch {
		return
	}
	s.told = rec.Epoch
	s.h.authority(s.desc.Name, s.origin, rec.Peer, rec.Epoch)
}

// prepareFrame judges whether this node could take the daemon, and lets the core
// decide whether it does.
func (s *steward) prepareFrame(f migration.Frame, p proto0500.Prepare) {
	if f.From == p.SourceNode {
		s.log.Info("the source drives this move itself: its orchestrator has no extensions", "source", identity.NodeID(f.From), "epoch", f.Epoch)
	}
	room, no := s.verdict(p)
	if no != nil {
		s.log.Info("prepare refused", "source", p.SourceNode, "code", no.code, "reason", no.text)
		reason := proto0500.NewReason(no.code, validUTF8(no.text))
		f.Verdict = &reason
	}
	s.room, s.refusal = room, no
	s.frame(f)
	if s.room != nil { // the core would not, or had it
		s.room.release()
	}
	s.room, s.refusal = nil, nil
}

// verdict is room for the daemon, or why not.
func (s *steward) verdict(p proto0500.Prepare) (*room, *refusal) {
	kind, ok := s.h.kinds[p.DaemonKind.String()]
	switch {
	case !ok:
		return nil, &refusal{code: proto0500.CodeFactoryNotFound}
	case !kind.reads(p.Schema):
		return nil, never("kind %q writes state schema %d here and cannot read %d", kind.Name, kind.Schema, p.Schema)
	case p.StateBytes > uint64(s.h.cfg.StateBytesMax):
		return nil, never("state of %d bytes, this node takes %d", p.StateBytes, s.h.cfg.StateBytesMax)
	case s.h.creating(p.Name.String()):
		return nil, notReady("a daemon of that name is being created here")
	}
	for _, other := range s.h.named(p.Name.String()) {
		if other != s && other.gate.Load().w != nil {
			return nil, never("another daemon named %q is served by this node", p.Name)
		}
	}
	room, no := s.h.admits.admit(s.origin, p.StateBytes)
	if no != nil && no.disk && s.h.bases.evict(0) {
		room, no = s.h.admits.admit(s.origin, p.StateBytes)
	}
	return room, no
}

// sayNotReady tells in words what NotReady, which has none, is about.
func (s *steward) sayNotReady(e migration.Send) {
	m, failed := e.Message.(proto0500.MigrationFailed)
	if !failed || !m.Reason.Retriable() || s.refusal == nil && s.room == nil {
		return // not the answer to a Prepare
	}
	no := s.refusal
	if no == nil {
		no = notReady("this node has the daemon itself: %v", s.p.State())
	}
	s.send(e.To, e.Epoch, proto0500.Rejected{
		DaemonOrigin: s.origin, Refused: proto0500.KindPrepare, Reason: proto0500.RejectNotReady,
		Text: proto0500.Text(validUTF8(no.text)),
	})
}

// describe keeps the descriptor in step with what the source says of its daemon.
func (s *steward) describe(d drive.Descriptor) error {
	same := bytes.Equal(d.PublicKey, s.desc.PublicKey) && d.Name == s.desc.Name && d.Kind == s.desc.Kind && d.Schema == s.desc.Schema
	rec := s.p.Record()
	held := rec.State == migration.RecordServing || rec.State == migration.RecordRetired || s.in != nil
	switch {
	case same || held: // what is here decides
		return nil
	case len(s.desc.PublicKey) > 0 && !bytes.Equal(d.PublicKey, s.desc.PublicKey):
		return fmt.Errorf("daemon %016x has another public key at this node", uint64(s.origin))
	case d.Name != s.name:
		return fmt.Errorf("daemon %016x is called %q at this node, not %q", uint64(s.origin), s.name, d.Name)
	}
	if err := s.h.records.PutDescriptor(s.origin, d); err != nil {
		return err
	}
	s.desc = d
	return nil
}

// havesMax bounds what is kept of Have: beyond it digests are forgotten.
const havesMax = snapshot.HaveDigestsMax / proto0500.HaveDigestsMax

func (s *steward) have(from proto0500.NodeID, e frame.Epoch, m proto0500.Have) {
	if s.wrongPeer(from, e, m) {
		return
	}
	out := s.out
	if out == nil || out.epoch != e || out.target != from || m.SeqThrough != out.base.Seq || len(out.haves) == havesMax {
		return
	}
	out.haves = append(out.haves, m)
}

func (s *steward) transferStatus(from proto0500.NodeID, sess *transport.Session, e frame.Epoch, m proto0500.TransferStatus) {
	if s.wrongPeer(from, e, m) {
		return
	}
	if s.out == nil || s.out.epoch != e || s.out.target != from {
		return
	}
	status := s.out.status // of one; the last counts
	select {
	case <-status:
	default:
	}
	status <- targetStatus{sess, s.out.haves, m}
	s.out.haves = nil
}

// rejected: a peer refused what we sent. In an attempt with that peer this ends
// the attempt; it promises nothing, so it does no more.
func (s *steward) rejected(from proto0500.NodeID, e frame.Epoch, m proto0500.Rejected) {
	if s.wrongPeer(from, e, m) {
		return
	}
	s.tellDeputy(migration.Frame{From: from, Epoch: e, Message: m})
	s.h.refused.Warn("message refused by peer", identity.NodeID(from).String(), "node", identity.NodeID(from), "daemon", s.name,
		"epoch", e, "kind", m.Refused, "reason", m.Reason, "text", m.Text.String())
	if out := s.out; out != nil && out.epoch == e && out.target == from && m.Refused == proto0500.KindTransfer {
		s.step(migration.Failed{Epoch: e, Reason: stateFailed(fmt.Errorf("target refused %v: %v", m.Refused, m.Reason))})
	}
}
