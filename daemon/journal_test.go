package daemon_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"ferry/daemon"
	"ferry/journal"
	"ferry/migration"
	"ferry/proto0500"
)

var errDisk = errors.New("the disk is on fire")

// fails makes the n-th write of a record fail, and those after it if forever.
// before it fails, hit is called.
func fails(n int, err error, forever bool, hit func()) func([]byte) error {
	seen := 0
	return func(key []byte) error {
		if key[0] != 'r' {
			return nil
		}
		if seen++; seen == n || forever && seen > n {
			if seen == n {
				hit()
			}
			return err
		}
		return nil
	}
}

// TestJournalFails at each durable write of both sides, before and after the
// record is on disk. Each side goes on from what its record says, and in the
// end one node has the daemon with every event.
func TestJournalFails(t *testing.T) {
	writes := []struct {
		node string
		n    int
		name string
	}{{"a", 1, "begin"}, {"a", 2, "retired"}, {"a", 3, "moved"}, {"b", 1, "prepare"}, {"b", 2, "live"}}
	for _, wr := range writes {
		for _, after := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, written %v", wr.name, after), func(t *testing.T) {
				failure := errDisk
				if after {
					failure = fmt.Errorf("%w: %w", errDisk, journal.ErrAfterWrite)
				}
				reached := make(chan struct{})
				none := point{hook: func(_ *world, _, _ *hooks, _, ja, jb *journal.Memory, s *stop) {
					j := map[string]*journal.Memory{"a": ja, "b": jb}[wr.node]
					j.FailPut(fails(wr.n, failure, false, func() { close(reached) }))
					close(s.reached)
				}}
				st := stageAt(t, none, nil)
				<-reached
				res := st.wait(st.h)
				at := st.settled(t)
				if committed := res.Outcome == migration.OutcomeCommitted; committed != (at == st.b) {
					t.Errorf("%v (%s), and %s has it", res.Outcome, res.Text, at.name)
				}
				if at == st.b && len(at.told()) == 0 {
					t.Error("the new authority was not told")
				}
				to := map[*node]string{st.a: "b", st.b: "a"}[at]
				st.want(st.o.move(at.status("d").Origin, at.name, to), migration.OutcomeCommitted)
			})
		}
	}
}

// TestJournalIsGone: from some write on nothing can be written any more. A
// source that has only begun serves on, and who has nothing of the daemon's
// authority goes on without; who may have retired or gone live stops, and the
// restart finds out which.
func TestJournalIsGone(t *testing.T) {
	writes := []struct {
		node  string
		n     int
		name  string
		halts bool
	}{
		{"a", 1, "begin", false}, {"a", 2, "retired", true}, {"a", 3, "moved", false},
		{"b", 1, "prepare", false}, {"b", 2, "live", true},
	}
	for _, wr := range writes {
		for _, after := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, written %v", wr.name, after), func(t *testing.T) {
				failure := errDisk
				if after {
					failure = fmt.Errorf("%w: %w", errDisk, journal.ErrAfterWrite)
				}
				reached := make(chan struct{})
				none := point{hook: func(_ *world, _, _ *hooks, _, ja, jb *journal.Memory, s *stop) {
					j := map[string]*journal.Memory{"a": ja, "b": jb}[wr.node]
					j.FailPut(fails(wr.n, failure, true, func() { close(reached) }))
					close(s.reached)
				}}
				st := stageAt(t, none, func(c *daemon.Config) { c.AttemptTimeout = 2 * time.Second })
				<-reached
				if !wr.halts {
					before := st.ws.acked()
					st.eventually("it serves on", func() bool { return st.ws.acked() > before })
				}
				st.ws.stop()
				st.ws.work.Wait()
				if wr.halts {
					st.ws.errs = nil // ErrStopped is what they had to be told
				}
				st.h.Cancel()
				// What was served is stopped for good: nothing may be said, nothing removed.
				n := map[string]*node{"a": st.a, "b": st.b}[wr.node]
				if wr.halts {
					st.eventually("it has stopped", func() bool {
						_, err := n.Write(canceled(), "d", nil)
						return errors.Is(err, daemon.ErrStopped)
					})
					if len(st.stays(wr.node)) == 0 {
						t.Fatal("its state was removed")
					}
				}
				j := map[string]*journal.Memory{"a": st.ja, "b": st.jb}[wr.node].CrashClone(0)
				n.end()
				again := st.run(wr.node, func(c *daemon.Config) { c.Journal, c.AskEvery = j, 50*time.Millisecond })
				if wr.node == "a" {
					st.a = again
				} else {
					st.b = again
				}
				st.wait(st.h)
				st.ws = resumed(st.ws, st.a, st.b)
				st.settled(t)
			})
		}
	}
}

// resumed starts writers that go on where others have stopped.
func resumed(old *writers, nodes ...*node) *writers {
	ws := newWriters()
	ws.acks, ws.errs = old.acks, old.errs
	ws.start("again", "d", nodes...)
	return ws
}

// canceled is a context that has ended: a write with it is refused or not accepted.
func canceled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// TestOrchestratorsJournalFails: a move whose intent cannot be written does not
// begin, and nothing is left of it; a lost outcome changes nothing.
func TestOrchestratorsJournalFails(t *testing.T) {
	w := newWorld(t, "a", "b", "o")
	a, b := w.run("a", nil), w.run("b", nil)
	jo := journal.NewMemory()
	o := w.orchestrator(jo, nil)
	origin := a.create("d", "diary")
	jo.FailPut(func([]byte) error { return errDisk })
	h := o.begin(origin, "a", "b")
	res, err := h.Wait(context.Background())
	if !errors.Is(err, errDisk) || res.Outcome != migration.OutcomeRefused {
		t.Fatalf("%v, %v", res.Outcome, err)
	}
	w.eventually("the source has given it up", func() bool { return a.status("d").State == proto0500.StateServing })
	// Another process: what the source still has to say to the first is not for it.
	o.end()
	o = w.orchestrator(jo, nil)
	n := 0
	jo.FailPut(func([]byte) error {
		if n++; n == 2 {
			return errDisk
		}
		return nil
	})
	w.want(o.move(origin, "a", "b"), migration.OutcomeCommitted)
	// What is open in the journal is found to be over.
	w.want(o.move(origin, "b", "a"), migration.OutcomeCommitted)
	if b.status("d").Authority || !a.status("d").Authority {
		t.Error("the authority is not at a alone")
	}
}
