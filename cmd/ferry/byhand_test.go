package main

import (
	"strings"
	"syscall"
	"testing"
	"time"
)

// The README by hand: a cluster, two nodes, a loop of writes that never sees a
// failed one while the daemon moves there and back, and a restart of both nodes
// with the same command lines.
func TestByHand(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "a", "b", "o")
	a := w.node("a", "--daemon", "orders")
	b := w.node("b")
	if line := a.await("node is up"); !strings.Contains(line, "http="+w.url("a")) {
		t.Errorf("a person cannot tell where it is: %s", line)
	}
	l := newLoop(t, w.url("a"), "w/")
	l.more(50)

	// A dry run leaves everything as it was.
	before := w.owner("orders", "a", "b")
	res, _ := w.migrate(exitDone, "orders", "b", "--dry-run")
	if after := w.owner("orders", "a", "b"); res.Outcome != "prepared" || after.Seq < before.Seq {
		t.Errorf("dry run: %+v; %+v after %+v", res, after, before)
	}
	l.more(20)

	res, r := w.migrate(exitDone, "orders", "b")
	if res.Outcome != "committed" || res.From != "a" || res.To != "b" || res.BlackoutMs <= 0 || len(res.Lanes) == 0 {
		t.Errorf("%+v", res)
	}
	for _, says := range []string{"orders a → b  begin", "complete"} {
		if !strings.Contains(r.stderr, says) {
			t.Errorf("progress does not say %q:\n%s", says, r.stderr)
		}
	}
	l.more(50)
	w.owner("orders", "b", "a")
	// There already: said, and no failure.
	if res, _ := w.migrate(exitDone, "orders", "b"); res.Outcome != outcomeThere {
		t.Errorf("%+v", res)
	}
	l.more(50)

	// And back again.
	w.migrate(exitDone, "orders", "a")
	l.more(50)
	w.migrate(exitDone, "orders", "b")
	records := l.end()
	head := w.owner("orders", "b", "a")
	w.checkLog("b", "orders", records)

	for _, p := range []*proc{a, b} {
		p.signal(syscall.SIGTERM)
		if r := p.exit(5 * time.Second); r.code != exitDone {
			t.Errorf("ended with %d: %s", r.code, r.stderr)
		}
	}
	w.node("a", "--daemon", "orders") // the same command lines
	w.node("b")
	if after := w.owner("orders", "b", "a"); after != head {
		t.Errorf("after the restart %+v, before %+v", after, head)
	}
	w.checkLog("b", "orders", records)
}

// ferry node --daemon X creates X only where it is sure that X is nowhere.
func TestOneDaemonOfAName(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "a", "b", "o")
	w.node("a", "--daemon", "orders")
	b := w.node("b", "--daemon", "orders")
	if d := w.status()["b"].daemon("orders"); d != nil {
		t.Errorf("b has made a second one: %+v", d)
	}
	w.migrate(exitDone, "orders", "b")
	w.migrate(exitDone, "orders", "a")
	b.signal(syscall.SIGTERM)
	b.exit(patience)
	// b knows that it has given orders away, whoever else can be asked.
	w.node("b", "--daemon", "orders")
	w.owner("orders", "a", "b")
	if n := len(w.status()["b"].Daemons); n != 1 {
		t.Errorf("b knows %d daemons", n)
	}
}

// A node that is there and does not say what it has leaves it open: exit 1, and
// --create forces.
func TestUnsureWhetherDaemonExists(t *testing.T) {
	t.Parallel()
	other := newWorld(t, "a", "b", "o")
	other.node("a", "--daemon", "orders")
	w := newWorld(t, "a", "b", "o")
	w.reroute("b", "a", other.find("a").Addr) // a process with another key
	r := command(t, "node", "--cluster", w.path("b"), "--name", "b", "--daemon", "orders")
	if r.code != exitFailed || !strings.Contains(r.stderr, "cannot tell whether") || !strings.Contains(r.stderr, "--create") {
		t.Errorf("exit %d, %s", r.code, r.stderr)
	}
	w.node("b", "--daemon", "orders", "--create")
	w.owner("orders", "b")
}

// Two daemons cross each other, moved by the same orchestrator in two processes.
func TestTwoMovesAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "a", "b", "o")
	w.node("a", "--daemon", "orders", "--fill", "4MiB")
	w.node("b", "--daemon", "carts", "--fill", "4MiB")
	orders := newLoop(t, w.url("a")+"/daemons/orders", "o/")
	carts := newLoop(t, w.url("a")+"/daemons/carts", "c/")
	orders.more(20)
	carts.more(20)
	first := spawn(t, w.migrateArgs("orders", "b")...)
	second := spawn(t, w.migrateArgs("carts", "a")...)
	for _, p := range []*proc{first, second} {
		if r := p.exit(patience); r.code != exitDone || !strings.Contains(r.stdout, "moved from") {
			t.Errorf("exit %d, %s%s", r.code, r.stdout, r.stderr)
		}
	}
	orders.more(20)
	carts.more(20)
	records := orders.end()
	w.owner("orders", "b", "a")
	w.checkLog("b", "orders", records)
	records = carts.end()
	w.owner("carts", "a", "b")
	w.checkLog("a", "carts", records)
}
