package main

import (
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// orchestrator starts ferry orchestrator --name o and waits until it is up.
func (w *world) orchestrator(args ...string) *proc {
	w.t.Helper()
	p := spawn(w.t, append([]string{"orchestrator", "--until-stdin-ends", "--cluster", w.path("o"), "--name", "o"}, args...)...)
	p.await("orchestrator is up")
	return p
}

// resume is ferry migrate --resume as o.
func (w *world) resume(want int, more ...string) result {
	w.t.Helper()
	r := command(w.t, append([]string{"migrate", "--cluster", w.path("o"), "--as", "o", "--resume"}, more...)...)
	if r.code != want {
		w.t.Fatalf("resume: exit %d, want %d: %s%s", r.code, want, r.stdout, r.stderr)
	}
	return r
}

// A running orchestrator takes the moves: with the same progress and result, and
// going on without the command.
func TestHandOver(t *testing.T) {
	slow(t)
	w := newWorld(t, "a", "b", "o")
	there, back := w.slowTransfer("a", "b")
	w.node("a", "--daemon", "orders", "--fill", "8MiB")
	w.node("b")
	o := w.orchestrator()
	if info, err := os.Stat(socketPath(w.file, "o")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("socket: %v, %v", info, err)
	}
	l := newLoop(t, w.url("a"), "w/")
	l.more(20)

	// Cancelled here, it is rolled back there.
	m := w.transferring("orders", "b")
	m.signal(syscall.SIGINT)
	wantRolledBack(t, m, 5*time.Second, "cancelled")
	// One of a daemon at a time.
	m = w.transferring("orders", "b")
	if _, r := w.migrate(exitFailed, "orders", "b"); !strings.Contains(r.stderr, "is moving daemon \"orders\" already") {
		t.Errorf("beside it: %s", r.stderr)
	}
	// The command is killed, and the move goes on.
	m.signal(syscall.SIGKILL)
	m.exit(patience)
	there.hurry()
	back.hurry()
	o.await("outcome=committed")
	l.more(20)
	w.owner("orders", "b", "a")

	res, r := w.migrate(exitDone, "orders", "a")
	if res.Outcome != "committed" || res.From != "b" || res.To != "a" || res.Chunks == 0 || res.BlackoutMs == 0 || !strings.Contains(r.stderr, "orders b → a  transfer") {
		t.Errorf("%+v: %s", res, r.stderr)
	}
	if res, _ := w.migrate(exitDone, "orders", "a"); res.Outcome != outcomeThere {
		t.Errorf("%+v", res)
	}
	if res, _ := w.migrate(exitDone, "orders", "b", "--dry-run"); res.Outcome != "prepared" {
		t.Errorf("%+v", res)
	}
	if _, r := w.migrate(exitFailed, "nothing", "b"); !strings.Contains(r.stderr, "no node has daemon \"nothing\"") {
		t.Error(r.stderr)
	}
	if r := w.resume(exitDone); r.stdout != "" || !strings.Contains(r.stderr, "no move of o is open") {
		t.Errorf("%q, %q", r.stdout, r.stderr)
	}
	second := command(t, "orchestrator", "--cluster", w.path("o"), "--name", "o")
	if second.code != exitFailed || !strings.Contains(second.stderr, "runs already") {
		t.Errorf("a second one: exit %d, %s", second.code, second.stderr)
	}
	o.signal(syscall.SIGTERM)
	if r := o.exit(5 * time.Second); r.code != exitDone {
		t.Errorf("SIGTERM: exit %d, %s", r.code, r.stderr)
	}
	records := l.end()
	w.owner("orders", "a", "b")
	w.checkLog("a", "orders", records)
}

// kill -9 of the orchestrator with a move: whoever watches is told that it is in
// doubt, and the next start settles it. What it leaves behind stops nobody.
func TestKillRunningOrchestrator(t *testing.T) {
	slow(t)
	w := newWorld(t, "a", "b", "o")
	there, back := w.slowTransfer("a", "b")
	w.node("a", "--daemon", "orders", "--fill", "8MiB")
	w.node("b")
	o := w.orchestrator()
	l := newLoop(t, w.url("a"), "w/")
	l.more(20)
	m := w.transferring("orders", "b")
	o.signal(syscall.SIGKILL)
	if r := m.exit(patience); r.code != exitInDoubt || !strings.Contains(r.stderr, "the orchestrator ended") {
		t.Errorf("exit %d: %s", r.code, r.stderr)
	}
	if _, err := os.Stat(socketPath(w.file, "o")); err != nil {
		t.Errorf("the socket should be left: %v", err)
	}
	there.hurry()
	back.hurry()
	o = w.orchestrator()
	o.await("earlier move")
	if r := w.resume(exitDone); strings.Contains(r.stderr, "no end yet") {
		t.Error(r.stderr)
	}
	l.more(20)
	// Killed again; the socket that is left keeps nobody from moving without it.
	o.signal(syscall.SIGKILL)
	o.exit(patience)
	owner, other := "a", "b"
	if d := w.status()["b"].daemon("orders"); d != nil && d.Authority {
		owner, other = "b", "a"
	}
	w.migrate(exitDone, "orders", other)
	l.more(20)
	records := l.end()
	w.owner("orders", other, owner)
	w.checkLog(other, "orders", records)
}

// What is no request is answered, or ends, and stops nothing.
func TestHandOverOddClients(t *testing.T) {
	slow(t)
	w := newWorld(t, "a", "b", "o")
	w.node("a", "--daemon", "orders")
	w.node("b")
	w.orchestrator()
	for _, text := range []string{"", "\n", "{}\n", `{"version":2,"timeout":1}` + "\n", strings.Repeat("x", 1<<20), `{"version":1,"timeout":1000000000,"daemon":"orders","to":"nowhere"}` + "\n"} {
		conn, err := net.Dial("unix", socketPath(w.file, "o"))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = conn.Write([]byte(text))
		_ = conn.(*net.UnixConn).CloseWrite()
		var b [1 << 16]byte
		n, _ := conn.Read(b[:])
		if text != "" && len(text) < 1<<10 && !strings.Contains(string(b[:n]), `"end":true`) {
			t.Errorf("%.40q: %s", text, b[:n])
		}
		conn.Close()
	}
	w.migrate(exitDone, "orders", "b")
}

// What the running orchestrator cannot settle it goes on to settle, and --resume
// beside it says so, or how it ended.
func TestRunningOrchestratorSettles(t *testing.T) {
	slow(t)
	w := newChaosWorld(t, "a", "b", "o", "p")
	w.node("a", "--daemon", "orders")
	b := w.node("b")
	o := w.orchestrator()
	w.hold("a retired:after")
	m := spawn(t, w.migrateArgs("orders", "b", "--timeout", "2s")...)
	w.landed()
	b.signal(syscall.SIGKILL)
	b.exit(patience)
	w.goOn()
	if r := m.exit(patience); r.code != exitInDoubt {
		t.Errorf("exit %d, %s", r.code, r.stderr)
	}
	r := w.resume(exitInDoubt, "--timeout", "1s")
	if !strings.Contains(r.stdout, "orders from a to b in epoch 1: in doubt: it is being settled") || !strings.Contains(r.stderr, "1 move of o has no end yet") {
		t.Errorf("%q, %q", r.stdout, r.stderr)
	}
	resumed := spawn(t, "migrate", "--cluster", w.path("o"), "--as", "o", "--resume", "--timeout", patience.String())
	w.node("b")
	// Node b may be up, and the move over, before the command has asked.
	r = resumed.exit(patience)
	told := strings.Contains(r.stdout, "orders from a to b in epoch 1: rolled back") || strings.Contains(r.stdout+r.stderr, "no move of o is open")
	if r.code != exitDone || !told {
		t.Errorf("exit %d, %q, %q", r.code, r.stdout, r.stderr)
	}
	o.await("outcome=\"rolled back\"")
	w.owner("orders", "a", "b")
}
