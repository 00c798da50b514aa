package main

import (
	"context"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"ferry/identity"
)

// pingEvery is how often a control message is sent, whatever became of those before it.
const pingEvery = 5 * time.Millisecond

// pings are control messages to a node, on the session that bulk goes to it on: questions that are answered where control
// messages are read.
type pings struct {
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu   sync.Mutex
	seen *hdrhistogram.Histogram
	err  error
}

func (p *host) ping(ctx context.Context, to identity.NodeID) *pings {
	ctx, stop := context.WithCancel(ctx)
	g := &pings{stop: stop, seen: newHistogram()}
	g.wg.Go(func() {
		tick := time.NewTicker(pingEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
			g.wg.Go(func() {
				asked := time.Now()
				_, err := p.h.Query(ctx, to)
				g.took(time.Since(asked), err, ctx.Err() != nil)
			})
		}
	})
	return g
}

func (g *pings) took(d time.Duration, err error, over bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case err == nil:
		record(g.seen, d)
	case !over && g.err == nil:
		g.err = err
	}
}

// end stops sending and tells of what was answered.
func (g *pings) end() (latency, error) {
	g.stop()
	g.wg.Wait()
	return summary(g.seen), g.err
}
