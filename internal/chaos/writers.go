//go:build unix

package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"ferry/examples/kv"
	"ferry/proto0500"
)

// writers are clients that write one after the other, each its own keys, and
// keep their own record: of each write that was acknowledged, and of each whose
// answer was never seen. Neither is ever written again.
type writers struct {
	client *kv.Client
	work   sync.WaitGroup
	stop   chan struct{}

	mu       sync.Mutex
	acked    []kv.Record
	unknown  [][]byte // payloads
	stuck    error    // a write that no node took or refused for a minute
	disorder error    // an acknowledgement that contradicts an earlier one
}

const (
	writersCount  = 6
	keysPerWriter = 100
	valueBytes    = 64
	// writeDeadline is how long a client goes on with one write: beyond it the
	// daemon is lost, and not merely on its way.
	writeDeadline = 90 * time.Second
)

// newWriters begins to write, rate times a second all together.
func newWriters(rate int, nodes ...string) (*writers, error) {
	client, err := kv.NewClient(nil, nodes...)
	if err != nil {
		return nil, err
	}
	w := &writers{client: client, stop: make(chan struct{})}
	for c := range writersCount {
		w.work.Go(func() { w.run(c, time.Second*writersCount/time.Duration(rate)) })
	}
	return w, nil
}

// run is one client: it writes, and waits for each answer.
func (w *writers) run(c int, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	var last proto0500.Seq
	for n := 1; ; n++ {
		select {
		case <-tick.C:
		case <-w.stop:
			return
		}
		seq, err := w.write(fmt.Appendf(nil, "w%d/%d", c, n%keysPerWriter), uint64(c)<<32|uint64(n))
		if err != nil {
			continue
		}
		if seq <= last {
			w.mu.Lock()
			w.disorder = fmt.Errorf("client %d was told %d for a write, and before it %d for an earlier one", c, seq, last)
			w.mu.Unlock()
		}
		last = seq
	}
}

// write writes once, and records what became of it. No two id may be equal.
func (w *writers) write(key []byte, id uint64) (proto0500.Seq, error) {
	value := make([]byte, valueBytes)
	binary.LittleEndian.PutUint64(value, id)
	payload, err := kv.EncodePut(key, value)
	if err != nil {
		panic("chaos: " + err.Error()) // our own key and value
	}
	ctx, cancel := context.WithTimeout(context.Background(), writeDeadline)
	defer cancel()
	seq, err := w.client.Put(ctx, key, value)
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case err == nil:
		w.acked = append(w.acked, kv.Record{Seq: seq, Payload: payload})
	case errors.Is(err, kv.ErrUnknownOutcome):
		w.unknown = append(w.unknown, payload)
	default: // it never got an answer, or one that no correct node gives
		w.unknown = append(w.unknown, payload)
		w.stuck = err
	}
	return seq, err
}

// probe writes until one write is acknowledged.
func (w *writers) probe(ctx context.Context, n int) error {
	for try := uint64(0); ; try++ {
		_, err := w.write([]byte("probe"), 1<<62|uint64(n)<<16|try)
		if err == nil {
			return nil
		}
		if !errors.Is(err, kv.ErrUnknownOutcome) || try == 1<<16-1 {
			return err
		}
		if err := pause(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
}

// count is how many writes were acknowledged, and how many are unknown.
func (w *writers) count() (acked, unknown int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.acked), len(w.unknown)
}

// end stops them, and waits for their last answers.
func (w *writers) end() {
	close(w.stop)
	w.work.Wait()
	w.client.CloseIdle()
}
