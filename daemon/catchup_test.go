package daemon_test

import (
	"strings"
	"testing"
	"time"

	"ferry/daemon"
	"ferry/journal"
	"ferry/migration"
	"ferry/proto0500"
)

// slowDiary is a diary on a device that takes a while for each event.
type slowDiary struct {
	*diary
	each time.Duration
}

func (d slowDiary) Apply(events []daemon.Event) error {
	<-time.After(time.Duration(len(events)) * d.each)
	return d.diary.Apply(events)
}

// slowKind is the diary, in memory; each: what the device takes for an event.
func slowKind(each time.Duration, h *hooks) func(*daemon.Config) {
	h.inMemory = true
	inner := diaryKind(h)
	kind := inner
	kind.Open = func(env daemon.Env) (daemon.Daemon, error) {
		d, err := inner.Open(env)
		if err != nil {
			return nil, err
		}
		return slowDiary{d.(*diary), each}, nil
	}
	return func(c *daemon.Config) {
		c.Kinds = []daemon.Kind{kind}
		c.BehindWindow = 100 * time.Millisecond
	}
}

// TestSlowTarget: writers are faster than the target. The source slows them down
// until the target has caught up, or gives the move up and serves on.
func TestSlowTarget(t *testing.T) {
	for _, tt := range []struct {
		behind daemon.Behind
		each   time.Duration // of the target; writers make 2000 a second, or as many as a busy machine lets them
		want   migration.Outcome
	}{
		{daemon.SlowWriters, 2 * time.Millisecond, migration.OutcomeCommitted},
		{daemon.GiveUp, 20 * time.Millisecond, migration.OutcomeRolledBack},
	} {
		t.Run(tt.behind.String(), func(t *testing.T) {
			w := newWorld(t, "a", "b", "o")
			a := w.run("a", func(c *daemon.Config) { slowKind(0, new(hooks))(c); c.Behind = tt.behind })
			restore := newStop()
			h := new(hooks)
			h.on("restore", restore.here)
			b := w.run("b", slowKind(tt.each, h))
			o := w.orchestrator(journal.NewMemory(), nil)
			origin := a.create("d", "diary")
			ws := newWriters()
			t.Cleanup(func() { ws.stop(); ws.work.Wait() })
			ws.pace = 2 * time.Millisecond
			for _, id := range []string{"0", "1", "2", "3"} {
				ws.start(id, "d", a, b)
			}
			move := o.begin(origin, "a", "b")
			restore.wait(t)
			behind := ws.acked() + 300 // more than what is cut over
			w.eventually("the target is behind", func() bool { return ws.acked() >= behind })
			restore.release()
			res := w.wait(move)
			w.want(res, tt.want)
			before := ws.acked()
			w.eventually("the writers go on", func() bool { return ws.acked() > before })
			ws.stop()
			ws.work.Wait()
			at := a
			switch tt.want {
			case migration.OutcomeCommitted:
				at = b
			default:
				if res.Reason.Code != proto0500.CodeStateFailed || !strings.Contains(res.Text, "does not converge: writers add") {
					t.Errorf("the reason is %v, %q", res.Reason, res.Text)
				}
			}
			st := at.status("d")
			ws.check(t, st.Daemon.(slowDiary).payloads(t, st.Origin))
		})
	}
}
