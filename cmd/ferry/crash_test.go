package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"ferry/examples/kv"
)

// noticed is how long it may take until a dead or silent peer is noticed.
const noticed = 10 * time.Second

// transferring begins a move over a slow path, and returns when the transfer is
// well under way.
func (w *world) transferring(daemon, to string, more ...string) *proc {
	w.t.Helper()
	m := spawn(w.t, w.migrateArgs(daemon, to, more...)...)
	m.await(" transfer ")
	return m
}

// serving checks that a daemon takes writes at a node.
func (w *world) serving(node, daemon string) {
	w.t.Helper()
	client := &http.Client{Timeout: patience, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	if _, err := put(client, w.url(node)+daemonsPrefix+daemon+"/kv/still", "here"); err != nil {
		w.t.Errorf("%s at %s takes no write: %v", daemon, node, err)
	}
}

// wantRolledBack checks a migrate that ended with its daemon at the source.
func wantRolledBack(t *testing.T, m *proc, within time.Duration, says string) {
	t.Helper()
	r := m.exit(within)
	lines := strings.Split(r.stderr, "\n")
	last := lines[len(lines)-1]
	if r.code != exitRolledBack || r.stdout != "" || !strings.HasPrefix(last, "ferry: ") || !strings.Contains(last, "serves on at a") || !strings.Contains(last, says) {
		t.Errorf("exit %d, stdout %q, last line %q, want %q in it", r.code, r.stdout, last, says)
	}
}

// kill -9 of the target in the transfer: the move is rolled back within 10 s,
// and the next one succeeds.
func TestKillTarget(t *testing.T) {
	slow(t)
	w := newWorld(t, "a", "b", "o")
	there, back := w.slowTransfer("a", "b")
	w.node("a", "--daemon", "orders", "--fill", "8MiB")
	b := w.node("b")
	l := newLoop(t, w.url("a"), "w/")
	l.more(20)
	m := w.transferring("orders", "b")

	// Meanwhile everybody can see it.
	st := w.status()
	if d := st["a"].daemon("orders"); d == nil || !d.Moving || d.State != "copying" || !d.Authority || d.Peer != "b" || d.Orchestrator != "o" {
		t.Errorf("status of a in the transfer: %+v", d)
	}
	if d := st["b"].daemon("orders"); d == nil || !d.Moving || d.Authority || d.State != "prepared" {
		t.Errorf("status of b in the transfer: %+v", d)
	}
	r := command(t, "status", "--cluster", w.path("o"))
	if !strings.Contains(r.stdout, "copying") || !strings.Contains(r.stdout, "with b, by o") {
		t.Errorf("for people:\n%s", r.stdout)
	}

	b.signal(syscall.SIGKILL)
	wantRolledBack(t, m, noticed, "lost")
	l.more(20)
	w.owner("orders", "a")
	st = w.status()
	if st["b"].Up || st["b"].Error == "" || !st["a"].Up || st["a"].daemon("orders").Moving {
		t.Errorf("status with b down: %+v", st)
	}
	w.node("b")
	there.hurry()
	back.hurry()
	w.migrate(exitDone, "orders", "b")
	l.more(20)
	records := l.end()
	w.owner("orders", "b", "a")
	w.checkLog("b", "orders", records)
}

// A path that goes silent is noticed like a target that dies. If the way through
// the orchestrator is found in time, the move goes on there.
func TestPathGoesSilent(t *testing.T) {
	slow(t)
	w := newWorld(t, "a", "b", "o")
	there, back := w.slowTransfer("a", "b")
	w.node("a", "--daemon", "orders", "--fill", "8MiB")
	w.node("b")
	m := w.transferring("orders", "b")
	there.swallow()
	back.swallow()
	cut := time.Now()
	r := m.exit(2 * noticed)
	if took := time.Since(cut); r.code != exitDone && took > noticed {
		t.Errorf("noticed after %v", took)
	}
	if r.code == exitDone {
		w.owner("orders", "b", "a")
		w.serving("b", "orders")
		return
	}
	wantRolledBack(t, m, noticed, "lost")
	w.serving("a", "orders")
}

// kill -9 of the orchestrator in the transfer: the source serves on, and the
// next ferry migrate succeeds, however soon it comes.
func TestKillOrchestrator(t *testing.T) {
	slow(t)
	for _, c := range []struct {
		name string
		to   string // of the second one
		says string
	}{
		{"the same move again", "b", "an earlier move of orders from a to b has no end yet"},
		{"a move elsewhere", "c", "the earlier move ended: committed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "a", "b", "c", "o")
			there, back := w.slowTransfer("a", "b")
			w.node("a", "--daemon", "orders", "--fill", "8MiB")
			w.node("b")
			w.node("c")
			l := newLoop(t, w.url("a"), "w/")
			m := w.transferring("orders", "b")
			m.signal(syscall.SIGKILL)
			m.exit(patience)
			l.more(5)
			w.owner("orders", "a", "b", "c")
			there.hurry()
			back.hurry()
			res, r := w.migrate(exitDone, "orders", c.to)
			if res.Outcome != "committed" || res.To != c.to || !strings.Contains(r.stderr, c.says) {
				t.Errorf("%+v: %s", res, r.stderr)
			}
			l.more(5)
			records := l.end()
			w.owner("orders", c.to, "a")
			w.checkLog(c.to, "orders", records)
		})
	}
}

