package sim

import (
	"ferry/frame"
	"ferry/migration"
	"ferry/proto0500"
	"ferry/snapshot"
)

// outbound is the source's data plane of one attempt. Unlike the real one it survives what the network loses: what the
// target has not got, or not acknowledged, is sent again.
type outbound struct {
	h       *host
	epoch   frame.Epoch
	target  proto0500.NodeID
	base    migration.Position
	source  *snapshot.Source
	chunker *snapshot.Chunker
	digests *snapshot.Digests
	final   proto0500.Transfer

	whole  bool          // the target has every chunk
	sent   proto0500.Seq // events
	acked  proto0500.Seq
	seal   *proto0500.Seal
	sealed bool // … is shipped
	soon   bool // a pump is due
	moved  bool
	before proto0500.Seq // acked at the tick before
}

// startCopy takes the snapshot and ships it; everything accepted after it goes to the target, too.
func (h *host) startCopy(e migration.StartCopy) {
	w := h.w
	h.run++
	if h.rep == nil || !h.open || w.chance(HostFails) {
		if h.open {
			w.hit(HostFails, h, h.place())
		}
		h.todo = append(h.todo, migration.Failed{Epoch: e.Epoch, Reason: failure("the snapshot fails")})
		return
	}
	state, err := h.rep.d.Snapshot()
	if err != nil {
		w.fail("daemon", "Snapshot: %v", err)
	}
	base := h.rep.head
	src, err := snapshot.NewSource(snapshot.Header{
		Version: snapshot.Version2, EntityID: h.d.entity, ThroughSeq: base.Seq, ChainLink: base.Head, StateLen: uint64(state.Size()),
	}, state, nil, nil)
	if err != nil {
		w.fail("snapshot", "%v", err)
	}
	chunker, err := snapshot.NewChunker(h.d.origin, base.Seq, src, src.Size(), w.chunkBytes, w.lim)
	if err != nil {
		w.fail("snapshot", "%v", err)
	}
	out := &outbound{
		h: h, epoch: e.Epoch, target: e.Target, base: base, source: src, chunker: chunker,
		digests: snapshot.NewDigests(chunker.Total()), sent: base.Seq, acked: base.Seq, before: base.Seq,
	}
	out.final = proto0500.Transfer{
		DaemonOrigin: h.d.origin, SeqThrough: base.Seq, HeadHash: base.Hash,
		Size: uint64(src.Size()), StateSize: uint64(state.Size()), ChunkSize: w.chunkBytes,
	}
	h.out = out
	w.named(h)
	out.send(out.final)
	out.chunk(0)
	w.after(tickEvery, out.tick)
}

func (o *outbound) live() bool { return o.h.out == o && o.h.n.up }

func (o *outbound) send(m proto0500.Message) { o.h.send(o.target, o.epoch, m) }

// chunk sends the chunk i, and the rest after it, some at a time; then what ends the transfer.
func (o *outbound) chunk(i uint32) {
	w := o.h.w
	if !o.live() {
		return
	}
	for range 4 {
		if i == o.chunker.Total() {
			o.final.Final, o.final.Digest = true, o.digests.Sum()
			o.send(o.final)
			return
		}
		o.ship(i)
		i++
	}
	w.after(w.soon(2*w.latency), func() { o.chunk(i) })
}

func (o *outbound) ship(i uint32) {
	w := o.h.w
	b, digest, err := o.chunker.AppendFrame(make([]byte, 0, o.chunker.FrameBytesMax()), o.epoch, i)
	if err != nil {
		w.fail("snapshot", "%v", err)
	}
	o.digests.Set(i, digest)
	if st := w.moveAt(o.h.d, o.epoch); st != nil {
		st.chunks++
	}
	w.counts.Chunks++
	w.send(&flight{from: o.h.n.id, to: o.target, dom: o.h.d.i, epoch: o.epoch, chunk: b, out: o})
}

// status sends what the target misses.
func (o *outbound) status(m proto0500.TransferStatus) {
	if m.SeqThrough != o.base.Seq || !o.final.Final || o.whole {
		return
	}
	o.moved = true
	next, missing := uint32(0), 0
	for r := range m.Ranges.All() {
		for ; next < r.First && next < o.chunker.Total(); next++ {
			o.ship(next)
			missing++
		}
		next = r.First + r.Chunks
	}
	for ; next < o.chunker.Total(); next++ {
		o.ship(next)
		missing++
	}
	if missing == 0 {
		o.whole = true
		return
	}
	o.send(o.final)
}

// grown: there is something to ship. It goes out a moment later, with what comes until then.
func (o *outbound) grown() {
	if o.soon {
		return
	}
	o.soon = true
	w := o.h.w
	w.after(w.soon(2*w.latency), func() {
		o.soon = false
		if o.live() {
			o.pump()
		}
	})
}

// pump ships the events that are not shipped yet, and the seal behind the last that it covers.
func (o *outbound) pump() {
	h := o.h
	if h.rep == nil {
		return
	}
	for {
		events := h.rep.from(o.sent + 1)
		if len(events) == 0 {
			break
		}
		events = events[:min(len(events), 32)]
		list := make([]proto0500.Event, len(events))
		for i, ev := range events {
			list[i] = proto0500.Event{Link: ev.Link, Payload: ev.Payload, ReceivedAt: ev.ReceivedAt}
		}
		o.sent = events[len(events)-1].Seq
		h.w.send(&flight{
			from: h.n.id, to: o.target, dom: h.d.i, epoch: o.epoch, out: o, upTo: o.sent,
			msg: proto0500.BufferedEvents{DaemonOrigin: h.d.origin, Events: proto0500.EventsOf(list...)},
		})
		if st := h.w.moveAt(h.d, o.epoch); st != nil {
			st.shipped += len(list)
		}
	}
	if o.seal != nil && !o.sealed && o.sent >= o.seal.Seq {
		o.sealed = true
		o.send(*o.seal)
	}
	if o.seal == nil {
		o.sealed = false
	}
}

// tick sends again what may be lost: as a new stream, from the snapshot on.
func (o *outbound) tick() {
	if !o.live() {
		return
	}
	w := o.h.w
	if w.chance(HostFails) {
		w.hit(HostFails, o.h, o.h.place())
		o.h.step(migration.Failed{Epoch: o.epoch, Reason: failure("the stream fails")})
		if !o.live() {
			return
		}
	}
	if o.final.Final && !o.whole {
		o.send(o.final)
	}
	if o.acked == o.before && (o.acked < o.sent || o.sealed) {
		o.sent, o.sealed = o.base.Seq, false
		o.pump()
	}
	o.before = o.acked
	w.after(tickEvery, o.tick)
}
