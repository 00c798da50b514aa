//go:build unix

package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"ferry/examples/kv"
	"ferry/frame"
)

// owners asks both nodes over and over which of them is the authority, one
// after the other, so that the answers have an order.
type owners struct {
	work sync.WaitGroup
	end  context.CancelFunc

	mu      sync.Mutex
	now     string // the node that last said it is
	epoch   frame.Epoch
	before  string // who said so earlier in this epoch
	samples int
	changes int
	fault   error
}

// sampleEvery is from one question to the next.
const sampleEvery = 3 * time.Millisecond

func watchOwners(w *world) (*owners, error) {
	client, err := kv.NewClient(nil, w.url("a"))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	o := &owners{end: cancel}
	o.work.Go(func() {
		defer client.CloseIdle()
		tick := time.NewTicker(sampleEvery)
		defer tick.Stop()
		for {
			for _, name := range []string{"a", "b"} {
				select {
				case <-tick.C:
				case <-ctx.Done():
					return
				}
				ask, cancel := context.WithTimeout(ctx, time.Second)
				st, err := client.State(ask, w.url(name)+"/daemons/"+daemonName, false)
				cancel()
				if err == nil && st.Authority {
					o.saw(name, st.Epoch)
				} else if err == nil {
					o.saw("", 0)
				}
			}
		}
	})
	return o, nil
}

// saw takes an answer in. The epoch of an authority is the one it took part in
// last: in a move both sides have the same, first the source and then, once it
// is live, the target. The source again in that epoch, or any node in a lower
// one, means that two were the authority at once.
func (o *owners) saw(name string, e frame.Epoch) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.samples++
	switch {
	case name == "" || name == o.now && e == o.epoch:
	case e < o.epoch:
		o.blame(name, e)
	case e > o.epoch:
		if name != o.now {
			o.changes++
		}
		o.now, o.epoch, o.before = name, e, ""
	case name == o.before:
		o.blame(name, e)
	default:
		o.before, o.now = o.now, name
		o.changes++
	}
}

func (o *owners) blame(name string, e frame.Epoch) {
	if o.fault == nil {
		o.fault = fmt.Errorf("two authorities: %s says in epoch %d that it is, after %s has said so in epoch %d", name, e, o.now, o.epoch)
	}
}

func (o *owners) blamed() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.fault
}

// stop ends the asking.
func (o *owners) stop() {
	o.end()
	o.work.Wait()
}
