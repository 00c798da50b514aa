package drive

import (
	"testing"
	"testing/synctest"
	"time"

	"ferry/migration"
)

// TestTimers: a timer that was armed anew, or disarmed, while it waited for its
// owner does not count.
func TestTimers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		due := make(chan Due, 10)
		ts := NewTimers(func(d Due) { due <- d })
		begun := time.Now()
		ts.Arm(migration.TimerAttempt, 3, time.Second)
		ts.Arm(migration.TimerAsk, 3, 2*time.Second)
		d := <-due
		if d.Timer != migration.TimerAttempt || d.Epoch != 3 || time.Since(begun) != time.Second {
			t.Errorf("%+v after %v", d, time.Since(begun))
		}
		ts.Arm(migration.TimerAttempt, 3, time.Minute)
		if ts.Take(d) {
			t.Error("armed anew, and the old one counts")
		}
		d = <-due
		if !ts.Take(d) || d.Timer != migration.TimerAsk {
			t.Errorf("%+v does not count", d)
		}
		if ts.Take(d) {
			t.Error("counts twice")
		}
		d = <-due // armed anew, a minute after the first second
		ts.Disarm(migration.TimerAttempt)
		if ts.Take(d) {
			t.Error("disarmed, and counts")
		}
		if took := time.Since(begun); took != 61*time.Second {
			t.Errorf("after %v", took)
		}
		ts.Arm(migration.TimerRetain, 4, time.Second)
		ts.Disarm(migration.TimerRetain)
		ts.Arm(migration.TimerBlackout, 4, time.Second)
		ts.Stop()
		ts.Arm(migration.TimerBlackout, 4, time.Second)
		<-time.After(time.Hour) // of the bubble
		if len(due) != 0 {
			t.Errorf("%+v after the stop", <-due)
		}
	})
}
