package sim

import (
	"fmt"

	"ferry/frame"
	"ferry/proto0500"
)

// flight is a frame on its way.
type flight struct {
	from, to proto0500.NodeID
	dom      int
	epoch    frame.Epoch
	msg      proto0500.Message // nil: chunk
	chunk    []byte            // a SnapshotReady, framed
	at       int64

	// Of the data plane's streams: what the transport acknowledges.
	out  *outbound
	upTo proto0500.Seq
}

func (f *flight) String() string {
	if f.msg == nil {
		return fmt.Sprintf("%d>%d d%d chunk@%d", f.from, f.to, f.dom, f.epoch)
	}
	return fmt.Sprintf("%d>%d d%d %v@%d%s", f.from, f.to, f.dom, f.msg.Kind(), f.epoch, details(f.msg))
}

func details(m proto0500.Message) string {
	switch m := m.(type) {
	case proto0500.Begin:
		return fmt.Sprintf(" target=%d floor=%d", m.TargetNode, m.Floor)
	case proto0500.MigrationFailed:
		return fmt.Sprintf(" (%v)", m.Reason)
	case proto0500.BufferedEvents:
		for ev := range m.Events.All() {
			return fmt.Sprintf(" seq=%d+%d", ev.Link.Sequence, m.Events.Len())
		}
	case proto0500.Transfer:
		return fmt.Sprintf(" seq=%d final=%t", m.SeqThrough, m.Final)
	case proto0500.Seal:
		return fmt.Sprintf(" seq=%d", m.Seq)
	case proto0500.Ack:
		return fmt.Sprintf(" seq=%d", m.Seq)
	case proto0500.ReplayComplete:
		return fmt.Sprintf(" seq=%d", m.ReplayedSeq)
	case proto0500.Report:
		return fmt.Sprintf(" %v@%d live=%d copy=%t seq=%d", m.State, m.Epoch, m.LiveEpoch, m.Copy, m.Seq)
	case proto0500.Rejected:
		return fmt.Sprintf(" of %v: %s", m.Refused, m.Text)
	}
	return ""
}

// staleMax is how many old frames of a daemon can come back.
const staleMax = 96

// send gives a frame to the network.
func (w *world) send(f *flight) {
	d := w.doms[f.dom]
	w.witness(d, f)
	if w.model != nil {
		w.model.send(f)
	}
	if o := w.orchestratorOf(f); o != nil && !w.calm && o.seldom() && w.rng.IntN(5) == 0 {
		w.trouble(o, f)
		return
	}
	at := w.now + w.latency + w.rng.Int64N(w.latency)
	if f.chunk == nil && f.from <= proto0500.NodeID(len(w.nodes)) && f.to <= proto0500.NodeID(len(w.nodes)) {
		// In order, as a stream is. The lanes of the chunks have no order.
		link := &w.last[int(f.from)*len(w.nodes)+int(f.to)-1]
		at = max(at, *link+1)
		if !w.chance(Reorder) {
			*link = at
		} else {
			w.hitFrame(Reorder, f)
			at = w.now + 1
		}
	} else if w.chance(Reorder) {
		w.hitFrame(Reorder, f)
		at = w.now + 1
	}
	if !w.calm {
		if len(d.stale) < staleMax {
			d.stale = append(d.stale, f)
		} else if d.staleN++; d.staleN%3 == 0 {
			d.stale[w.rng.IntN(staleMax)] = f
		}
	}
	if w.chance(Lose) {
		w.hitFrame(Lose, f)
		if w.cfg.Trace {
			w.printf("lost: %v", f)
		}
		return
	}
	if w.chance(Delay) {
		w.hitFrame(Delay, f)
		at += w.soon(15_000)
	}
	f.at = at
	w.q.push(item{at: at, f: f})
	if w.chance(Double) {
		w.hitFrame(Double, f)
		w.q.push(item{at: at + w.soon(2*w.latency), f: f})
	}
	if w.chance(Stale) && len(d.stale) > 0 {
		old := d.stale[w.rng.IntN(len(d.stale))]
		w.hitFrame(Stale, old)
		w.q.push(item{at: w.now + w.soon(2*w.latency), f: old})
	}
}

func (w *world) isCut(a, b proto0500.NodeID) bool {
	if a >= firstOrchestrator && w.mute[a-firstOrchestrator] || b >= firstOrchestrator && w.mute[b-firstOrchestrator] {
		return true
	}
	n := proto0500.NodeID(len(w.nodes))
	if a > n || b > n || a == b {
		return false
	}
	return w.cut[int(a-1)*int(n)+int(b-1)]
}

// arrive gives a frame to whom it is for.
func (w *world) arrive(f *flight) {
	if w.isCut(f.from, f.to) {
		w.hitFrame(Cut, f)
		if w.cfg.Trace {
			w.printf("cut: %v", f)
		}
		return
	}
	if f.to >= firstOrchestrator {
		w.toOrchestrators(f)
		return
	}
	n := w.nodes[f.to-1]
	if !n.up {
		return
	}
	if w.cfg.Trace {
		w.printf("%v", f)
	}
	if f.chunk != nil {
		n.hosts[f.dom].takeChunk(f)
		return
	}
	n.hosts[f.dom].take(f)
	w.toOrchestrators(f)
}

// mayOrchestrate is the allow list of all nodes.
func (w *world) mayOrchestrate(id proto0500.NodeID) bool {
	return id >= firstOrchestrator || w.nodesMay
}

// hitFrame counts a fault of a frame, at whom it is for.
func (w *world) hitFrame(f Fault, fl *flight) {
	w.counts.Faults[f]++
	w.touch(fl.dom)
	if fl.to >= firstOrchestrator {
		if o := w.orchestratorOf(fl); o != nil {
			w.hits[o.place()][f]++
		}
		return
	}
	w.hits[w.nodes[fl.to-1].hosts[fl.dom].place()][f]++
}

// hit counts a fault at a host.
func (w *world) hit(f Fault, h *host, p place) {
	w.counts.Faults[f]++
	w.hits[p][f]++
	w.touch(h.d.i)
	if w.cfg.Trace {
		w.printf("fault: %v at %d d%d, %s", f, h.n.id, h.d.i, placeNames[p])
	}
}

// touch counts a fault in the moves that are open.
func (w *world) touch(dom int) {
	for _, o := range w.orchs {
		if o.d.i == dom && o.open() {
			o.stats.faults++
		}
	}
}
