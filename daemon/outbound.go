package daemon

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"ferry/frame"
	"ferry/identity"
	"ferry/proto0500"
	"ferry/snapshot"
	"ferry/transport"
)

// outbound is the source's data plane of one attempt: the snapshot's chunks
// over the lanes, and beside them every event after it, in order, on the event
// stream. It reads events from the log, so that it holds none of its own: a
// slow target slows it down, and nobody else.
type outbound struct {
	h            *Host
	origin       proto0500.Origin
	epoch        frame.Epoch
	target       proto0500.NodeID
	orchestrator proto0500.NodeID
	header       snapshot.Header
	identity     []byte // the daemon's key, sealed for the target; nil: none
	base         Head
	snap         Snapshot
	log          eventLog
	head         *atomic.Pointer[Head]
	grown        *notifier
	stats        *moveStats
	paced        *pacedMove

	status chan proto0500.TransferStatus // the target's answer to Transfer

	mu      sync.Mutex
	seal    *sealOrder // what to ship after the event it names
	ordered notifier

	cancel context.CancelCauseFunc
	done   chan struct{} // closed when run's goroutine has ended

	peer uint64 // the steward's: sum of what the target has counted
}

// sealOrder is a seal to be sent after the last event it covers.
type sealOrder struct {
	seal    proto0500.Seal
	shipped func()
}

const (
	// eventBatchBytes is about how much goes into one BufferedEvents.
	eventBatchBytes = 256 << 10
	// progressEvery is how often either side tells others how far it is.
	progressEvery = 100 * time.Millisecond
)

// run ships until the attempt ends; its error is why the attempt cannot go on.
func (o *outbound) run(ctx context.Context) error {
	closeSnap := sync.OnceValue(o.snap.Close)
	defer closeSnap()
	sess, err := o.h.ep.Session(ctx, identity.NodeID(o.target), identity.NodeID(o.orchestrator))
	if err != nil {
		return err
	}
	hello, ok := sess.Value().(proto0500.Hello)
	if !ok {
		return errors.New("the target offers no extension messages")
	}
	lim := o.h.agreed(hello)

	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		if err := o.shipSnapshot(ctx, sess, hello, lim); err != nil {
			return fmt.Errorf("snapshot: %w", err)
		}
		return closeSnap()
	})
	g.Go(func() error {
		if err := o.shipEvents(ctx, sess, lim); err != nil {
			return fmt.Errorf("events: %w", err)
		}
		return nil
	})
	g.Go(func() error { o.tellProgress(ctx); return nil })
	return g.Wait()
}

