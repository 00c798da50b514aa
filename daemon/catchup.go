package daemon

import (
	"fmt"
	"time"

	"ferry/migration"
	"ferry/proto0500"
)

// Behind says what becomes of a move away from a node whose target, once it has
// the snapshot, replays events no faster than writers add them: without either
// it would follow for ever, and never be near enough for the cutover.
type Behind uint8

const (
	// SlowWriters lets in fewer and fewer writes, until the target is near. It
	// lasts until the attempt ends. Where even that does not help, as GiveUp.
	SlowWriters Behind = 0
	// GiveUp ends the move with a *ConvergeError; the source serves on.
	GiveUp Behind = 1
)

func (b Behind) String() string {
	switch b {
	case SlowWriters:
		return "slow"
	case GiveUp:
		return "give-up"
	}
	return fmt.Sprintf("behind(%d)", uint8(b))
}

// ConvergeError is why a move ended whose target did not come nearer. It travels
// as a StateFailed with this text.
type ConvergeError struct {
	Lag      uint64  // events that the target is behind
	Written  float64 // events a second that writers added of late
	Replayed float64 // events a second that the target replayed of late
	Slowed   bool    // writers were held back already
}

func (e *ConvergeError) Error() string {
	how := ""
	if e.Slowed {
		how = ", though they were slowed down"
	}
	return fmt.Sprintf("does not converge: writers add %.0f events a second%s, the target replays %.0f and is %d behind",
		e.Written, how, e.Replayed, e.Lag)
}

// catchUp judges whether a restored target comes nearer to the source's head,
// and how much the source should let its writers add. It is told with each
// report of the target, judges once a window, and knows no clock.
type catchUp struct {
	behind Behind
	window time.Duration

	begun    bool
	at       time.Time // when the window began, and how far either was then
	accepted proto0500.Seq
	replayed proto0500.Seq

	stuck  int     // windows in which the lag did not shrink, less those in which it did
	step   int     // of shares
	replay float64 // events a second, a mean of the windows in which the target had work
}

const (
	// lagNear is a lag at which nothing need be done: half of what orchestrators
	// cut over at by default, for they see it two trips later.
	lagNear = 32
	// A target comes nearer when at this rate it would be there in so many windows.
	nearWindows = 32
	// stuckMax is at how many stuck windows a move is given up.
	stuckMax = 5
	// writeRateMin is how many events a second are let in at the least.
	writeRateMin = 20
)

// shares are the steps in which writers are held back: parts of the rate at
// which the target replays. 0: they are not.
var shares = [...]float64{0, 3. / 4, 1. / 2, 1. / 4, 1. / 8}

// observe takes how far writers and target are. An error: they do not meet.
func (c *catchUp) observe(now time.Time, accepted, replayed proto0500.Seq) error {
	if !c.begun {
		c.begun, c.at, c.accepted, c.replayed = true, now, accepted, replayed
		return nil
	}
	took := now.Sub(c.at)
	if took < c.window {
		return nil
	}
	lag := uint64(max(accepted, replayed) - replayed)
	was := uint64(max(c.accepted, c.replayed) - c.replayed)
	in := float64(accepted-c.accepted) / took.Seconds()
	out := float64(replayed-c.replayed) / took.Seconds()
	c.at, c.accepted, c.replayed = now, accepted, replayed

	if lag <= lagNear {
		// Whoever is to cut over asks more often than once a window. It does not,
		// so writers get back what was taken from them.
		if was <= lagNear {
			c.step = max(c.step-1, 0)
		}
		c.stuck = 0
		return nil
	}
	if was > lagNear { // what a target replays that waits for events says nothing
		if c.replay == 0 {
			c.replay = out
		}
		c.replay = (c.replay + out) / 2
	}
	switch last := c.step == len(shares)-1; {
	case c.behind == SlowWriters && !last:
		if lag+was/nearWindows >= was {
			c.step++
		}
	case lag < was: // a burst of writes that is being worked off is no reason to give up
		c.stuck = max(c.stuck-1, 0)
	default:
		if c.stuck++; c.stuck >= stuckMax {
			return &ConvergeError{Lag: lag, Written: in, Replayed: out, Slowed: c.step > 0}
		}
	}
	return nil
}

// limit is how many events a second the writer may let in; 0: as they come.
func (c *catchUp) limit() float64 {
	if c.step == 0 {
		return 0
	}
	return max(shares[c.step]*c.replay, writeRateMin)
}

// ParseBehind reads what String gives.
func ParseBehind(text string) (Behind, error) {
	for _, b := range []Behind{SlowWriters, GiveUp} {
		if text == b.String() {
			return b, nil
		}
	}
	return 0, fmt.Errorf("daemon: %q is neither %v nor %v", text, SlowWriters, GiveUp)
}

// follow takes how many events the target has replayed in this attempt. It says
// nothing of a target that has not begun to.
func (s *steward) follow(out *outbound, events uint64) {
	if events == 0 || s.w == nil || s.p.State() != proto0500.StateCopying {
		return
	}
	step := out.catchUp.step
	head, replayed := s.rep.head.Load().Seq, out.base.Seq+proto0500.Seq(events)
	if err := out.catchUp.observe(time.Now(), head, replayed); err != nil {
		s.log.Warn("the move is given up", "epoch", out.epoch, "err", err)
		_ = s.step(migration.Failed{Epoch: out.epoch, Reason: stateFailed(err)})
		return
	}
	s.w.slow(out.catchUp.limit())
	if out.catchUp.step != step {
		s.log.Info("writers are held back, for the target to catch up", "epoch", out.epoch,
			"events_per_second", out.catchUp.limit(), "behind", uint64(max(head, replayed)-replayed))
	}
}
