package sim

import (
	"ferry/frame"
	"ferry/migration"
	"ferry/proto0500"
	"ferry/snapshot"
)

// heldMax bounds the frames of events that wait for the snapshot.
const heldMax = 256

// inbound is the target's data plane of one attempt.
type inbound struct {
	h      *host
	epoch  frame.Epoch
	source proto0500.NodeID

	transfer proto0500.Transfer
	placer   *snapshot.Placer
	state    *buffer
	begun    bool // the snapshot was complete
	base     migration.Position
	rep      *replica
	held     []*flight
	moved    bool
}

// takeTransfer is the announcement, or the end, of the snapshot.
func (h *host) takeTransfer(f *flight, m proto0500.Transfer) {
	in, w := h.in, h.w
	if in == nil || in.epoch != f.epoch || in.source != f.from {
		return
	}
	if in.placer == nil {
		in.state = &buffer{make([]byte, m.StateSize)}
		placer, err := snapshot.NewPlacer(snapshot.PlacerConfig{
			Origin: h.d.origin, SeqThrough: m.SeqThrough, Version: snapshot.Version2, Size: int64(m.Size),
			StateSize: int64(m.StateSize), ChunkBytes: m.ChunkSize, State: in.state, Limits: w.lim,
		})
		if err != nil {
			w.fail("snapshot", "%v", err)
		}
		in.placer, in.transfer = placer, m
	}
	if m.SeqThrough != in.transfer.SeqThrough || m.HeadHash != in.transfer.HeadHash {
		h.step(migration.Failed{Epoch: in.epoch, Reason: failure("another snapshot in one epoch")})
		return
	}
	if !m.Final {
		return
	}
	in.transfer, in.moved = m, true
	var held [8]proto0500.Range
	ranges := held[:0]
	for r := range in.placer.Held() {
		ranges = append(ranges, r)
	}
	h.send(f.from, f.epoch, proto0500.TransferStatus{
		DaemonOrigin: h.d.origin, SeqThrough: m.SeqThrough, Ranges: proto0500.RangesOf(append([]proto0500.Range(nil), ranges...)...),
	})
	in.complete()
}

// complete tells the participant once everything is there.
func (in *inbound) complete() {
	h := in.h
	if in.begun || in.placer == nil || !in.transfer.Final || !in.placer.Done() {
		return
	}
	in.begun = true
	res, err := in.placer.Finish(in.transfer.Digest)
	if err != nil {
		h.step(migration.Failed{Epoch: in.epoch, Reason: failure(err.Error())})
		return
	}
	in.base = migration.Position{Seq: res.Header.ThroughSeq, Head: res.Header.ChainLink, Hash: in.transfer.HeadHash}
	h.step(migration.SnapshotComplete{Epoch: in.epoch, Seq: in.base.Seq, Hash: in.base.Hash})
}

// restore makes the daemon, in its own time.
func (in *inbound) restore() {
	h, w := in.h, in.h.w
	w.after(w.soon(300), func() {
		if h.in != in || !h.n.up {
			return
		}
		if w.chance(HostFails) {
			w.hit(HostFails, h, h.place())
			h.step(migration.Failed{Epoch: in.epoch, Reason: failure("restore fails")})
			return
		}
		rep, err := restoreReplica(w, h.d, uint64(in.epoch), in.state.bytesSnapshot, in.base)
		if err != nil {
			w.fail("daemon", "Restore: %v", err)
		}
		in.rep = rep
		h.step(migration.Restored{Epoch: in.epoch, Seq: in.base.Seq, Head: in.base.Head, Hash: in.base.Hash})
		held := in.held
		in.held = nil
		for _, f := range held {
			if h.in != in || !h.n.up {
				return
			}
			h.takeEvents(f, f.msg.(proto0500.BufferedEvents))
		}
	})
}

// takeEvents replays what follows.
func (h *host) takeEvents(f *flight, m proto0500.BufferedEvents) {
	in, boot := h.in, h.n.boot
	if in == nil || in.epoch != f.epoch || in.source != f.from {
		return
	}
	if in.rep == nil {
		if len(in.held) < heldMax {
			in.held = append(in.held, f)
			f.ack()
		}
		return
	}
	for ev := range m.Events.All() {
		h.current = Event{Seq: ev.Link.Sequence, Link: ev.Link, Hash: ev.Hash(), Payload: ev.Payload, ReceivedAt: ev.ReceivedAt}
		err := h.step(migration.Event{From: f.from, Epoch: f.epoch, Link: ev.Link, Hash: h.current.Hash})
		if err != nil || h.in != in || h.n.boot != boot {
			return
		}
	}
	in.moved = true
	f.ack()
	// On a timer's side of things: the host may fail while it has an attempt.
	if h.w.chance(HostFails) {
		h.w.hit(HostFails, h, h.place())
		h.step(migration.Failed{Epoch: in.epoch, Reason: failure("replay fails")})
	}
}

// ack tells the source's transport that the stream's bytes have been read.
func (f *flight) ack() {
	if o := f.out; o != nil && o.h.out == o && f.upTo > o.acked {
		o.acked = f.upTo
		o.moved = true
	}
}
