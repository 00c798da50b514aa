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
	fire func(migration.Timer, frame.Epoch)

	mu      sync.Mutex
	timers  map[migration.Timer]*time.Timer
	stopped bool
}

// NewTimers calls fire, from a goroutine of its own, when a timer is due. fire
// must return soon: it posts to the machine's owner.
func NewTimers(fire func(migration.Timer, frame.Epoch)) *Timers {
	return &Timers{fire: fire, timers: make(map[migration.Timer]*time.Timer)}
}

// Arm starts the timer t.
func (ts *Timers) Arm(t migration.Timer, e frame.Epoch, d time.Duration) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if ts.stopped {
		return
	}
	if old := ts.timers[t]; old != nil {
		old.Stop()
	}
	ts.timers[t] = time.AfterFunc(d, func() { ts.fire(t, e) })
}

// Disarm stops the timer t. It may be firing already: the machine ignores a
// timer that it does not expect.
func (ts *Timers) Disarm(t migration.Timer) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if old := ts.timers[t]; old != nil {
		old.Stop()
		delete(ts.timers, t)
	}
}

// Stop stops all of them for good.
func (ts *Timers) Stop() {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.stopped = true
	for _, t := range ts.timers {
		t.Stop()
	}
	clear(ts.timers)
}
