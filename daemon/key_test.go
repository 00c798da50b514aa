package daemon_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ferry/identity"
	"ferry/journal"
	"ferry/migration"
	"ferry/proto0500"
)

// TestKeyTravels: the daemon's key goes with it, there and back, and is nowhere else once it was released.
func TestKeyTravels(t *testing.T) {
	w := newWorld(t, "a", "b", "o")
	a := w.run("a", nil)
	w.run("b", nil)
	o := w.orchestrator(journal.NewMemory(), nil)
	origin := a.create("d", "diary")
	at := func(node string) []string { return w.files(node, "*", "*", "key.pem") }
	for _, to := range []string{"b", "a", "b"} {
		from := map[string]string{"a": "b", "b": "a"}[to]
		w.want(o.move(origin, from, to), migration.OutcomeCommitted)
		w.eventually("the key is wiped at its source", func() bool { return len(at(from)) == 0 })
		if got := at(to); len(got) != 1 {
			t.Fatalf("key files at %s: %q", to, got)
		}
		key, err := identity.LoadKey(at(to)[0]) // its mode, too
		if err != nil || proto0500.Origin(key.Origin()) != origin {
			t.Fatalf("the key at %s: %v, %v", to, key, err)
		}
	}
}

// TestKeyCannotBeTaken: a target that cannot take the key refuses before it restores, with the code for it; the source
// serves on and keeps the key, and so it does at the next attempt.
func TestKeyCannotBeTaken(t *testing.T) {
	w := newWorld(t, "a", "b", "o")
	src, dst := &hooks{padding: 1 << 20}, new(hooks)
	a := w.run("a", with(src))
	w.run("b", with(dst))
	o := w.orchestrator(journal.NewMemory(), nil)
	origin := a.create("d", "diary")
	src.on("read", func() error { // the attempt's directory is there by now
		for _, dir := range w.files("b", "*", "e1") {
			_ = os.WriteFile(filepath.Join(dir, "key.pem"), []byte("in the way"), 0o600)
		}
		return nil
	})
	dst.on("restore", func() error { t.Error("restored without its key"); return nil })
	res := o.move(origin, "a", "b")
	w.want(res, migration.OutcomeRolledBack)
	if res.Reason.Code != proto0500.CodeIdentityTransportFailed || !strings.Contains(res.Text, "key cannot travel") {
		t.Errorf("refused with %v: %s", res.Reason, res.Text)
	}
	a.write("d", []byte("still here"))
	src.on("read", nil)
	dst.on("restore", nil)
	w.want(o.move(origin, "a", "b"), migration.OutcomeCommitted)
	if got := w.files("b", "*", "*", "key.pem"); len(got) != 1 {
		t.Errorf("key files at b: %q", got)
	}
}
