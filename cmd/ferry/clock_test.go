package main

import (
	"os"
	"path/filepath"
	"testing"
)

// Wall clocks that are wrong by an hour, at both nodes, and jump in the middle of
// it: nothing is timed, ordered or trusted by them.
func TestWallClocks(t *testing.T) {
	slow(t)
	w := newChaosWorld(t, "a", "b", "o")
	clock := func(node, wrong string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(w.chaos, "clock-"+node), []byte(wrong), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	clock("a", "-1h")
	clock("b", "1h")
	w.node("a", "--daemon", "orders")
	w.node("b")
	l := newLoop(t, w.url("a"), "w/")
	l.more(20)
	w.hold("b restore:open")
	m := w.spawn(w.migrateArgs("orders", "b")...)
	w.landed()
	clock("a", "1h") // both jump while the state is on its way
	clock("b", "-1h")
	w.goOn()
	if r := m.exit(patience); r.code != exitDone {
		t.Fatalf("exit %d: %s", r.code, r.stderr)
	}
	l.more(20)
	records := l.end()
	w.owner("orders", "b", "a")
	w.checkLog("b", "orders", records)
}