// shipSnapshot announces the snapshot, sends its chunks over the lanes, and
// ends with their digest.
func (o *outbound) shipSnapshot(ctx context.Context, sess *transport.Session, hello proto0500.Hello, lim frame.Limits) error {
	version, err := snapshot.VersionFor(o.header.StateLen, hello.Features&proto0500.FeatureCDS1v3 != 0)
	if err != nil {
		return err
	}
	o.header.Version = version
	src, err := snapshot.NewSource(o.header, o.snap, nil, o.identity)
	if err != nil {
		return err
	}
	chunkBytes := min(o.h.cfg.ChunkBytes, lim.ChunkBytesMax)
	chunker, err := snapshot.NewChunker(o.origin, o.base.Seq, src, src.Size(), chunkBytes, lim)
	if err != nil {
		return err
	}
	announce := proto0500.Transfer{
		DaemonOrigin: o.origin, SeqThrough: o.base.Seq, HeadHash: o.base.Hash,
		Size: uint64(src.Size()), StateSize: o.header.StateLen, ChunkSize: chunkBytes,
	}
	o.stats.set(proto0500.CounterStateBytes, o.header.StateLen)
	if err := send(sess, o.epoch, announce); err != nil {
		return err
	}
	var held proto0500.Ranges
	select {
	case s := <-o.status:
		held = s.Ranges
	case <-sess.Done():
		return sess.Err()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	digests := snapshot.NewDigests(chunker.Total())
	if err := o.shipChunks(ctx, sess, hello, chunker, digests, held); err != nil {
		return err
	}
	o.tell() // the transfer is over
	announce.Final, announce.Digest = true, digests.Sum()
	return send(sess, o.epoch, announce)
}

// shipChunks lets every lane take the next chunk that is not taken yet, so that
// a slow lane never holds the others up.
func (o *outbound) shipChunks(ctx context.Context, sess *transport.Session, hello proto0500.Hello, chunker *snapshot.Chunker, digests *snapshot.Digests, _ proto0500.Ranges) error {
	lanes := min(o.h.cfg.Lanes, int(hello.LanesMax), int(chunker.Total()), proto0500.LanesMax)
	var next atomic.Uint32
	g, ctx := errgroup.WithContext(ctx)
	for lane := range max(lanes, 1) {
		g.Go(func() (err error) {
			lane := uint8(lane)
			st, err := sess.OpenStream(ctx, transport.Lane, lane)
			if err != nil {
				return err
			}
			defer func() {
				if err != nil {
					st.Cancel(transport.CodeCanceled)
				}
			}()
			// A stream's Write does not know the context.
			stop := context.AfterFunc(ctx, func() { st.Cancel(transport.CodeCanceled) })
			defer stop()
			buf := make([]byte, 0, chunker.FrameBytesMax())
			for {
				i := next.Add(1) - 1
				if i >= chunker.Total() {
					return st.CloseWrite()
				}
				f, digest, err := chunker.AppendFrame(buf[:0], o.epoch, i)
				if err != nil {
					return err
				}
				if err := o.paced.wait(ctx, len(f)); err != nil {
					return err
				}
				if _, err := st.Write(f); err != nil {
					return err
				}
				digests.Set(i, digest)
				o.stats.lane(lane, uint64(chunker.ChunkBytes(i)))
				o.stats.add(proto0500.CounterBytesDone, uint64(chunker.ChunkBytes(i)))
				o.stats.add(proto0500.CounterBytesWire, uint64(len(f)))
				if i == 0 {
					o.tell() // the transfer has begun
				}
			}
		})
	}
	return g.Wait()
}

// shipEvents sends every event after the snapshot, and each seal after the
// last event that it covers.
func (o *outbound) shipEvents(ctx context.Context, sess *transport.Session, lim frame.Limits) (err error) {
	st, err := sess.OpenStream(ctx, transport.Events, 0)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { st.Cancel(transport.CodeCanceled) })
	defer stop()
	next := o.base.Seq + 1
	var sealed *sealOrder
	var buf []byte
	for {
		grown, ordered := o.grown.wait(), o.ordered.wait()
		var events []Event
		if o.head.Load().Seq >= next {
			if events, err = o.log.read(next, eventBatchBytes); err != nil {
				return err
			}
		}
		if len(events) > 0 {
			if buf, err = o.writeEvents(st, buf, events, lim); err != nil {
				return err
			}
			next = events[len(events)-1].Seq + 1
			o.stats.add(proto0500.CounterEventsSent, uint64(len(events)))
			// The log may be ahead of the head that is shown.
			o.stats.set(proto0500.CounterBacklog, uint64(max(o.head.Load().Seq+1, next)-next))
			continue
		}
		if order := o.order(); order != nil && order != sealed && next > order.seal.Seq {
			if buf, err = writeMessage(st, buf, o.epoch, order.seal, lim); err != nil {
				return err
			}
			sealed = order
			order.shipped()
			continue
		}
		select {
		case <-grown:
		case <-ordered:
		case <-sess.Done():
			return sess.Err()
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// writeEvents sends events in as many messages as the limits ask for.
func (o *outbound) writeEvents(st *transport.Stream, buf []byte, events []Event, lim frame.Limits) ([]byte, error) {
	for len(events) > 0 {
		buf = frame.Begin(buf[:0])
		var enc proto0500.EventsEncoder
		enc.Start(buf, o.origin)
		n := 0
		for ; n < len(events) && (n == 0 || enc.Bytes() < eventBatchBytes); n++ {
			e := events[n]
			err := enc.Add(proto0500.Event{Link: e.Link, Payload: e.Payload, ReceivedAt: e.ReceivedAt}, &lim)
			if errors.Is(err, proto0500.ErrBatchFull) && n > 0 {
				break
			}
			if err != nil {
				return enc.Finish(), fmt.Errorf("event %d of %d bytes: the target takes %d at most: %w",
					e.Seq, len(e.Payload), lim.EventPayloadBytesMax, err)
			}
		}
		buf = enc.Finish()
		if err := frame.Finish(buf, 0, o.epoch, &lim); err != nil {
			return buf, err
		}
		if _, err := st.Write(buf); err != nil {
			return buf, err
		}
		o.stats.add(proto0500.CounterBytesWire, uint64(len(buf)))
		events = events[n:]
	}
	return buf, nil
}

// shipSeal orders a seal; an earlier one that was not sent yet is forgotten.
func (o *outbound) shipSeal(seal proto0500.Seal, shipped func()) {
	o.mu.Lock()
	o.seal = &sealOrder{seal: seal, shipped: shipped}
	o.mu.Unlock()
	o.ordered.broadcast()
}

// unseal takes back a seal that was not sent yet: the source serves on.
func (o *outbound) unseal() {
	o.mu.Lock()
	o.seal = nil
	o.mu.Unlock()
}

func (o *outbound) order() *sealOrder {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.seal
}

func (o *outbound) tellProgress(ctx context.Context) {
	t := time.NewTicker(progressEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			o.tell()
		}
	}
}

func (o *outbound) tell() { o.h.sendProgress(o.orchestrator, o.origin, o.epoch, o.stats) }

// writeMessage frames a message in buf and writes it to a stream.
func writeMessage(st *transport.Stream, buf []byte, epoch frame.Epoch, m proto0500.Message, lim frame.Limits) ([]byte, error) {
	buf, err := m.Append(frame.Begin(buf[:0]), &lim)
	if err != nil {
		return buf, err
	}
	if err := frame.Finish(buf, 0, epoch, &lim); err != nil {
		return buf, err
	}
	_, err = st.Write(buf)
	return buf, err
}

// send queues a message on the session's control stream.
func send(sess *transport.Session, epoch frame.Epoch, m proto0500.Message) error {
	lim := frame.Default()
	b, err := m.Append(nil, &lim)
	if err != nil {
		return err
	}
	return sess.Send(epoch, b)
}
