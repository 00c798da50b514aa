package sim

import (
	"errors"

	"ferry/journal"
	"ferry/migration"
	"ferry/proto0500"
)

// node is one process: a journal that survives it, and a host of each daemon.
type node struct {
	w     *world
	id    proto0500.NodeID
	j     *journal.Memory
	up    bool
	boot  int
	hosts []*host // by daemon
}

func newNode(w *world, id proto0500.NodeID, doms int) *node {
	return &node{w: w, id: id, j: journal.NewMemory(), up: true, boot: 1, hosts: make([]*host, 0, doms)}
}

// crash ends the process; of what was not synced, the first n writes survive. What it finds when it starts again is
// made at once, so that the invariants can look at it.
func (n *node) crash(survive int) {
	w := n.w
	if w.cfg.Trace {
		w.printf("%d crashes", n.id)
	}
	n.j = n.j.CrashClone(survive)
	n.up = false
	n.boot++
	for _, h := range n.hosts {
		h.lose()
	}
	for _, o := range w.orchs {
		if o.id == n.id {
			o.crash()
		}
	}
	for _, h := range n.hosts {
		w.check(h.d)
	}
	boot := n.boot
	w.after(w.soon(8_000), func() {
		if !n.up && n.boot == boot {
			n.restart()
		}
	})
	for _, other := range w.nodes {
		if other != n && w.rng.IntN(2) == 0 {
			w.after(w.soon(4_000), func() { other.peerLost(n.id) })
		}
	}
}

func (n *node) restart() {
	w := n.w
	n.up = true
	if w.cfg.Trace {
		w.printf("%d starts", n.id)
	}
	for _, h := range n.hosts {
		h.boot()
	}
	for _, other := range w.nodes {
		if other != n && n.up && w.rng.IntN(2) == 0 {
			w.after(w.soon(2_000), func() { other.reconnected(n.id) })
		}
	}
}

func (n *node) peerLost(peer proto0500.NodeID) {
	for _, h := range n.hosts {
		if n.up {
			if h.p.Peer() == peer || h.p.Record().Orchestrator == peer {
				n.w.hit(LostPeer, h, h.place())
			}
			h.step(migration.PeerLost{Peer: peer})
		}
	}
}

func (n *node) reconnected(peer proto0500.NodeID) {
	for _, h := range n.hosts {
		if n.up {
			h.step(migration.Reconnected{Peer: peer})
		}
	}
}

// The journal.

var recordKeys = [2][]byte{[]byte("record 0"), []byte("record 1")}

// put writes a record, durably.
func (h *host) put(rec migration.Record) {
	h.n.j.Sync()
	if err := h.n.j.Put(recordKeys[h.d.i], recordBytes(rec)); err != nil {
		panic(err)
	}
}

// read is what a restart finds.
func (h *host) read() (rec migration.Record) {
	b, err := h.n.j.Get(recordKeys[h.d.i])
	if errors.Is(err, journal.ErrNotFound) {
		return rec
	}
	if err == nil {
		err = rec.UnmarshalBinary(b)
	}
	if err != nil {
		h.w.fail("record", "node %d reads: %v", h.n.id, err)
	}
	return rec
}

func recordBytes(rec migration.Record) []byte {
	b, err := rec.AppendBinary(make([]byte, 0, migration.RecordBytes))
	if err != nil {
		panic(err)
	}
	return b
}