// Without an orchestrator that comes back the source ends the move by itself, and
// the next one begins anew.
func TestOrchestratorStaysAway(t *testing.T) {
	slow(t)
	w := newWorld(t, "a", "b", "o", "p")
	there, back := w.slowTransfer("a", "b")
	w.node("p") // only so that nobody waits for it
	w.node("a", "--daemon", "orders", "--fill", "20MiB")
	w.node("b")
	m := w.transferring("orders", "b")
	// A dry run beside it leaves it alone, and another orchestrator is told.
	_, r := w.migrate(exitFailed, "orders", "b", "--dry-run")
	if !strings.Contains(r.stderr, "is moving daemon \"orders\" already") {
		t.Errorf("beside it: %s", r.stderr)
	}
	r = command(t, "migrate", "--cluster", w.path("o"), "--as", "p", "--daemon", "orders", "--to", "b")
	if r.code != exitFailed || !strings.Contains(r.stderr, "another move of it is under way") {
		t.Errorf("another orchestrator: exit %d, %s", r.code, r.stderr)
	}
	m.signal(syscall.SIGKILL)
	begun := time.Now()
	eventually(t, "the source has ended it", noticed, func() bool {
		d := w.status()["a"].daemon("orders")
		return d != nil && !d.Moving
	})
	t.Logf("ended by the source after %v", time.Since(begun))
	w.serving("a", "orders")
	there.hurry()
	back.hurry()
	if res, _ := w.migrate(exitDone, "orders", "b"); res.Epoch == "1" {
		t.Errorf("%+v", res)
	}
	w.owner("orders", "b", "a")
}

// Ctrl-C in the transfer is a clean cancel.
func TestInterruptMigrate(t *testing.T) {
	slow(t)
	w := newWorld(t, "a", "b", "o")
	there, back := w.slowTransfer("a", "b")
	a := w.node("a", "--daemon", "orders", "--fill", "8MiB")
	w.node("b")
	m := w.transferring("orders", "b")
	m.signal(syscall.SIGINT)
	wantRolledBack(t, m, 5*time.Second, "cancelled")
	w.serving("a", "orders")
	if d := w.status()["a"].daemon("orders"); d == nil || d.Moving {
		t.Errorf("%+v", d)
	}
	// The source ends in the next one: nobody else may say that it serves on.
	m = w.transferring("orders", "b", "--timeout", "3s")
	a.signal(syscall.SIGTERM)
	if r := a.exit(5 * time.Second); r.code != exitDone {
		t.Errorf("the source ended with %d", r.code)
	}
	if r := m.exit(2 * noticed); r.code != exitInDoubt || !strings.Contains(r.stderr, "cannot be told yet whether orders is at a or b") {
		t.Errorf("without the source: exit %d, %s", r.code, r.stderr)
	}
	w.node("a")
	w.serving("a", "orders")
	there.hurry()
	back.hurry()
	w.migrate(exitDone, "orders", "b")
	w.owner("orders", "b", "a")
}

// SIGTERM of a node under writes: no writer is left without knowing what became
// of its write, neither at the owner nor at the one that was just moved away from.
func TestEndUnderWrites(t *testing.T) {
	slow(t)
	w := newWorld(t, "a", "b", "o")
	a := w.node("a", "--daemon", "orders")
	b := w.node("b")
	client, err := kv.NewClient(nil, w.url("a"), w.url("b"))
	if err != nil {
		t.Fatal(err)
	}
	defer client.CloseIdle()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	var mu sync.Mutex
	var records []kv.Record
	var writers sync.WaitGroup
	for c := range 8 {
		writers.Go(func() {
			for n := 1; ; n++ {
				key, value := fmt.Appendf(nil, "%d/%06d", c, n), fmt.Appendf(nil, "value %d", n)
				seq, err := client.Put(ctx, key, value)
				if err != nil {
					if ctx.Err() == nil {
						t.Errorf("%s: %v", key, err)
					}
					return
				}
				payload, err := kv.EncodePut(key, value)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				records = append(records, kv.Record{Seq: seq, Payload: payload})
				mu.Unlock()
			}
		})
	}
	count := func() int { mu.Lock(); defer mu.Unlock(); return len(records) }
	more := func(n int) {
		want := count() + n
		eventually(t, "more writes", patience, func() bool { return t.Failed() || count() >= want })
	}
	more(200)
	w.migrate(exitDone, "orders", "b")
	a.signal(syscall.SIGTERM)
	within(t, "the old owner's end", 5*time.Second, func() { a.exit(patience) })
	more(200)
	b.signal(syscall.SIGTERM)
	within(t, "the owner's end", 5*time.Second, func() { b.exit(patience) })
	w.node("b")
	more(200)
	stop()
	writers.Wait()
	// What was under way when the test stopped may be there without a record.
	resp, err := http.Get(w.url("b") + "/log")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	rep, err := kv.CheckLog(kv.Records(records), kv.ReadLog(resp.Body))
	if err != nil || !rep.OK() || rep.Unacked > 8 {
		t.Errorf("%v, %+v", err, rep)
	}
}

// With the path between a and b blocked the move goes through o.
func TestMoveThroughOrchestrator(t *testing.T) {
	slow(t)
	w := newWorld(t, "a", "b", "o")
	w.reroute("a", "b", newSlowPath(t, w.find("b").Addr, 0).addr())
	w.reroute("b", "a", newSlowPath(t, w.find("a").Addr, 0).addr())
	w.node("a", "--daemon", "orders", "--fill", "4MiB")
	w.node("b")
	l := newLoop(t, w.url("a"), "w/")
	l.more(20)
	res, _ := w.migrate(exitDone, "orders", "b")
	if res.Outcome != "committed" || res.BytesMoved < 4<<20 {
		t.Errorf("%+v", res)
	}
	l.more(20)
	records := l.end()
	w.owner("orders", "b", "a")
	w.checkLog("b", "orders", records)
	t.Logf("through o: %.1f s, blackout %.1f ms", res.Seconds, res.BlackoutMs)
	w.migrate(exitDone, "orders", "a")
	w.owner("orders", "a", "b")
}
