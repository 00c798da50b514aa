package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"ferry/frame"
	"ferry/identity"
	"ferry/internal/drive"
	"ferry/migration"
	"ferry/proto0500"
	"ferry/transport"
)

// handler is the host as the transport sees it: it finds the steward that a
// frame or stream is for.
type handler struct{ h *Host }

// Opened keeps the peer's hello with the session.
func (t handler) Opened(s *transport.Session, hello []byte) error {
	if hello != nil {
		var m proto0500.Hello
		if err := m.Decode(hello, &t.h.cfg.Limits); err != nil {
			return err
		}
		s.SetValue(m)
	} else {
		t.h.log.Info("the peer offers no extensions", "node", s.Peer(), "allowed", t.h.cfg.AllowPlain)
	}
	peer := proto0500.NodeID(s.Peer())
	for _, st := range t.h.each() {
		st.post(func() {
			st.step(migration.Reconnected{Peer: peer})
			st.tellDeputy(migration.Reconnected{Peer: peer})
		})
	}
	return nil
}

// Closed tells every daemon here that a node is gone, unless there is another
// session with it.
func (t handler) Closed(s *transport.Session, cause error) {
	if t.h.live(proto0500.NodeID(s.Peer())) {
		return
	}
	t.h.log.Debug("node lost", "node", s.Peer(), "cause", cause)
	peer := proto0500.NodeID(s.Peer())
	for _, st := range t.h.each() {
		st.post(func() { st.lost(peer) })
	}
}

// Control routes a control frame. What does not decode closes the session.
func (t handler) Control(s *transport.Session, f frame.Frame) {
	h, from, epoch := t.h, proto0500.NodeID(s.Peer()), f.Epoch()
	// The steward takes it later: the bytes must outlive this call.
	m, err := proto0500.Decode(slices.Clone(f.Message()), &h.cfg.Limits)
	if err != nil {
		h.refused.Warn("malformed control message", s.Peer().String(), "node", s.Peer(), "err", err)
		s.Close(err)
		return
	}
	orchestrator := h.cfg.Orchestrators.Allows(s.Peer())
	if !drive.Offers(s) {
		t.plain(s, from, orchestrator, epoch, m, len(f.Message()))
		return
	}
	if q, ok := m.(proto0500.Query); ok {
		switch {
		case !t.mayQuery(s, epoch, q):
			return
		case q.DaemonOrigin == 0:
			t.reportAll(s, epoch)
			return
		}
	}
	if p, ok := m.(proto0500.Prepare); ok && orchestrator {
		t.prepare(s, from, epoch, p)
		return
	}
	if h.queries.Take(from, epoch, m) {
		return
	}
	st := h.steward(m.Origin())
	if st == nil {
		t.unknown(s, epoch, m)
		return
	}
	post, ok := h.reserve(st, len(f.Message()))
	if !ok {
		return // the host has ended
	}
	switch m := m.(type) {
	case proto0500.Progress:
		post(func() {
			st.peerProgress(from, epoch, m)
			st.tellDeputy(migration.Frame{From: from, Epoch: epoch, Message: m})
		})
	case proto0500.Transfer:
		post(func() { st.transfer(from, s, epoch, m) })
	case proto0500.Have:
		post(func() { st.have(from, epoch, m) })
	case proto0500.TransferStatus:
		post(func() { st.transferStatus(from, s, epoch, m) })
	case proto0500.Rejected:
		post(func() { st.rejected(from, epoch, m) })
	case proto0500.Pace:
		post(func() { st.pace(s, orchestrator, epoch, m) })
	default:
		post(func() {
			st.frame(migration.Frame{From: from, Orchestrator: orchestrator, Epoch: epoch, Message: m})
		})
	}
}

// reportAll answers a query about every daemon: a report each, and an empty
// one, marked last, where there is none.
func (t handler) reportAll(s *transport.Session, epoch frame.Epoch) {
	list := t.h.all()
	for i, st := range list {
		r := st.reported()
		r.Last = i == len(list)-1
		if err := send(s, epoch, r); err != nil {
			return
		}
	}
	if len(list) == 0 {
		_ = send(s, epoch, proto0500.Report{BootID: t.h.boot, Last: true})
	}
}

