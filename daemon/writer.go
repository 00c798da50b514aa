package daemon

import (
	"context"
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"ferry/proto0500"
)

// writer is the one goroutine that serves a daemon's writes at its authority.
// It takes what has queued up, gives each event its place in the chain, makes
// the whole batch durable at once, and only then answers. Everything that must
// see a settled chain (freeze, thaw, snapshot, close) runs between two batches,
// through do.
type writer struct {
	rep   *replica
	now   func() time.Time
	limit int // bytes of an event

	queue  chan *writeRequest
	ctl    chan func()
	quit   chan struct{} // closed by stop
	done   chan struct{} // closed when run has returned
	broken error         // why the daemon cannot go on; nil: it was stopped. Read it after done

	checkpointer *checkpointer // nil: the log is not ours to cut

	grown  notifier // an event was added
	frozen bool     // owned by run

	rate atomic.Uint64 // events a second, as math.Float64bits; 0: as they come
}

type writeRequest struct {
	payload []byte // the caller's, until it is answered
	reply   chan writeReply
	// taken is set by whoever is first: the writer that puts it into a batch,
	// or the caller that gives it up.
	taken atomic.Bool
}

type writeReply struct {
	seq proto0500.Seq
	err error
}

const (
	// writeQueueMax bounds the writes that wait; further callers wait outside.
	writeQueueMax = 1024
	// A batch is one durable write: large enough that the disk's latency is
	// shared, small enough that nobody waits long behind it.
	batchEventsMax = 512
	batchBytesMax  = 1 << 20
	// restMax is how long the writer rests between two batches to keep to a
	// rate; batches are smaller then.
	restMax = 50 * time.Millisecond
)

// errWriterGone: the writer ended before it took the write. Nothing was
// accepted; the caller looks up what the daemon is now.
var errWriterGone = errors.New("daemon: writer gone")

func newWriter(rep *replica, limit int, now func() time.Time) *writer {
	return &writer{
		rep: rep, now: now, limit: limit,
		queue: make(chan *writeRequest, writeQueueMax),
		ctl:   make(chan func()),
		quit:  make(chan struct{}),
		done:  make(chan struct{}),
	}
}

// stop ends run and waits for it, and for a checkpoint under way. What was in a
// batch is answered; what waits is not accepted. Its caller is the only one.
func (w *writer) stop() {
	close(w.quit)
	<-w.done
	w.checkpointer.wait()
}

// write returns the event's sequence number once it is durable. When ctx ends
// while the event still waits, it is not accepted.
func (w *writer) write(ctx context.Context, payload []byte) (proto0500.Seq, error) {
	if len(payload) > w.limit {
		return 0, &TooLargeError{Bytes: len(payload), BytesMax: w.limit}
	}
	req := &writeRequest{payload: payload, reply: make(chan writeReply, 1)}
	select {
	case w.queue <- req:
	case <-w.done:
		return 0, errWriterGone
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
	select {
	case r := <-req.reply:
		return r.seq, r.err
	case <-ctx.Done():
		if req.taken.CompareAndSwap(false, true) {
			return 0, context.Cause(ctx)
		}
	case <-w.done:
		if req.taken.CompareAndSwap(false, true) {
			return 0, errWriterGone
		}
	}
	// It is in a batch: the answer is on its way.
	r := <-req.reply
	return r.seq, r.err
}

// do runs f between two batches and returns when it has. It reports false when
// the writer is gone.
func (w *writer) do(f func()) bool {
	ran := make(chan struct{})
	select {
	case w.ctl <- func() { f(); close(ran) }:
		<-ran
		return true
	case <-w.done:
		return false
	}
}

// hold keeps the log from being cut while a move reads it.
func (w *writer) hold(on bool) {
	w.do(func() { w.checkpointer.keep(on) })
}

// thaw accepts writes again. The freeze is the steward's, who also reads the
// head in the same step between two batches.
func (w *writer) thaw() bool { return w.do(func() { w.frozen = false }) }

// slow lets in so many events a second, 0: as they come. It holds from the next
// batch on.
func (w *writer) slow(eventsPerSecond float64) { w.rate.Store(math.Float64bits(eventsPerSecond)) }

// run serves until stop or until the daemon fails.
func (w *writer) run() {
	defer close(w.done)
	var batch []*writeRequest
	var rested <-chan time.Time // not nil: the next batch waits for it
	for {
		queue := w.queue
		if w.frozen || rested != nil {
			queue = nil
		}
		select {
		case <-w.quit:
			return
		case f := <-w.ctl: // a freeze does not wait for a rest
			f()
			continue
		case <-rested:
			rested = nil
			continue
		case req := <-queue:
			batch = append(batch[:0], req)
		}
		rate := math.Float64frombits(w.rate.Load())
		begun := time.Now()
		batch = w.gather(batch, batchAt(rate))
		if err := w.commit(batch); err != nil {
			w.broken = err
			return
		}
		if rest := restAfter(len(batch), rate, time.Since(begun)); rest > 0 {
			rested = time.After(rest)
		}
		clear(batch)
	}
}

// batchAt is how many events go into one batch at a rate, 0: no limit.
func batchAt(rate float64) int {
	if rate == 0 {
		return batchEventsMax
	}
	return int(min(max(rate*restMax.Seconds(), 1), batchEventsMax))
}

// restAfter is how long to wait after a batch of n events that took so long.
func restAfter(n int, rate float64, took time.Duration) time.Duration {
	if rate == 0 {
		return 0
	}
	due := time.Duration(min(float64(n)/rate, restMax.Seconds()) * float64(time.Second))
	return max(due-took, 0)
}

// gather takes what else has queued up, n events at most.
func (w *writer) gather(batch []*writeRequest, n int) []*writeRequest {
	bytes := len(batch[0].payload)
	for len(batch) < n && bytes < batchBytesMax {
		select {
		case req := <-w.queue:
			batch = append(batch, req)
			bytes += len(req.payload)
		default:
			return batch
		}
	}
	return batch
}

// commit makes one batch durable and answers it. An error means that the
// daemon cannot go on: the batch's fate is known only after a restart.
func (w *writer) commit(batch []*writeRequest) error {
	events := make([]Event, 0, len(batch))
	taken := batch[:0]
	head := *w.rep.head.Load()
	at := uint64(w.now().UnixNano())
	for _, req := range batch {
		if !req.taken.CompareAndSwap(false, true) {
			continue
		}
		link, err := head.Link.Next(head.Hash, 0)
		if err != nil {
			req.reply <- writeReply{err: err}
			continue
		}
		e := Event{Seq: link.Sequence, Link: link, Hash: link.Hash(req.payload), Payload: req.payload, ReceivedAt: at}
		head = Head{Seq: e.Seq, Link: e.Link, Hash: e.Hash}
		events, taken = append(events, e), append(taken, req)
	}
	if err := w.rep.extend(events); err != nil {
		for _, req := range taken {
			req.reply <- writeReply{err: errors.Join(ErrStopped, err)}
		}
		return err
	}
	w.grown.broadcast()
	w.checkpointer.appended(w, events)
	for i, req := range taken {
		req.reply <- writeReply{seq: events[i].Seq}
	}
	return nil
}

// notifier wakes everybody who waits for a change: take the channel, look at
// the state, then wait.
type notifier struct {
	mu sync.Mutex
	ch chan struct{}
}

func (n *notifier) wait() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ch == nil {
		n.ch = make(chan struct{})
	}
	return n.ch
}

func (n *notifier) broadcast() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ch != nil {
		close(n.ch)
		n.ch = nil
	}
}
