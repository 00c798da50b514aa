package daemon

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// tally is a daemon that keeps payloads, and does what a test wants in Apply.
type tally struct {
	apply   func([]Event) error
	got     []string
	batches int
}

func (d *tally) Apply(events []Event) error {
	if d.apply != nil {
		if err := d.apply(events); err != nil {
			return err
		}
	}
	d.batches++
	for _, e := range events {
		d.got = append(d.got, string(e.Payload))
	}
	return nil
}
func (d *tally) Snapshot() (Snapshot, error) { return Bytes(make([]byte, len(d.got))), nil }
func (d *tally) Restore(s State) error       { d.got = make([]string, s.Size()); return nil }
func (d *tally) Close() error                { return nil }

// memReplica is a replica without a disk.
func memReplica(d Daemon) *replica {
	r := &replica{d: d, kind: Kind{InMemory: true}, author: discard, log: &memLog{bytesMax: 1 << 20}}
	genesis := Genesis(1)
	r.head.Store(&genesis)
	return r
}

func startWriter(t *testing.T, d Daemon) *writer {
	w := newWriter(memReplica(d), 100, time.Now)
	go w.run()
	t.Cleanup(func() {
		select {
		case <-w.done:
		default:
			w.stop()
		}
	})
	return w
}

// TestWriterBatches: what comes while a batch is written is one batch, answered
// in the order of the chain.
func TestWriterBatches(t *testing.T) {
	entered, free := make(chan struct{}), make(chan struct{})
	var once sync.Once
	d := &tally{apply: func([]Event) error {
		once.Do(func() { close(entered); <-free })
		return nil
	}}
	w := startWriter(t, d)
	ctx := context.Background()
	var work sync.WaitGroup
	write := func() {
		if _, err := w.write(ctx, []byte("x")); err != nil {
			t.Error(err)
		}
	}
	work.Go(write)
	<-entered
	for range 50 {
		work.Go(write)
	}
	for len(w.queue) < 50 {
		runtime.Gosched()
	}
	close(free)
	work.Wait()
	if d.batches != 2 || len(d.got) != 51 {
		t.Errorf("%d events in %d batches", len(d.got), d.batches)
	}
	if head := w.rep.head.Load(); head.Seq != 51 {
		t.Errorf("the head is %d", head.Seq)
	}
}

// TestWriterGivesUp: a write whose context ends while it waits is not accepted,
// and one that is in a batch is answered.
func TestWriterGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := new(tally)
		w := newWriter(memReplica(d), 100, time.Now)
		go w.run()
		w.do(func() { w.frozen = true })
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if _, err := w.write(ctx, []byte("parked")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("parked: %v", err)
		}
		w.thaw()
		if seq, err := w.write(t.Context(), []byte("later")); err != nil || seq != 1 {
			t.Errorf("later: %d, %v", seq, err)
		}
		// Frozen again, with a write that waits when the writer ends.
		w.do(func() { w.frozen = true })
		var waiting sync.WaitGroup
		waiting.Go(func() {
			if _, err := w.write(t.Context(), []byte("waits")); !errors.Is(err, errWriterGone) {
				t.Errorf("waits: %v", err)
			}
		})
		synctest.Wait()
		w.stop()
		waiting.Wait()
		if _, err := w.write(t.Context(), nil); !errors.Is(err, errWriterGone) {
			t.Errorf("after the end: %v", err)
		}
		if w.do(func() {}) {
			t.Error("something was done after the end")
		}
		if !slices.Equal(d.got, []string{"later"}) {
			t.Errorf("accepted %q", d.got)
		}
		// In a batch: the answer comes, whatever the context says.
		slow := &tally{apply: func([]Event) error { <-time.After(time.Minute); return nil }}
		w = newWriter(memReplica(slow), 100, time.Now)
		go w.run()
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if seq, err := w.write(ctx, []byte("in a batch")); err != nil || seq != 1 {
			t.Errorf("in a batch: %d, %v", seq, err)
		}
		w.stop()
	})
}

// TestWriterBreaks: an error of the daemon answers the batch and ends the writer.
func TestWriterBreaks(t *testing.T) {
	broken := errors.New("broken")
	w := startWriter(t, &tally{apply: func([]Event) error { return broken }})
	if _, err := w.write(context.Background(), nil); !errors.Is(err, broken) || !errors.Is(err, ErrStopped) {
		t.Errorf("got %v", err)
	}
	<-w.done
	if !errors.Is(w.broken, broken) {
		t.Errorf("broken by %v", w.broken)
	}
	if head := w.rep.head.Load(); head.Seq != 0 {
		t.Errorf("the head is %d", head.Seq)
	}
}

func TestWriterBoundsABatch(t *testing.T) {
	w := newWriter(memReplica(new(tally)), 1<<20, time.Now)
	for range writeQueueMax {
		w.queue <- &writeRequest{payload: make([]byte, 1)}
	}
	if n := len(w.gather([]*writeRequest{<-w.queue}, batchAt(0))); n != batchEventsMax {
		t.Errorf("a batch of %d events", n)
	}
	w.queue = make(chan *writeRequest, 8)
	for range 8 {
		w.queue <- &writeRequest{payload: make([]byte, batchBytesMax/2)}
	}
	if n := len(w.gather([]*writeRequest{<-w.queue}, batchAt(0))); n != 2 {
		t.Errorf("a batch of %d large events", n)
	}
}

func TestNotifier(t *testing.T) {
	var n notifier
	n.broadcast() // nobody waits
	one, two := n.wait(), n.wait()
	select {
	case <-one:
		t.Fatal("told without a change")
	default:
	}
	n.broadcast()
	<-one
	<-two
	select {
	case <-n.wait():
		t.Fatal("an old change is told")
	default:
	}
}

// chain makes n events after head.
func chain(t testing.TB, head Head, n, bytes int) (events []Event, end Head) {
	t.Helper()
	for i := range n {
		link, err := head.Link.Next(head.Hash, 0)
		if err != nil {
			t.Fatal(err)
		}
		payload := make([]byte, bytes)
		if bytes > 0 {
			payload[0] = byte(i)
		}
		e := Event{Seq: link.Sequence, Link: link, Hash: link.Hash(payload), Payload: payload, ReceivedAt: uint64(i)}
		events, head = append(events, e), Head{Seq: e.Seq, Link: e.Link, Hash: e.Hash}
	}
	return events, head
}

// BenchmarkWrite is what a write costs beside the daemon and the disk.
func BenchmarkWrite(b *testing.B) {
	w := newWriter(memReplica(silent{}), 100, time.Now)
	go w.run()
	defer w.stop()
	payload := make([]byte, 64)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := w.write(context.Background(), payload); err != nil {
				b.Error(err)
			}
		}
	})
}

type silent struct{}

func (silent) Apply([]Event) error         { return nil }
func (silent) Snapshot() (Snapshot, error) { return Bytes(nil), nil }
func (silent) Restore(State) error         { return nil }
func (silent) Close() error                { return nil }