// unknown answers for a daemon that this node has never heard of: it has no
// record, so it promises nothing.
func (t handler) unknown(s *transport.Session, epoch frame.Epoch, m proto0500.Message) {
	switch m.(type) {
	case proto0500.Query, proto0500.ActivateTarget, proto0500.Release:
		_ = send(s, epoch, proto0500.Report{DaemonOrigin: m.Origin(), BootID: t.h.boot, Last: true})
	case proto0500.Prepare: // an orchestrator's does not come here
		t.h.refused.Warn("message of a node that has not this role", s.Peer().String(), "node", s.Peer(), "name", s.PeerName(),
			"origin", fmt.Sprintf("%016x", uint64(m.Origin())), "kind", m.Kind(), "epoch", epoch, "cause", notOrchestrator)
		_ = send(s, epoch, proto0500.Rejected{
			DaemonOrigin: m.Origin(), Refused: m.Kind(), Reason: proto0500.RejectWrongPeer,
			Text: proto0500.Text("the sender is not on this node's list of orchestrators"),
		})
	case proto0500.Report, proto0500.Rejected, proto0500.Progress, proto0500.MigrationFailed:
	default:
		_ = send(s, epoch, proto0500.Rejected{
			DaemonOrigin: m.Origin(), Refused: m.Kind(), Reason: proto0500.RejectUnknownDaemon,
		})
	}
}

// prepare judges whether this node could take the daemon at all, before the
// core decides whether it does.
func (t handler) prepare(s *transport.Session, from proto0500.NodeID, epoch frame.Epoch, p proto0500.Prepare) {
	h := t.h
	if identity.OriginOf(p.EntityID[:]) != identity.Origin(p.DaemonOrigin) {
		_ = send(s, epoch, proto0500.Rejected{
			DaemonOrigin: p.DaemonOrigin, Refused: p.Kind(), Reason: proto0500.RejectMalformed,
			Text: proto0500.Text("entity_id is not that of daemon_origin"),
		})
		return
	}
	desc := drive.Descriptor{
		Name: p.Name.String(), Kind: p.DaemonKind.String(), Schema: p.Schema, PublicKey: slices.Clone(p.EntityID[:]),
	}
	st := h.steward(p.DaemonOrigin)
	if st == nil {
		if h.tooManyStrangers() {
			h.refused.Warn("prepare refused: too many daemons that never came", s.Peer().String(), "node", s.Peer(), "max", strangersMax)
			_ = send(s, epoch, proto0500.MigrationFailed{
				DaemonOrigin: p.DaemonOrigin, Reason: proto0500.NewReason(proto0500.CodeNotReady, ""),
			})
			return
		}
		if err := h.records.PutDescriptor(p.DaemonOrigin, desc); err != nil {
			h.log.Error("descriptor not written", "err", err)
			_ = send(s, epoch, proto0500.MigrationFailed{
				DaemonOrigin: p.DaemonOrigin, Reason: proto0500.NewReason(proto0500.CodeNotReady, ""),
			})
			return
		}
		var err error
		if st, err = h.adopt(p.DaemonOrigin, desc); err != nil {
			return
		}
	}
	st.post(func() {
		if err := st.describe(desc); err != nil {
			st.log.Error("prepare refused", "err", err)
			_ = send(s, epoch, proto0500.Rejected{
				DaemonOrigin: p.DaemonOrigin, Refused: p.Kind(), Reason: proto0500.RejectMalformed,
				Text: proto0500.Text(validUTF8(err.Error())),
			})
			return
		}
		st.prepareFrame(migration.Frame{From: from, Orchestrator: true, Epoch: epoch, Message: p}, p)
	})
}

// adopt adds a steward for a daemon that is new to this node.
func (h *Host) adopt(o proto0500.Origin, desc drive.Descriptor) (*steward, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ctx.Err() != nil {
		return nil, ErrClosed
	}
	if st := h.stewards[o]; st != nil {
		return st, nil
	}
	st := newSteward(h, o, migration.Record{}, desc)
	h.add(st)
	h.work.Go(func() { st.run(func() {}) })
	return st, nil
}

