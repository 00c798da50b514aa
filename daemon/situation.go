package daemon

import (
	"ferry/migration"
	"ferry/proto0500"
)

// What others see of a steward without waiting for it.

// gate is what a writer at this node finds. It is replaced whenever the
// daemon's situation changes; changed is closed then.
type gate struct {
	w       *writer // serves; it parks writes by itself while frozen
	park    bool    // a move to here is under way: wait
	err     error   // otherwise: why not
	changed chan struct{}
}

// publish shows the daemon's situation to writers and to Status.
func (s *steward) publish() {
	g := gate{}
	rec := s.p.Record()
	switch {
	case s.w != nil:
		g.w = s.w
	case s.failed != nil:
		g.err = s.failed
	case rec.State == migration.RecordRetired || rec.State == migration.RecordMoved && s.in == nil:
		g.err = &MovedError{Name: s.desc.Name, Target: rec.Peer, Epoch: rec.Epoch}
	case s.in != nil:
		g.park = true
	case rec.State == migration.RecordServing:
		g.err = ErrNoState
	default:
		g.err = ErrNotServing
	}
	if old := s.gate.Load(); old.w != g.w || old.park != g.park || !sameError(old.err, g.err) {
		g.changed = make(chan struct{})
		s.gate.Store(&g)
		close(old.changed)
	}
	s.attempt.Store(s.in)
	s.now.Store(s.situation())
}

func sameError(a, b error) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Error() == b.Error()
}

// report is what this node says of the daemon when it is asked.
func (s *steward) report() proto0500.Report {
	r := s.p.Report(s.copyOf(), s.h.boot)
	if s.in != nil && s.inRep != nil {
		head := s.inRep.head.Load()
		r.Seq, r.Head, r.HeadHash = head.Seq, head.Link, head.Hash
	}
	r.EntityID, r.Schema = s.desc.Entity(), s.desc.Schema
	if kind, ok := s.h.kinds[s.desc.Kind]; ok {
		r.Schema = kind.Schema // whoever wrote the state, this is what a snapshot will be
	}
	r.Name, r.DaemonKind = proto0500.Text(s.desc.Name), proto0500.Text(s.desc.Kind)
	if sizer, ok := s.sizer(); ok {
		r.StateBytes = uint64(sizer.StateBytes())
	}
	r.Last = true
	return r
}

func (s *steward) sizer() (Sizer, bool) {
	if s.rep == nil {
		return nil, false
	}
	sizer, ok := s.rep.d.(Sizer)
	return sizer, ok
}

// situation is what Status and a query about everything tell, as of the last
// step. The head moves on with every write, so it is read through the replica.
type situation struct {
	Status
	report proto0500.Report
	rep    *replica
}

func (s *steward) situation() *situation {
	rec := s.p.Record()
	now := &situation{rep: s.rep, report: s.report(), Status: Status{
		Name: s.desc.Name, Kind: s.desc.Kind, Origin: s.origin, State: s.p.State(),
		Authority: s.w != nil, Epoch: rec.Epoch, Peer: s.p.Peer(),
	}}
	if now.rep == nil {
		now.rep = s.inRep
	}
	if now.rep != nil {
		now.Daemon = now.rep.d
	}
	return now
}

// status does not wait for the steward: it is asked with every request.
func (s *steward) status() Status {
	now := s.now.Load()
	st := now.Status
	if now.rep != nil {
		st.Head = *now.rep.head.Load()
	}
	return st
}

// reported is the report of this moment, for who asks about every daemon.
func (s *steward) reported() proto0500.Report {
	now := s.now.Load()
	r := now.report
	if now.Authority && now.rep != nil {
		head := now.rep.head.Load()
		r.Seq, r.Head, r.HeadHash = head.Seq, head.Link, head.Hash
	}
	return r
}
