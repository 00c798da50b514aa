package daemon

import (
	"sync"
	"time"

	"golang.org/x/time/rate"

	"ferry/frame"
	"ferry/identity"
	"ferry/proto0500"
	"ferry/transport"
)

// Who may ask what is here, and how often (docs/security.md).

const (
	// reportsPerSecond and reportsBurst bound the reports that one node is given in
	// answer to its queries. A move asks source and target ten times a second, so a
	// hundred moves at once ask for 1,000; a query about all daemons counts as many
	// as there are. Beyond it a query is refused, which costs no more than it did.
	reportsPerSecond = 10_000
	reportsBurst     = 20_000
	// askersMax is how many nodes' budgets are remembered; beyond it those go that
	// have asked for nothing of late.
	askersMax = 1024
)

// mayAsk says whether a node may ask which daemons there are here.
func (h *Host) mayAsk(node identity.NodeID) bool {
	return h.cfg.Orchestrators.Allows(node) || h.cfg.Askers.Allows(node)
}

// budgets is what each node may still ask for.
type budgets struct {
	mu sync.Mutex
	of map[identity.NodeID]*rate.Limiter
}

// spend takes so many reports from the budget of a node, and says whether there
// were as many. What is more than the whole budget costs the whole.
func (b *budgets) spend(node identity.NodeID, reports int, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.of[node]
	if l == nil {
		if b.of == nil || len(b.of) >= askersMax {
			b.forget(now)
		}
		l = rate.NewLimiter(reportsPerSecond, reportsBurst)
		b.of[node] = l
	}
	return l.AllowN(now, min(max(reports, 1), reportsBurst))
}

// forget drops the budgets that are whole again, for they say nothing.
func (b *budgets) forget(now time.Time) {
	kept := make(map[identity.NodeID]*rate.Limiter)
	for node, l := range b.of {
		if l.TokensAt(now) < reportsBurst {
			kept[node] = l
		}
	}
	b.of = kept
}

// mayQuery judges a query before anything is done about it: all daemons are for
// those who may ask, one daemon is for the core, which knows its roles; and
// neither is for who asks too often. A node that gets no report gets a refusal.
func (t handler) mayQuery(s *transport.Session, epoch frame.Epoch, q proto0500.Query) bool {
	h, reports := t.h, 1
	if q.DaemonOrigin == 0 {
		if !h.mayAsk(s.Peer()) {
			h.refused.Warn("query refused: the node may not ask which daemons are here", s.Peer().String(),
				"node", s.Peer(), "name", h.ep.NameOf(s.Peer()))
			_ = send(s, epoch, proto0500.Rejected{
				Refused: q.Kind(), Reason: proto0500.RejectWrongPeer,
				Text: proto0500.Text("the sender is not on this node's list of orchestrators, nor of those who may ask what it has"),
			})
			return false
		}
		reports = h.known()
	}
	if !h.budgets.spend(s.Peer(), reports, time.Now()) {
		h.refused.Warn("query refused: too many in a second", s.Peer().String(),
			"node", s.Peer(), "name", h.ep.NameOf(s.Peer()), "reports_per_second", reportsPerSecond)
		_ = send(s, epoch, proto0500.Rejected{
			DaemonOrigin: q.DaemonOrigin, Refused: q.Kind(), Reason: proto0500.RejectNotReady,
			Text: proto0500.Text("the sender asks too often"),
		})
		return false
	}
	return true
}

// known is how many daemons this node has something to say of.
func (h *Host) known() int {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return len(h.stewards)
}

// reportFor is the report as a node may have it. Who has no role now may have had
// one in an attempt that is past, of which nothing is recorded: it is told what
// ends that attempt (safety.md, R7 and R9), and nothing about the daemon.
func (s *steward) reportFor(node proto0500.NodeID) proto0500.Report {
	r := s.report()
	if s.h.mayAsk(identity.NodeID(node)) || s.hasPart(node) {
		return r
	}
	return proto0500.Report{DaemonOrigin: r.DaemonOrigin, Epoch: r.Epoch, LiveEpoch: r.LiveEpoch, BootID: r.BootID, Last: true}
}
