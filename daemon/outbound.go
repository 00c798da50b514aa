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
	"ferry/internal/drive"
	"ferry/proto0500"
	"ferry/snapshot"
	"ferry/transport"
)

// outbound is the source's data plane of one attempt: the snapshot's chunks
// over the lanes, and beside them every event after it, in order, on the event
// stream. It reads events from the log, so that it holds none of its own: a
// slow target slows it down, and nobody else. It outlives its session: see
// resume.go.
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

	status chan targetStatus // the target's answers to Transfer

	// Owned by run. What a session has brought about stays for the next one.
	boot      uint64 // the target's process
	met       bool   // boot is known
	announce  proto0500.Transfer
	chunker   *snapshot.Chunker
	tuner     *snapshot.Tuner
	digests   *snapshot.Digests // of the chunks that were read
	written   []bool            // by chunk: it went out whole
	closeSnap func() error
	confirmed bool              // the target has every chunk
	have      *snapshot.HaveSet // chunks that it has from before
	arrived   uint64            // chunks and events that it had when it was last asked

	sent eventsSent // owned by shipEvents

	mu      sync.Mutex
	seal    *sealOrder // what to ship after the event it names
	ordered notifier

	cancel context.CancelCauseFunc
	done   chan struct{} // closed when run's goroutine has ended

	haves []proto0500.Have // the steward's: what the target has from before, until its status comes

	peer    atomic.Uint64 // sum of what the target has counted
	catchUp catchUp       // the steward's
}

// eventsSent keeps the counters right where events are sent again.
type eventsSent struct{ through proto0500.Seq }

// count splits n events from first on into new ones and those sent before.
func (s *eventsSent) count(first proto0500.Seq, n int) (fresh, again uint64) {
	end := first + proto0500.Seq(n) - 1
	if end <= s.through {
		return 0, uint64(n)
	}
	fresh = min(uint64(end-s.through), uint64(n))
	s.through = end
	return fresh, uint64(n) - fresh
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
	o.closeSnap = sync.OnceValue(o.snap.Close)
	defer func() { _ = o.closeSnap() }()
	o.h.shipping.Add(1)
	defer o.h.shipping.Add(-1)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return o.overSessions(ctx) })
	g.Go(func() error { o.tellProgress(ctx); return nil })
	return g.Wait()
}

// overSession ships over one session what the target does not have yet. It ends
// with a *lostError when the session, or a stream of it, has broken.
func (o *outbound) overSession(ctx context.Context, sess *transport.Session, hello proto0500.Hello) error {
	lim := o.h.agreed(hello)
	if err := o.cut(hello, lim); err != nil {
		return fmt.Errorf("snapshot: %w", err)
	}
	status, err := o.ask(ctx, sess)
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		if err := o.shipSnapshot(ctx, sess, hello, status); err != nil {
			return fmt.Errorf("snapshot: %w", err)
		}
		return nil
	})
	g.Go(func() error {
		if err := o.shipEvents(ctx, sess, lim, status.EventsThrough); err != nil {
			return fmt.Errorf("events: %w", err)
		}
		return nil
	})
	return g.Wait()
}

// shipEvents sends every event after the snapshot, and each seal after the
// last event that it covers.
// The target has replayed those through the given one.
func (o *outbound) shipEvents(ctx context.Context, sess *transport.Session, lim frame.Limits, through proto0500.Seq) (err error) {
	st, err := sess.OpenStream(ctx, transport.Events, 0)
	if err != nil {
		return lostBy(err)
	}
	defer func() {
		if err != nil {
			st.Cancel(transport.CodeCanceled)
		}
	}()
	stop := context.AfterFunc(ctx, func() { st.Cancel(transport.CodeCanceled) })
	defer stop()
	next := max(o.base.Seq, through) + 1
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
			fresh, again := o.sent.count(next, len(events))
			next = events[len(events)-1].Seq + 1
			o.stats.add(proto0500.CounterEventsSent, fresh)
			o.stats.add(proto0500.CounterEventsResent, again)
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
			return lostBy(sess.Err())
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
			return buf, lostBy(err)
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
	if _, err = st.Write(buf); err != nil {
		return buf, lostBy(err)
	}
	return buf, nil
}

// send queues a message on the session's control stream. One of ours, or
// of an epoch, goes only to a peer that has offered extensions.
func send(sess *transport.Session, epoch frame.Epoch, m proto0500.Message) error {
	if !drive.Takes(sess, epoch, m.Kind()) {
		return drive.ErrPlainPeer
	}
	lim := frame.Default()
	b, err := m.Append(nil, &lim)
	if err != nil {
		return err
	}
	return sess.Send(epoch, b)
}
