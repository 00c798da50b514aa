package sim

import (
	"ferry/frame"
	"ferry/internal/weaken"
	"ferry/migration"
	"ferry/proto0500"
)

// client writes one event after the other, tries again when it hears nothing, and goes where it is told.
type client struct {
	w     *world
	d     *dom
	at    int // node
	epoch frame.Epoch
	i     uint64 // of d.clients
	n     uint64 // writes so far
	cur   *write
	acked []uint64 // since the chain began
	tries []uint16 // of each write since the chain began, from first on
	first uint64
}

// write is one attempt to get an event accepted.
type write struct {
	c       *client
	id      uint64
	payload []byte
	over    bool // the client waits no more
}

func newClient(w *world, d *dom) *client {
	c := &client{w: w, d: d, i: uint64(len(d.clients)), at: w.rng.IntN(len(w.nodes)), first: 1}
	d.clients = append(d.clients, c)
	return c
}

// forget: the chain begins anew, and what was acknowledged is gone with the node that had it.
func (c *client) forget() {
	c.acked, c.tries = c.acked[:0], c.tries[:0]
	c.first = c.n + 1
	c.cur = nil
	c.w.after(c.w.soon(500), c.next)
}

// next is a new write.
func (c *client) next() {
	if c.w.calm {
		return
	}
	c.n++
	c.tries = append(c.tries, 0)
	c.try(&write{c: c, id: c.n<<4 | c.i, payload: c.w.cfg.Factory.Payload(c.w.rng)})
}

func (c *client) try(wr *write) {
	w := c.w
	c.cur = wr
	c.tries[len(c.tries)-1]++
	h := c.d.hosts[c.at]
	w.after(w.latency+w.soon(w.latency), func() { h.submit(wr) })
	w.after(clientTimeout, func() {
		if c.cur == wr && !wr.over {
			wr.over = true
			c.at = w.rng.IntN(len(w.nodes))
			c.again(wr)
		}
	})
}

// again is a second event, or third: whether an earlier one was accepted the client does not know.
func (c *client) again(wr *write) {
	if c.w.calm || c.cur != wr {
		return
	}
	c.try(&write{c: c, id: wr.id, payload: wr.payload})
}

// answer reaches the client, or does not.
func (wr *write) answer(moved bool, target proto0500.NodeID, e frame.Epoch, ok bool) {
	c, w := wr.c, wr.c.w
	if w.chance(Lose) {
		return
	}
	w.after(w.latency+w.soon(w.latency), func() {
		if c.cur != wr || wr.over {
			return
		}
		wr.over = true
		switch {
		case ok:
			c.acked = append(c.acked, wr.id)
			w.after(w.soon(w.latency/2), c.next)
			return
		case moved && e >= c.epoch:
			c.at, c.epoch = int(target-1), e
		default:
			c.at = w.rng.IntN(len(w.nodes))
		}
		w.after(w.soon(4*w.latency), func() { c.again(wr) })
	})
}

// submit brings a write to a node.
func (h *host) submit(wr *write) {
	if !h.n.up || wr.over {
		return
	}
	if h.w.cfg.Weak.Has(weaken.HintIsAuthority) && h.p.State() == proto0500.StateSealed {
		h.rogueWrite(wr)
		return
	}
	switch {
	case h.open && !h.frozen:
		h.queue = append(h.queue, wr)
		h.startCommit()
	case h.open || h.in != nil:
		if len(h.parked) < 64 {
			h.parked = append(h.parked, wr)
		}
	default:
		h.refer(wr)
	}
}

// refer answers who came to the wrong place.
func (h *host) refer(wr *write) {
	rec := h.p.Record()
	moved := rec.State == migration.RecordRetired || rec.State == migration.RecordMoved
	wr.answer(moved, rec.Peer, rec.Epoch, false)
}

// turnAway answers everybody who waits here.
func (h *host) turnAway() {
	for _, wr := range h.queue {
		h.refer(wr)
	}
	for _, wr := range h.parked {
		h.refer(wr)
	}
	h.queue, h.parked = h.queue[:0], h.parked[:0]
}

func (h *host) unpark() {
	if !h.open || h.frozen {
		return
	}
	h.queue = append(h.queue, h.parked...)
	h.parked = h.parked[:0]
	if len(h.queue) > 0 {
		h.startCommit()
	}
}

// startCommit writes the queue to the log, in its own time.
func (h *host) startCommit() {
	if h.commit {
		return
	}
	h.commit = true
	boot := h.n.boot
	h.w.after(h.w.soon(60), func() {
		if h.n.boot != boot || !h.n.up {
			return
		}
		h.commit = false
		if h.open && !h.done {
			h.commitNow()
			h.w.check(h.d)
		}
	})
}

// commitNow makes events of the queue: in the log, on disk, and then acknowledged.
func (h *host) commitNow() {
	for _, wr := range h.queue {
		h.accept(h.rep, wr)
	}
	h.queue = h.queue[:0]
	h.rep.sync()
	if h.out != nil {
		h.out.grown()
	}
}

func (h *host) accept(rep *replica, wr *write) {
	w, d := h.w, h.d
	link, err := rep.head.Head.Next(rep.head.Hash, 0)
	if err != nil {
		panic(err)
	}
	ev := Event{Seq: link.Sequence, Link: link, Payload: wr.payload, ReceivedAt: uint64(w.now)}
	ev.Hash = link.Hash(wr.payload)
	if rep.head != d.last {
		w.fail("I2", "node %d accepts event %d with %d of %d events accepted before it", h.n.id, ev.Seq, rep.head.Seq, len(d.accepted))
	}
	if err := rep.extend(ev); err != nil {
		w.fail("daemon", "%v", err)
	}
	d.accepted = append(d.accepted, accepted{hash: ev.Hash, write: wr.id})
	d.last = rep.head
	w.one[0] = ev
	if err := d.twin.Apply(w.one[:]); err != nil {
		w.fail("daemon", "Apply: %v", err)
	}
	w.counts.Events++
	for _, o := range w.orchs {
		if o.d == d && o.open() {
			o.stats.events++
		}
	}
	wr.answer(false, 0, 0, true)
}

// rogueWrite is what a target does that takes a client's hint for its authority.
func (h *host) rogueWrite(wr *write) {
	h.rogue = true
	h.w.check(h.d)
	if h.in != nil && h.in.rep != nil {
		h.accept(h.in.rep, wr)
	}
}
