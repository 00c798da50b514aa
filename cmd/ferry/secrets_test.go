package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"ferry/identity"
)

// Neither state nor keys are in what a person or a log collector gets to see:
// not in the logs, at the level that tells most, not in what the commands print,
// and not in what a client is told that may not read the daemon.
func TestNoSecretsInLogs(t *testing.T) {
	slow(t)
	w := newWorld(t, "a", "b", "o")
	a := w.node("a", "--daemon", "orders", "--create", "--fill", "4MiB", "--verbose")
	b := w.node("b", "--verbose")
	const name, value = "a-name-nobody-may-read", "a-value-nobody-may-read"
	secrets := map[string][]byte{"a key of the state": []byte(name), "a value of the state": []byte(value)}
	put := func(node, key, value string, want int) {
		t.Helper()
		if resp, body := ask(t, http.MethodPut, w.url(node)+daemonsPrefix+"orders/kv/"+key, value); resp.StatusCode != want {
			t.Fatalf("%d, want %d: %s", resp.StatusCode, want, body)
		}
	}
	var said strings.Builder
	tell := func(r result) {
		said.WriteString(r.stdout)
		said.WriteString(r.stderr)
	}
	put("a", name, value, http.StatusOK)
	put("a", strings.Repeat(name, 100), value, http.StatusBadRequest) // refused: its name is too long
	for _, node := range []string{"a", "b", "o"} {
		seed, err := w.key(node).Seed()
		mustDo(t, err)
		secrets["the key of node "+node] = seed[:]
	}
	secrets["the key of the daemon"] = w.daemonSeed("a")

	// One move that fails late, one that succeeds with the key, one that is refused.
	m := spawn(t, w.migrateArgs("orders", "b", "--limit", "100KB/s", "--verbose")...)
	m.await("transfer")
	put("a", name, value, http.StatusOK)
	m.signal(syscall.SIGINT)
	if r := m.exit(patience); r.code != exitRolledBack {
		t.Errorf("exit %d", r.code)
	}
	said.WriteString(m.said())
	_, r := w.migrate(exitDone, "orders", "b", "--verbose")
	tell(r)
	put("b", name, value, http.StatusOK)
	_, r = w.migrate(exitFailed, "nothing", "a", "--verbose")
	tell(r)
	tell(command(t, "status", "--cluster", w.path("o"), "--as", "o", "--json"))
	tell(command(t, "settle", "--cluster", w.path("o"), "--as", "o", "--daemon", "orders"))
	if got := w.daemonSeed("b"); !bytes.Equal(got, secrets["the key of the daemon"]) {
		t.Error("the daemon's key has not moved")
	}
	said.WriteString(a.said())
	said.WriteString(b.said())

	text := said.String()
	if len(text) < 4<<10 || !strings.Contains(text, "level=DEBUG") {
		t.Fatalf("only %d bytes were said:\n%s", len(text), text)
	}
	for what, secret := range secrets {
		for form, of := range formsOf(secret) {
			if strings.Contains(text, of) {
				t.Errorf("%s, as %s, is in what was said", what, form)
			}
		}
	}
}

// formsOf is how bytes come to be printed.
func formsOf(b []byte) map[string]string {
	list := fmt.Sprintf("%v", b)
	return map[string]string{
		"it is": string(b), "hex": hex.EncodeToString(b), "HEX": strings.ToUpper(hex.EncodeToString(b)), "a list": strings.Trim(list, "[]"),
		// Whatever stands before it, one of three alignments fits; the ends depend on what is beside it.
		"base64":    strings.Trim(base64.RawStdEncoding.EncodeToString(b), "=")[:len(b)*4/3-4],
		"base64, 1": base64.RawStdEncoding.EncodeToString(append([]byte{0}, b...))[4 : len(b)*4/3-4],
		"base64, 2": base64.RawStdEncoding.EncodeToString(append([]byte{0, 0}, b...))[4 : len(b)*4/3-4],
	}
}

// daemonSeed is the secret of the one daemon that a node has.
func (w *world) daemonSeed(node string) (seed []byte) {
	w.t.Helper()
	mustDo(w.t, filepath.WalkDir(w.file.DataDir(node), func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.Name() != "key.pem" {
			return err
		}
		key, err := identity.LoadKey(path)
		if err != nil {
			return err
		}
		s, err := key.Seed()
		seed = s[:]
		return err
	}))
	if seed == nil {
		w.t.Fatalf("node %s has no daemon's key", node)
	}
	return seed
}
