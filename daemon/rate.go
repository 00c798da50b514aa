package daemon

import (
	"context"
	"slices"
	"sync"
	"time"
)

// pacer holds what this node sends of snapshots to a rate, all moves together,
// and each move to one of its own. Both may be changed at any time. Control
// messages and events do not pass here.
//
// A lane asks before each frame. Frames are let through as soon as the rate has
// paid for those before them, so that a frame of any size passes and nothing is
// saved up for it: a rate needs no burst. Of the moves that wait, the one that
// had the fewest bytes is next, whatever the number of its lanes.
type pacer struct {
	mu    sync.Mutex
	all   budget
	moves []*pacedMove // those that wait, in the order they came
	had   float64      // share of the move that was served last
	timer *time.Timer  // when the next frame may pass; nil before the first wait
}

// pacedMove is one move's part of a pacer.
type pacedMove struct {
	p       *pacer
	own     budget
	waiting []*pacedFrame
	had     float64 // bytes that the move was let send, as it counts beside others
}

// pacedFrame is a frame that waits.
type pacedFrame struct {
	bytes int
	pass  chan struct{} // closed when it may
}

func newPacer(bytesPerSecond uint64) *pacer {
	p := new(pacer)
	p.all.set(time.Now(), bytesPerSecond)
	return p
}

// move is a further move under the pacer; 0: with no rate of its own.
func (p *pacer) move(bytesPerSecond uint64) *pacedMove {
	m := &pacedMove{p: p}
	m.own.set(time.Now(), bytesPerSecond)
	return m
}

// set changes the rate of all moves together, 0: no limit. Who waits is let
// through by the new rate at once.
func (p *pacer) set(bytesPerSecond uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all.set(time.Now(), bytesPerSecond)
	p.serve()
}

// set changes the rate of this move.
func (m *pacedMove) set(bytesPerSecond uint64) {
	m.p.mu.Lock()
	defer m.p.mu.Unlock()
	m.own.set(time.Now(), bytesPerSecond)
	m.p.serve()
}

// wait waits until a frame of so many bytes may be sent.
func (m *pacedMove) wait(ctx context.Context, bytes int) error {
	m.p.mu.Lock()
	if m.own.rate == 0 && m.p.all.rate == 0 { // then nobody waits either
		m.p.mu.Unlock()
		return nil
	}
	f := &pacedFrame{bytes: bytes, pass: make(chan struct{})}
	if len(m.waiting) == 0 {
		m.p.moves = append(m.p.moves, m)
	}
	m.waiting = append(m.waiting, f)
	m.p.serve()
	m.p.mu.Unlock()
	select {
	case <-f.pass:
		return nil
	case <-ctx.Done():
	}
	m.p.mu.Lock()
	defer m.p.mu.Unlock()
	if i := slices.Index(m.waiting, f); i >= 0 {
		m.waiting = slices.Delete(m.waiting, i, i+1)
		m.p.parted(m)
	}
	return context.Cause(ctx)
}

// serve lets through what may pass now, and sees to it that the rest is looked
// at when its time has come. The caller holds mu.
func (p *pacer) serve() {
	now := time.Now()
	for {
		next, due := p.next(now)
		if next == nil {
			return
		}
		if due > 0 {
			if p.timer == nil {
				p.timer = time.AfterFunc(due, p.wake)
			} else {
				p.timer.Reset(due)
			}
			return
		}
		f := next.waiting[0]
		next.waiting = slices.Delete(next.waiting, 0, 1)
		// A move that did not wait, or not for us, has no claim to what it left.
		p.had = max(p.had, next.had)
		next.had = p.had + float64(f.bytes)
		p.all.spend(now, f.bytes)
		next.own.spend(now, f.bytes)
		p.parted(next)
		close(f.pass)
	}
}

func (p *pacer) wake() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.serve()
}

// next is the move whose frame is the next to pass, and how long that takes.
func (p *pacer) next(now time.Time) (next *pacedMove, due time.Duration) {
	for _, m := range p.moves {
		left := max(m.own.due(now), p.all.due(now))
		if next == nil || left < due || left == due && m.had < next.had {
			next, due = m, left
		}
	}
	return next, due
}

// parted takes a move out that waits no more.
func (p *pacer) parted(m *pacedMove) {
	if len(m.waiting) == 0 {
		p.moves = slices.DeleteFunc(p.moves, func(o *pacedMove) bool { return o == m })
	}
	if len(p.moves) == 0 && p.timer != nil {
		p.timer.Stop()
	}
}

// budget is one rate. It knows when what was sent so far is paid for.
type budget struct {
	rate uint64 // bytes a second; 0: no limit
	paid time.Time
}

// lateMax is how much of the past a rate makes up for: a timer's lateness, not
// the time in which nobody sent.
const lateMax = 50 * time.Millisecond

// set changes the rate. What is owed is owed at the new one.
func (b *budget) set(now time.Time, rate uint64) {
	owed := float64(b.rate) * max(b.paid.Sub(now), 0).Seconds()
	if b.rate == 0 {
		owed = 0
	}
	b.rate, b.paid = rate, now
	if rate > 0 {
		b.paid = now.Add(payTime(owed, rate))
	}
}

// due is how long it takes until the next frame may pass; 0 or less: now.
func (b *budget) due(now time.Time) time.Duration {
	if b.rate == 0 {
		return 0
	}
	return max(b.paid.Sub(now), 0)
}

func (b *budget) spend(now time.Time, bytes int) {
	if b.rate == 0 {
		return
	}
	if late := now.Add(-lateMax); b.paid.Before(late) {
		b.paid = late
	}
	b.paid = b.paid.Add(payTime(float64(bytes), b.rate))
}

// payTimeMax keeps a rate of a few bytes a second from an overflow.
const payTimeMax = 365 * 24 * time.Hour

func payTime(bytes float64, rate uint64) time.Duration {
	return time.Duration(min(bytes/float64(rate)*float64(time.Second), float64(payTimeMax)))
}
