package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"ferry/examples/kv"
)

// writesConfig is what writers offer.
type writesConfig struct {
	Rate    int `json:"rate"`    // per second, whatever the answers take
	Clients int `json:"clients"` // writes that may be under way at once
	Bytes   int `json:"bytes"`   // of a value
}

// writesSeen is what writers saw in a window: of the writes that were due in it, when they were done.
type writesSeen struct {
	PerSecond float64 // acknowledged in the window
	Latency   latency // from when they were due
}

// writers offer writes at a fixed rate to a daemon that moves. What a write felt is counted from when it was due: a
// write that had to wait for its client felt that too.
type writers struct {
	stop  context.CancelFunc
	ended chan error
	mu    sync.Mutex
	seen  []timing
}

type timing struct{ due, done int64 } // Unix nanoseconds

const (
	// writeDeadline is how long a client goes on with one write.
	writeDeadline = 60 * time.Second
	// dueMax bounds the writes that are due and not begun.
	dueMax = 1 << 20
)

// do carries out
//
//	start  writing to the nodes Peers, as Writes says
//	seen   tells of the window From to To, in Unix nanoseconds; writes that are not done yet are not in it
//	stop   ends the writing, and waits for the answers to what was begun
func (w *writers) do(ctx context.Context, o order) (r reply, err error) {
	switch o.Do {
	case "start":
		ctx, w.stop = context.WithCancel(ctx)
		w.ended = make(chan error, 1)
		var nodes []string
		for _, p := range o.Peers {
			nodes = append(nodes, p.HTTP)
		}
		client, err := kv.NewClient(nil, nodes...)
		if err != nil {
			return r, err
		}
		go func() { w.ended <- w.write(ctx, client, o.Writes); client.CloseIdle() }()
	case "seen":
		select {
		case err := <-w.ended:
			return r, fmt.Errorf("the writers have ended: %w", err)
		default:
		}
		r.Writes = w.window(o.From, o.To)
	case "stop":
		err = w.close()
	default:
		err = errNoOrder
	}
	return r, err
}

func (w *writers) close() error {
	if w.stop == nil {
		return nil
	}
	w.stop()
	w.stop = nil
	return <-w.ended
}

// write offers writes until ctx ends.
func (w *writers) write(ctx context.Context, client *kv.Client, cfg writesConfig) error {
	due := make(chan time.Time, dueMax)
	failed := make(chan error, cfg.Clients)
	var wg sync.WaitGroup
	for c := range cfg.Clients {
		wg.Go(func() {
			value := make([]byte, max(cfg.Bytes, 8))
			for n := 0; ; n++ {
				at, ok := <-due
				if !ok || ctx.Err() != nil { // what is due and not begun when the writing ends is not missed
					return
				}
				binary.LittleEndian.PutUint64(value, uint64(n))
				wctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeDeadline)
				_, err := client.Put(wctx, fmt.Appendf(nil, "w/%03d/%08d", c, n%10000), value)
				cancel()
				if err != nil {
					failed <- err
					return
				}
				w.add(timing{at.UnixNano(), time.Now().UnixNano()})
			}
		})
	}
	err := offer(ctx, cfg.Rate, due, failed)
	close(due)
	wg.Wait()
	return err
}

// offer puts writes into due when they are due.
func offer(ctx context.Context, rate int, due chan<- time.Time, failed <-chan error) error {
	begun := time.Now()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for n := 0; ; {
		select {
		case <-tick.C:
		case err := <-failed:
			return err
		case <-ctx.Done():
			return nil
		}
		for now := time.Now(); ; n++ {
			at := begun.Add(time.Duration(n) * time.Second / time.Duration(rate))
			if at.After(now) {
				break
			}
			select {
			case due <- at:
			default:
				return errors.New("too far behind the rate")
			}
		}
	}
}

// writing is the writers' process, as its parent sees it.
type writing struct{ *child }

// startWriters lets writers write to a daemon, wherever it is.
func (w *world) startWriters(ctx context.Context, name string, cfg writesConfig) (writing, error) {
	if err := w.serve(name); err != nil {
		return writing{}, err
	}
	c, err := startChild(ctx, "writers")
	if err != nil {
		return writing{}, err
	}
	_, err = c.ask(order{Do: "start", Peers: w.nodes[:], Writes: cfg})
	return writing{c}, err
}

// seen is what the writes that were due in a window felt, and how many were done in it.
func (w writing) seen(from, to time.Time) (writesSeen, error) {
	r, err := w.ask(order{Do: "seen", From: from.UnixNano(), To: to.UnixNano()})
	return r.Writes, err
}

// pause waits.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (w *writers) add(t timing) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen = append(w.seen, t)
}

func (w *writers) window(from, to int64) writesSeen {
	w.mu.Lock()
	defer w.mu.Unlock()
	return inWindow(w.seen, from, to)
}

func inWindow(list []timing, from, to int64) (s writesSeen) {
	felt, acked := newHistogram(), 0
	for _, t := range list {
		if t.done >= from && t.done < to {
			acked++
		}
		if t.due >= from && t.due < to {
			record(felt, time.Duration(t.done-t.due))
		}
	}
	if to > from {
		s.PerSecond = float64(acked) / time.Duration(to-from).Seconds()
	}
	s.Latency = summary(felt)
	return s
}