// Stream finds the attempt that an incoming stream belongs to by its first
// frame, and lets it serve the rest.
func (t handler) Stream(s *transport.Session, str *transport.Stream) {
	if !t.h.awaits(s.Peer()) {
		t.refuse(s, str, fmt.Errorf("%w: stream of a node that moves nothing to here", errNoAttempt))
		return
	}
	r := frame.NewReader(str, t.h.cfg.Limits)
	unwatch := t.h.whileAwaited(s.Peer(), func() { str.Cancel(transport.CodeCanceled) })
	f, err := r.Next()
	unwatch()
	if err == nil {
		err = t.serve(s, str, r, f)
	}
	if errors.Is(err, errNoAttempt) {
		t.refuse(s, str, err)
		return
	}
	if err != nil && !errors.Is(err, io.EOF) {
		t.h.log.Debug("stream ended", "node", s.Peer(), "kind", str.Kind(), "err", err)
		str.Cancel(transport.CodeOf(err))
	}
}

// errNoAttempt refuses a stream for a daemon that nobody prepared here.
var errNoAttempt = errors.New("no such attempt at this node")

// refuse resets a stream that nobody here waits for, which harms nothing else.
func (t handler) refuse(s *transport.Session, str *transport.Stream, err error) {
	t.h.refused.Warn("stream refused", s.Peer().String(), "node", s.Peer(), "kind", str.Kind(), "err", err)
	str.Cancel(transport.CodeRefused)
}

// awaits says whether a daemon is on its way here from the node. Whoever else
// opens a stream is refused before anything is read of it: prepare has been
// answered before the source may send.
func (h *Host) awaits(node identity.NodeID) bool {
	for _, st := range h.each() {
		if in := st.attempt.Load(); in != nil && identity.NodeID(in.source) == node {
			return true
		}
	}
	return false
}

// whileAwaited calls gone when no daemon is on its way here from the node any
// more, unless it was stopped before: a stream belongs to no attempt before its
// first frame is there, and must not outlive those that it may be for.
func (h *Host) whileAwaited(node identity.NodeID, gone func()) (stop func()) {
	ctx, cancel := context.WithCancel(h.ctx)
	var watch func()
	watch = func() {
		for _, st := range h.each() {
			if in := st.attempt.Load(); in != nil && identity.NodeID(in.source) == node && in.ctx.Err() == nil {
				stopOne := context.AfterFunc(in.ctx, func() {
					if ctx.Err() == nil {
						watch()
					}
				})
				context.AfterFunc(ctx, func() { stopOne() })
				return // one that is on its way is enough: when it ends, the next one is
			}
		}
		gone()
	}
	watch()
	return cancel
}

func (t handler) serve(s *transport.Session, str *transport.Stream, r *frame.Reader, f frame.Frame) error {
	origin, err := originOf(f.Message(), &t.h.cfg.Limits)
	if err != nil {
		return err
	}
	st := t.h.steward(origin)
	if st == nil {
		return fmt.Errorf("daemon %016x: %w", uint64(origin), errNoAttempt)
	}
	in := st.attempt.Load()
	if in == nil || in.epoch != f.Epoch() || identity.NodeID(in.source) != s.Peer() {
		return fmt.Errorf("daemon %016x, epoch %d from %v: %w", uint64(origin), f.Epoch(), s.Peer(), errNoAttempt)
	}
	if str.Kind() == transport.Lane {
		return in.serveLane(str, r, f)
	}
	return in.serveEvents(str, r, f)
}

// originOf is the daemon that a stream's first frame is about.
func originOf(msg []byte, lim *frame.Limits) (proto0500.Origin, error) {
	var chunk proto0500.SnapshotReady
	if len(msg) > 0 && proto0500.Kind(msg[0]) == proto0500.KindSnapshotReady {
		err := chunk.Decode(msg, lim)
		return chunk.DaemonOrigin, err
	}
	m, err := proto0500.Decode(msg, lim)
	if err != nil {
		return 0, err
	}
	return m.Origin(), nil
}
