package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// chaosWorld is one whose processes can be held at a step; see crashpoint.go.
type chaosWorld struct {
	*world
	chaos string
}

func newChaosWorld(t *testing.T, nodes ...string) *chaosWorld {
	return &chaosWorld{newWorld(t, nodes...), t.TempDir()}
}

func (w *chaosWorld) spawn(args ...string) *proc {
	return spawnEnv(w.t, []string{chaosEnv + "=" + w.chaos}, args...)
}

func (w *chaosWorld) node(name string, args ...string) *proc {
	w.t.Helper()
	p := w.spawn(append([]string{"node", "--until-stdin-ends", "--cluster", w.path(name), "--name", name}, args...)...)
	p.await("node is up")
	return p
}

// hold makes the next process that comes to a point wait there.
func (w *chaosWorld) hold(point string) {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(w.chaos, "order"), []byte(point+" hold"), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// landed waits until one does.
func (w *chaosWorld) landed() {
	w.t.Helper()
	eventually(w.t, "the order is met", patience, func() bool {
		_, err := os.Stat(filepath.Join(w.chaos, "landed"))
		return err == nil
	})
}

func (w *chaosWorld) goOn() {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(w.chaos, "go"), nil, 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// settle is ferry settle as p.
func (w *world) settle(want int, more ...string) result {
	w.t.Helper()
	r := command(w.t, append([]string{"settle", "--cluster", w.path("p"), "--as", "p", "--daemon", "orders", "--timeout", "4s"}, more...)...)
	if r.code != want {
		w.t.Fatalf("settle %v: exit %d, want %d: %s%s", more, r.code, want, r.stdout, r.stderr)
	}
	return r
}

// statusText is ferry status, for people.
func (w *world) statusText() string {
	w.t.Helper()
	r := command(w.t, "status", "--cluster", w.path("p"), "--as", "p")
	if r.code != exitDone {
		w.t.Fatalf("status: exit %d, %s", r.code, r.stderr)
	}
	return r.stdout
}

// kill -9 of the orchestrator in the transfer; --resume goes on where the source
// still is in it, and says how it ended.
func TestResume(t *testing.T) {
	slow(t)
	w := newWorld(t, "a", "b", "o")
	there, back := w.slowTransfer("a", "b")
	w.node("a", "--daemon", "orders", "--fill", "8MiB")
	w.node("b")
	l := newLoop(t, w.url("a"), "w/")
	l.more(20)
	m := w.transferring("orders", "b")
	m.signal(syscall.SIGKILL)
	m.exit(patience)
	there.hurry()
	back.hurry()
	r := w.resume(exitDone, "--json")
	var res moveResult
	if err := json.Unmarshal([]byte(r.stdout), &res); err != nil || res.Daemon != "orders" || res.From != "a" || res.To != "b" || res.Outcome != "committed" && res.Outcome != "rolled back" {
		t.Errorf("%q, %v", r.stdout, err)
	}
	l.more(20)
	if r := w.resume(exitDone); r.stdout != "" || !strings.Contains(r.stderr, "no move of o is open") {
		t.Errorf("%q, %q", r.stdout, r.stderr)
	}
	records := l.end()
	owner, other := "a", "b"
	if res.Outcome == "committed" {
		owner, other = "b", "a"
	}
	w.owner("orders", owner, other)
	w.checkLog(owner, "orders", records)
	w.migrate(exitDone, "orders", "a")
	t.Logf("resumed: %s", res.settled())
}

// Between the intent and the outcome only source and target know, and one of
// them may be down: --resume says so, and how it ended once it is back.
func TestResumeWithoutSource(t *testing.T) {
	slow(t)
	w := newChaosWorld(t, "a", "b", "o", "p")
	a := w.node("a", "--daemon", "orders")
	w.node("b")
	w.hold("a retired:after")
	m := w.spawn(w.migrateArgs("orders", "b")...)
	w.landed()
	m.signal(syscall.SIGKILL)
	m.exit(patience)
	a.signal(syscall.SIGKILL)
	a.exit(patience)
	r := w.resume(exitInDoubt, "--timeout", "2s")
	if !strings.Contains(r.stdout, "orders from a to b in epoch 1: in doubt") || !strings.Contains(r.stderr, "1 move of o has no end yet") {
		t.Errorf("%q, %q", r.stdout, r.stderr)
	}
	w.node("a")
	r = w.resume(exitDone)
	if !strings.Contains(r.stdout, "orders from a to b in epoch 1: committed, it is at b") {
		t.Errorf("%q, %q", r.stdout, r.stderr)
	}
	w.owner("orders", "b", "a")
}

// Another orchestrator ends what was left behind: back before the source has
// retired, forward after.
func TestSettle(t *testing.T) {
	slow(t)
	for _, c := range []struct{ point, kill, owner, says string }{
		{"b restore:open", "", "a", "rolled back"},
		{"a retired:before", "", "b", "committed, it is at b"},
		{"b live:before", "", "b", "committed, it is at b"},
		{"b live:before", "b", "a", "rolled back"},
		{"b live:after", "b", "b", "committed, it is at b"},
		{"a retired:after", "a", "b", "committed, it is at b"},
	} {
		t.Run(c.point+", kill "+c.kill, func(t *testing.T) {
			t.Parallel()
			w := newChaosWorld(t, "a", "b", "o", "p")
			nodes := map[string]*proc{"a": w.node("a", "--daemon", "orders"), "b": w.node("b")}
			l := newLoop(t, w.url("a"), "w/")
			l.more(20)
			records := l.end()
			w.hold(c.point)
			m := w.spawn(w.migrateArgs("orders", "b")...)
			w.landed()
			m.signal(syscall.SIGKILL)
			m.exit(patience)
			if c.kill != "" {
				nodes[c.kill].signal(syscall.SIGKILL)
				nodes[c.kill].exit(patience)
				w.node(c.kill)
			} else {
				w.goOn()
			}
			// The two may have ended it by themselves before p asks.
			r := w.settle(exitDone)
			if !strings.Contains(r.stdout, c.says) && !strings.Contains(r.stdout, "nothing to settle: "+c.owner+" serves orders") {
				t.Errorf("%q, %q", r.stdout, r.stderr)
			}
			t.Log(strings.TrimSpace(r.stdout))
			other := map[string]string{"a": "b", "b": "a"}[c.owner]
			w.owner("orders", c.owner, other)
			w.checkLog(c.owner, "orders", records)
			r = w.settle(exitDone)
			if !strings.Contains(r.stdout, "nothing to settle: "+c.owner+" serves orders") {
				t.Errorf("again: %q, %q", r.stdout, r.stderr)
			}
			w.resume(exitDone)
		})
	}
}

// The source has retired and the target is gone: the move waits and says so; a
// person may go back, in words.
func TestForceSource(t *testing.T) {
	slow(t)
	w := newChaosWorld(t, "a", "b", "o", "p")
	a := w.node("a", "--daemon", "orders")
	b := w.node("b")
	l := newLoop(t, w.url("a"), "w/")
	l.more(20)
	records := l.end()
	w.hold("a retired:after")
	m := w.spawn(w.migrateArgs("orders", "b", "--timeout", "2s")...)
	w.landed()
	b.signal(syscall.SIGKILL)
	b.exit(patience)
	w.goOn()
	if r := m.exit(patience); r.code != exitInDoubt {
		t.Errorf("migrate: exit %d, %s", r.code, r.stderr)
	}

	const waits = "a is the source, has retired at event "
	if text := w.statusText(); !strings.Contains(text, "orders: in doubt: "+waits) || !strings.Contains(text, "waits for its target b, which does not answer; bring it back") {
		t.Errorf("status:\n%s", text)
	}
	r := w.settle(exitInDoubt)
	if !strings.Contains(r.stdout, waits) || !strings.Contains(r.stderr, "--force") {
		t.Errorf("settle: %q, %q", r.stdout, r.stderr)
	}
	// Not without the words.
	r = w.settle(exitFailed, "--force", "--yes-i-know", "yes")
	if !strings.Contains(r.stderr, "nothing was changed") || !strings.Contains(r.stderr, "two nodes accept writes") {
		t.Errorf("not confirmed: %q, %q", r.stdout, r.stderr)
	}
	_, sentence, _ := strings.Cut(r.stderr, "the sentence would be: ")
	if !strings.HasPrefix(sentence, "b is dead for good, and a serves orders from event ") {
		t.Fatalf("sentence %q", sentence)
	}
	if st, err := w.state("a", "orders"); err != nil || st.Authority {
		t.Fatalf("changed without the words: %+v, %v", st, err)
	}
	r = w.settle(exitDone, "--force", "--yes-i-know", sentence)
	if !strings.Contains(r.stdout, "forced: a serves orders in epoch 2") {
		t.Errorf("forced: %q, %q", r.stdout, r.stderr)
	}
	a.await("FORCED by an operator's order")
	w.serving("a", "orders")
	r = w.resume(exitDone)
	if !strings.Contains(r.stdout, "rolled back") {
		t.Errorf("o is told %q, %q", r.stdout, r.stderr)
	}

	// It is still so after a restart, and the node that was not live does no harm.
	a.signal(syscall.SIGKILL)
	a.exit(patience)
	w.node("a")
	b = w.node("b")
	st := w.owner("orders", "a", "b")
	if st.Seq != records[len(records)-1].Seq+1 { // serving has written one
		t.Errorf("at event %d, want %d", st.Seq, records[len(records)-1].Seq+1)
	}
	if text := w.statusText(); strings.Contains(text, "in doubt") || strings.Contains(text, "TWO OWNERS") {
		t.Errorf("status:\n%s", text)
	}
	if res, _ := w.migrate(exitDone, "orders", "b"); res.Epoch != "3" {
		t.Errorf("%+v", res)
	}
	w.owner("orders", "b", "a")
	if strings.Contains(b.said(), "TWO OWNERS") {
		t.Error(b.said())
	}
}

// The same where the target is there and its journal is not.
func TestForceJournalLost(t *testing.T) {
	slow(t)
	w := newChaosWorld(t, "a", "b", "o", "p")
	w.node("a", "--daemon", "orders")
	b := w.node("b")
	w.serving("a", "orders")
	w.hold("b live:after")
	m := w.spawn(w.migrateArgs("orders", "b", "--timeout", "2s")...)
	w.landed()
	b.signal(syscall.SIGKILL)
	b.exit(patience)
	if err := os.RemoveAll(w.file.DataDir("b")); err != nil {
		t.Fatal(err)
	}
	w.node("b")
	if r := m.exit(patience); r.code != exitInDoubt {
		t.Errorf("migrate: exit %d, %s", r.code, r.stderr)
	}
	r := w.settle(exitInDoubt)
	if !strings.Contains(r.stdout, "its journal is lost") {
		t.Errorf("settle: %q, %q", r.stdout, r.stderr)
	}
	w.settle(exitDone, "--force", "--yes-i-know", "b is dead for good, and a serves orders from event 1")
	w.serving("a", "orders")
	w.resume(exitDone)
	if res, _ := w.migrate(exitDone, "orders", "b"); res.Epoch != "3" {
		t.Errorf("%+v", res)
	}
}

// The target has everything and the source is gone: the target serves. A source
// that comes back all the same, and served on, is noticed by everybody.
func TestForceTarget(t *testing.T) {
	slow(t)
	w := newChaosWorld(t, "a", "b", "o", "p")
	a := w.node("a", "--daemon", "orders")
	b := w.node("b")
	l := newLoop(t, w.url("a"), "w/")
	l.more(20)
	records := l.end()
	w.hold("a retired:before")
	m := w.spawn(w.migrateArgs("orders", "b")...)
	w.landed()
	a.signal(syscall.SIGKILL)
	a.exit(patience)
	m.signal(syscall.SIGKILL)
	m.exit(patience)
	r := w.settle(exitInDoubt)
	if !strings.Contains(r.stdout, "b is the target, has everything through event ") || !strings.Contains(r.stdout, "waits for its source a, which does not answer") {
		t.Errorf("settle: %q, %q", r.stdout, r.stderr)
	}
	r = w.settle(exitFailed, "--force", "--yes-i-know", "no")
	_, sentence, _ := strings.Cut(r.stderr, "the sentence would be: ")
	r = w.settle(exitDone, "--force", "--yes-i-know", sentence, "--json")
	var res moveResult
	if err := json.Unmarshal([]byte(r.stdout), &res); err != nil || res.Outcome != "forced" {
		t.Errorf("%q, %v", r.stdout, err)
	}
	w.checkLog("b", "orders", records)
	w.serving("b", "orders")
	w.owner("orders", "b")

	// He was wrong.
	a = w.node("a")
	a.await("TWO OWNERS")
	b.await("TWO OWNERS")
	if text := w.statusText(); !strings.Contains(text, "orders: TWO OWNERS: a and b accept writes") {
		t.Errorf("status:\n%s", text)
	}
}

// A force order that nobody needs is refused, and so is one that would need more
// than there is.
func TestForceRefused(t *testing.T) {
	slow(t)
	w := newChaosWorld(t, "a", "b", "o", "p")
	w.node("a", "--daemon", "orders")
	w.node("b")
	if r := w.settle(exitDone, "--force"); !strings.Contains(r.stdout, "nothing to settle: a serves orders in epoch 0") {
		t.Errorf("%q, %q", r.stdout, r.stderr)
	}
	if r := w.settle(exitUsage, "--yes-i-know", "x"); !strings.Contains(r.stderr, "--force") {
		t.Error(r.stderr)
	}
	r := command(t, "settle", "--cluster", w.path("p"), "--as", "p", "--daemon", "nothing")
	if r.code != exitFailed || !strings.Contains(r.stderr, "no node has daemon \"nothing\"") {
		t.Errorf("exit %d, %s", r.code, r.stderr)
	}
}
