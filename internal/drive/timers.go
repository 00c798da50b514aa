package drive

import (
	"sync"
	"time"

	"ferry/frame"
	"ferry/migration"
)

// Timers are one machine's timers: one of each name, which carries the epoch it
// was armed for. Arm of an armed timer begins anew.
type Timers struct {
	fire func(Due)

	mu      sync.Mutex
	armed   map[migration.Timer]*armed
	stopped bool
}

type armed struct {
	timer *time.Timer
	epoch frame.Epoch
}

// Due is a timer that has run out. It counts only if Take says so.
type Due struct {
	Timer migration.Timer
	Epoch frame.Epoch
	of    *armed
}

// NewTimers calls fire, from a goroutine of its own, when a timer is due. fire
// must return soon: it brings the Due to the machine's owner, who calls Take.
func NewTimers(fire func(Due)) *Timers {
	return &Timers{fire: fire, armed: make(map[migration.Timer]*armed)}
}

// Arm starts the timer t.
func (ts *Timers) Arm(t migration.Timer, e frame.Epoch, d time.Duration) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if ts.stopped {
		return
	}
	if old := ts.armed[t]; old != nil {
		old.timer.Stop()
	}
	a := &armed{epoch: e}
	a.timer = time.AfterFunc(d, func() { ts.fire(Due{Timer: t, Epoch: e, of: a}) })
	ts.armed[t] = a
}

// Take says whether the timer is still the one that was armed last. A Due waits
// in its owner's inbox, and whatever the owner did meanwhile may have armed the
// timer anew, or disarmed it: then it must not end anything.
func (ts *Timers) Take(d Due) bool {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if ts.stopped || ts.armed[d.Timer] != d.of {
		return false
	}
	delete(ts.armed, d.Timer)
	return true
}

// Disarm stops the timer t.
func (ts *Timers) Disarm(t migration.Timer) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if old := ts.armed[t]; old != nil {
		old.timer.Stop()
		delete(ts.armed, t)
	}
}

// Stop stops all of them for good.
func (ts *Timers) Stop() {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.stopped = true
	for _, a := range ts.armed {
		a.timer.Stop()
	}
	clear(ts.armed)
}
