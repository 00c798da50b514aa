package transport

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Spread carries bulk over as many lanes as the path wants, at least 1 and at most max (LanesMax of the peer's hello, or
// how many pieces there are). It begins with Config.Lanes, each on a connection of its own, and doubles their number as
// long as that makes more bytes arrive, up to Config.ConnectionsMax connections and 32 lanes; from there on lanes share
// connections. Where the peer cannot be dialed, it stays at one lane on the control connection; on a caller's connection
// at as many as it began with.
//
// run is called on a goroutine of its own for each lane, which st.Lane() numbers from 0. It takes the next piece of work
// that no other has taken, writes it to st, and returns nil when none is left; so a slow lane holds no other up:
//
//	var next atomic.Uint32
//	err := sess.Spread(ctx, most, func(ctx context.Context, st *transport.Stream) error {
//		for i := next.Add(1) - 1; i < total; i = next.Add(1) - 1 {
//			if _, err := st.Write(piece(i)); err != nil {
//				return err
//			}
//		}
//		return nil
//	})
//
// After nil the lane is finished, as by CloseWrite; run does not read from it. After an error it is reset with
// CodeCanceled, and so is every other lane. The end of ctx resets them too: a Write does not know ctx, but ends by it.
//
// Spread returns when every run has returned, with the first error, or the cause of ctx. Then everything is written, and
// not yet taken by the peer. At the peer the handler must have read a lane to its end before it returns.
func (s *Session) Spread(ctx context.Context, max int, run func(ctx context.Context, st *Stream) error) error {
	if max = min(max, lanesMax); max < 1 {
		max = 1
	}
	g, inner := errgroup.WithContext(ctx)
	sp := &spread{s: s, ctx: inner, run: run, ended: make(chan struct{})}
	lanes := sp.begin(g, min(s.lanesAtFirst(), max))
	if lanes == 0 {
		return sp.firstErr
	}
	if s.carrier.traffic().connections > 0 {
		g.Go(func() error { sp.climb(g, lanes, max); return nil })
	}
	err := g.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// lanesAtFirst is how many lanes the path asks for before anything has been measured on it but the round trip.
func (s *Session) lanesAtFirst() int {
	if s.RTT() > farRTT {
		return s.e.cfg.lanesFar
	}
	return s.e.cfg.Lanes
}

// spread is one Spread under way.
type spread struct {
	s       *Session
	ctx     context.Context
	run     func(ctx context.Context, st *Stream) error
	endOnce sync.Once

	firstErr error          // why there is not even one lane
	open     [lanesMax]bool // lanes that run, or have run
	ended    chan struct{}  // closed when a lane has found no more work: there is none for further ones
}

// begin opens the lanes below n that are missing, as far as there is a connection for each, and says how many there are.
// The first one makes do with any; without it there are none. They start together, or the first to be open would have
// carried little work off alone.
func (sp *spread) begin(g *errgroup.Group, n int) (lanes int) {
	var streams [lanesMax]*Stream
	var opening sync.WaitGroup
	for lane := range n {
		if sp.open[lane] {
			continue
		}
		opening.Go(func() {
			pre := prefix{kind: Lane, lane: uint8(lane)}
			st, err := sp.s.open(sp.ctx, pre, place{bulk: true, slot: pre.lane, own: lane > 0})
			switch {
			case err == nil:
				streams[lane] = st
			case lane == 0:
				sp.firstErr = err
			default:
				// The others carry everything, or end for the same reason.
				sp.s.e.cfg.Log.Debug("a lane less", slog.Int("lane", lane), slog.Any("cause", err))
			}
		})
	}
	opening.Wait()
	for lane, st := range streams {
		switch {
		case st == nil:
		case sp.firstErr != nil:
			st.Cancel(CodeCanceled)
		default:
			sp.open[lane] = true
			g.Go(func() error { return sp.lane(st) })
		}
		if sp.open[lane] {
			lanes++
		}
	}
	return lanes
}

// lane runs one lane to its end.
func (sp *spread) lane(st *Stream) (err error) {
	stop := context.AfterFunc(sp.ctx, func() { st.Cancel(CodeCanceled) })
	err = sp.run(sp.ctx, st)
	sp.endOnce.Do(func() { close(sp.ended) })
	if !stop() && err == nil {
		err = context.Cause(sp.ctx)
	}
	if err == nil {
		err = st.CloseWrite()
	}
	if err != nil {
		st.Cancel(CodeCanceled)
		return err
	}
	// The peer finishes its side when it has read all of ours. Nobody waits for that here, but the connection does.
	sp.s.e.enter(st.awaitEnd)
	return nil
}

// awaitEnd reads to the end of a stream on which nothing is to come.
func (st *Stream) awaitEnd() {
	var b [1]byte
	if _, err := io.ReadFull(st, b[:]); err != io.EOF {
		st.Cancel(CodeCanceled)
	}
}

// climb adds lanes as long as they help.
func (sp *spread) climb(g *errgroup.Group, lanes, max int) {
	var c climb
	last := sp.s.carrier.traffic()
	began := time.Now()
	timer := time.NewTimer(climbPeriod(last.rtt))
	defer timer.Stop()
	fresh := true // the lanes have just begun: the first period is theirs to find their windows
	for lanes < max {
		select {
		case <-timer.C:
		case <-sp.ended:
			return
		case <-sp.ctx.Done():
			return
		}
		t := sp.s.carrier.traffic()
		timer.Reset(climbPeriod(t.rtt))
		next := lanes
		if !fresh && t.bytes > last.bytes {
			rate := float64(t.bytes-last.bytes) / time.Since(began).Seconds()
			next = c.decide(step{lanes: lanes, rate: rate, rtt: t.rtt, minRTT: t.minRTT}, max)
			sp.s.e.cfg.Log.Debug("lanes", slog.Int("lanes", lanes), slog.Int("next", next), slog.Int("connections", t.connections),
				slog.Float64("bytes_per_second", rate), slog.Duration("rtt", t.rtt), slog.Duration("rtt_min", t.minRTT))
			if c.settled {
				return
			}
		}
		if next > lanes {
			had := lanes
			if lanes = sp.begin(g, next); lanes == had {
				timer.Reset(climbPause)
			}
			fresh = true
		} else {
			fresh = false
		}
		last, began = sp.s.carrier.traffic(), time.Now()
	}
}
