package orchestrator

import (
	"context"
	"errors"
	"fmt"

	"ferry/frame"
	"ferry/identity"
	"ferry/migration"
	"ferry/proto0500"
	"ferry/transport"
)

// ErrNoPace: the source's code is older than rate limits.
var ErrNoPace = errors.New("orchestrator: the source takes no rate limit")

// Pace changes how fast source may send the snapshot of a daemon's attempt e, in bytes a second, 0: without a limit. It
// need not be a move of this orchestrator's. Where nothing is being sent in that epoch that is an error, and so is a
// limit below 65,536.
func (o *Orchestrator) Pace(ctx context.Context, source identity.NodeID, daemon proto0500.Origin, e frame.Epoch, bytesPerSecond uint64) error {
	sess, err := o.ep.Session(ctx, source)
	if err != nil {
		return err
	}
	if !takesPace(sess) {
		return fmt.Errorf("node %v: %w", source, ErrNoPace)
	}
	_, err = o.order(ctx, source, e, proto0500.Pace{DaemonOrigin: daemon, BytesPerSecond: bytesPerSecond}, func(m proto0500.Message) bool {
		p, ok := m.(proto0500.Progress)
		if !ok {
			return false
		}
		now, told := p.Counters.Get(proto0500.CounterRateLimit)
		return told && now == bytesPerSecond
	})
	return err
}

func takesPace(sess *transport.Session) bool {
	hello, ok := sess.Value().(proto0500.Hello)
	return ok && hello.Features&proto0500.FeaturePace != 0
}

// SetRate changes how fast this move's snapshot may travel, in bytes a second, 0: without a limit. It stays when
// connections break, and goes for the snapshot that is still to be taken too. It returns when the source has taken it,
// or at once where nothing is sent yet.
func (h *Handle) SetRate(ctx context.Context, bytesPerSecond uint64) error {
	h.mu.Lock()
	h.rate = &bytesPerSecond
	e := h.copying
	h.mu.Unlock()
	if e == 0 {
		return nil
	}
	return h.o.Pace(ctx, identity.NodeID(h.req.Source), h.req.Daemon, e, bytesPerSecond)
}

// sendRate tells the source the limit of this move, before a snapshot is taken in e and when the source is back. Nothing
// waits for the answer: the control stream keeps the order.
func (h *Handle) sendRate(e frame.Epoch) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.copying = e
	if h.rate == nil {
		return
	}
	sess, ok := h.o.ep.Live(identity.NodeID(h.req.Source))
	if ok && !takesPace(sess) {
		h.log.Warn("the source takes no rate limit: it is older", "epoch", e)
		return
	}
	h.o.sender.Send(h.o.ctx, h.req.Source, e, proto0500.Pace{DaemonOrigin: h.req.Daemon, BytesPerSecond: *h.rate})
}

// rateIn follows the move's phases: in an attempt that was taken up it is too late to speak before the snapshot, and one
// that is begun anew has nothing to be told yet.
func (h *Handle) rateIn(phase migration.Phase, e frame.Epoch) {
	h.mu.Lock()
	told := h.copying == e
	if phase == migration.PhaseBegin {
		h.copying = 0
	}
	h.mu.Unlock()
	if phase == migration.PhaseTransfer && !told {
		h.sendRate(e)
	}
}

// resendRate is for a source that is back: what was sent may be lost.
func (h *Handle) resendRate() {
	h.mu.Lock()
	e := h.copying
	h.mu.Unlock()
	if e != 0 {
		h.sendRate(e)
	}
}
