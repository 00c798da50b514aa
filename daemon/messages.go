package daemon

import (
	"bytes"
	"fmt"
	"time"

	"ferry/frame"
	"ferry/internal/drive"
	"ferry/migration"
	"ferry/proto0500"
	"ferry/transport"
)

// frame steps a control message; the source times its blackout by the last one.
func (s *steward) frame(f migration.Frame) {
	if _, ok := f.Message.(proto0500.ActivateAck); ok {
		s.activated(f)
	}
	s.alarm(f)
	before := s.p.Record()
	_ = s.step(f)
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

// verdict is whether this node could take the daemon: nil is yes.
func (s *steward) verdict(p proto0500.Prepare) *proto0500.Reason {
	no := func(code proto0500.Code, format string, args ...any) *proto0500.Reason {
		r := proto0500.NewReason(code, validUTF8(fmt.Sprintf(format, args...)))
		s.log.Info("prepare refused", "source", p.SourceNode, "reason", r.String())
		return &r
	}
	kind, ok := s.h.kinds[p.DaemonKind.String()]
	switch {
	case !ok:
		return no(proto0500.CodeFactoryNotFound, "")
	case !kind.reads(p.Schema):
		return no(proto0500.CodeStateFailed, "kind %q writes state schema %d here and cannot read %d", kind.Name, kind.Schema, p.Schema)
	case p.StateBytes > uint64(s.h.cfg.StateBytesMax):
		return no(proto0500.CodeStateFailed, "state of %d bytes, this node takes %d", p.StateBytes, s.h.cfg.StateBytesMax)
	}
	if s.in == nil && s.h.attempts() >= s.h.cfg.AttemptsMax {
		return no(proto0500.CodeNotReady, "")
	}
	if s.h.creating(p.Name.String()) {
		return no(proto0500.CodeNotReady, "")
	}
	for _, other := range s.h.named(p.Name.String()) {
		if other != s && other.gate.Load().w != nil {
			return no(proto0500.CodeStateFailed, "another daemon named %q is served by this node", p.Name)
		}
	}
	return nil
}

// attempts counts the daemons on their way here.
func (h *Host) attempts() (n int) {
	for _, s := range h.each() {
		if s.attempt.Load() != nil {
			n++
		}
	}
	return n
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

func (s *steward) transferStatus(from proto0500.NodeID, sess *transport.Session, e frame.Epoch, m proto0500.TransferStatus) {
	if s.out == nil || s.out.epoch != e || s.out.target != from {
		return
	}
	status := s.out.status // of one; the last counts
	select {
	case <-status:
	default:
	}
	status <- targetStatus{sess, m}
}

// rejected: a peer refused what we sent. In an attempt with that peer this ends
// the attempt; it promises nothing, so it does no more.
func (s *steward) rejected(from proto0500.NodeID, e frame.Epoch, m proto0500.Rejected) {
	s.log.Warn("message refused by peer", "node", from, "epoch", e, "kind", m.Refused, "reason", m.Reason, "text", m.Text.String())
	if out := s.out; out != nil && out.epoch == e && out.target == from && m.Refused == proto0500.KindTransfer {
		s.step(migration.Failed{Epoch: e, Reason: stateFailed(fmt.Errorf("target refused %v: %v", m.Refused, m.Reason))})
	}
}
