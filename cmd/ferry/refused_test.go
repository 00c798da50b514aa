package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ferry/cluster"
	"ferry/frame"
	"ferry/identity"
)

// ownFile gives a node a cluster file of its own, in which change has been made,
// with this key beside it.
func (w *world) ownFile(name string, key *identity.Key, change func(*cluster.Node)) {
	w.t.Helper()
	dir := w.t.TempDir()
	mustDo(w.t, os.MkdirAll(filepath.Join(dir, "keys"), 0o700))
	mustDo(w.t, identity.SaveKey(filepath.Join(dir, "keys", name+".pem"), key))
	file := cluster.File{}
	for _, n := range w.file.Nodes {
		change(&n)
		file.Nodes = append(file.Nodes, n)
	}
	path := filepath.Join(dir, cluster.FileName)
	mustDo(w.t, file.Save(path))
	w.files[name] = path
}

func (w *world) key(name string) *identity.Key {
	w.t.Helper()
	key, err := w.file.Key(name)
	mustDo(w.t, err)
	return key
}

func newKey(t *testing.T) *identity.Key {
	t.Helper()
	key, err := identity.GenerateKey(nil)
	mustDo(t, err)
	return key
}

// untouched checks that a refused move has left nothing behind.
func (w *world) untouched(epoch frame.Epoch) {
	w.t.Helper()
	if st := w.owner("orders", "a", "b"); st.Epoch != epoch {
		w.t.Errorf("epoch %d, was %d", st.Epoch, epoch)
	}
	w.serving("a", "orders")
}

// Who shows a key that the cluster does not have is told so, and each node says
// it once, however often it is tried.
func TestUnknownKeyIsRefused(t *testing.T) {
	slow(t)
	w := newWorld(t, "a", "b", "o")
	a, b := w.node("a", "--daemon", "orders"), w.node("b")
	stranger := newKey(t)
	w.ownFile("o", stranger, func(n *cluster.Node) {
		if n.Name == "o" {
			n.PublicKey = stranger.Public()
		}
	})
	before := w.owner("orders", "a", "b").Epoch
	for range 2 {
		r := command(t, w.migrateArgs("orders", "b", "--quiet")...)
		if r.code != exitFailed || r.stdout != "" {
			t.Errorf("exit %d, stdout %q", r.code, r.stdout)
		}
		oneLineSays(t, r.stderr, "key refused", "has this node's public_key")
		if strings.Contains(r.stderr, "ferry node") {
			t.Errorf("says to start nodes that are there: %s", r.stderr)
		}
	}
	for _, p := range []*proc{a, b} {
		line := p.await("node key refused")
		for _, s := range []string{stranger.NodeID().String(), "addr=127.0.0.1:", "unknown node", cluster.FileName} {
			if !strings.Contains(line, s) {
				t.Errorf("does not say %q: %s", s, line)
			}
		}
		if n := strings.Count(p.said(), "level=WARN"); n != 1 {
			t.Errorf("%d warnings:\n%s", n, p.said())
		}
	}
	r := command(t, "status", "--cluster", w.path("o"), "--as", "o")
	if r.code != exitFailed {
		t.Errorf("status: exit %d, %s", r.code, r.stdout)
	}
	oneLineSays(t, r.stderr, "lets this one in", "has this node's public_key")
	w.untouched(before)
}

// Whoever dials a node and finds another key than the pinned one says both keys
// and where to look. The node that was dialed learns no more than that its key
// was refused, and from where.
func TestOtherKeyThanPinned(t *testing.T) {
	slow(t)
	w := newWorld(t, "a", "b", "o")
	a := w.node("a", "--daemon", "orders")
	w.node("b")
	other := newKey(t)
	w.ownFile("o", w.key("o"), func(n *cluster.Node) {
		if n.Name == "a" {
			n.PublicKey = other.Public()
		}
	})
	before := w.owner("orders", "a", "b").Epoch
	for range 2 {
		r := command(t, w.migrateArgs("orders", "b", "--quiet")...)
		if r.code != exitFailed || r.stdout != "" {
			t.Errorf("exit %d, stdout %q", r.code, r.stdout)
		}
		oneLineSays(t, r.stderr, "no answer from a", w.find("a").Addr, "correct addr or public_key",
			fmt.Sprintf("peer has key %s", identity.FormatPublic(w.find("a").PublicKey)),
			fmt.Sprintf("key %s is pinned", identity.FormatPublic(other.Public())))
	}
	line := a.await("a dialer refuses this node's key")
	for _, s := range []string{"addr=127.0.0.1:", "bad certificate"} {
		if !strings.Contains(line, s) {
			t.Errorf("does not say %q: %s", s, line)
		}
	}
	if n := strings.Count(a.said(), "level=WARN"); n != 1 {
		t.Errorf("%d warnings:\n%s", n, a.said())
	}
	w.untouched(before)
}

// A node of the cluster that a node does not let orchestrate.
func TestNotAnOrchestrator(t *testing.T) {
	slow(t)
	w := newWorld(t, "a", "b", "o")
	deny := func(n *cluster.Node) {
		if n.Name == "o" {
			n.Orchestrator, n.Asks = false, true
		}
	}
	w.ownFile("a", w.key("a"), deny)
	w.ownFile("b", w.key("b"), deny)
	a := w.node("a", "--daemon", "orders")
	w.node("b")
	before := w.owner("orders", "a", "b").Epoch
	for range 2 {
		r := command(t, w.migrateArgs("orders", "b", "--quiet")...)
		if r.code != exitFailed || r.stdout != "" {
			t.Errorf("exit %d, stdout %q", r.code, r.stdout)
		}
		oneLineSays(t, r.stderr, "orders: refused", "the sender is not on this node's list of orchestrators")
	}
	line := a.await("has not this role")
	for _, s := range []string{w.find("o").ID().String(), "daemon=orders", "kind=Begin", "not on this node's list of orchestrators"} {
		if !strings.Contains(line, s) {
			t.Errorf("does not say %q: %s", s, line)
		}
	}
	if n := strings.Count(a.said(), "level=WARN"); n != 1 {
		t.Errorf("%d warnings:\n%s", n, a.said())
	}
	w.untouched(before)
}

// A key that the nodes know and do not let ask is told so at once, of each node.
func TestMayNotAsk(t *testing.T) {
	slow(t)
	w := newWorld(t, "a", "b", "o")
	w.ownFile("b", w.key("b"), func(n *cluster.Node) {
		if n.Name == "o" {
			n.Orchestrator = false
		}
	})
	w.node("a", "--daemon", "orders")
	b := w.node("b")
	r := command(t, "status", "--cluster", w.path("o"), "--as", "o")
	if r.code != exitFailed || !strings.Contains(r.stdout, "does not let this key ask") || !strings.Contains(r.stdout, "orders") {
		t.Errorf("exit %d:\n%s", r.code, r.stdout)
	}
	oneLineSays(t, r.stderr, "may not ask b:", "asks = true")
	if r = command(t, "status", "--cluster", w.path("o"), "--as", "o", "--json"); r.code != exitFailed || strings.Count(r.stdout, `"denied":true`) != 1 {
		t.Errorf("exit %d:\n%s", r.code, r.stdout)
	}
	if line := b.await("query refused"); !strings.Contains(line, w.find("o").ID().String()) {
		t.Errorf("does not say who: %s", line)
	}
	r = command(t, "status", "--cluster", w.path("o"), "--as", "a")
	if r.code != 0 || !strings.Contains(r.stdout, "up, no daemons") {
		t.Errorf("an orchestrator: exit %d:\n%s%s", r.code, r.stdout, r.stderr)
	}
}

// A target that does not let the orchestrator bring it anything.
func TestNotTheTargetsOrchestrator(t *testing.T) {
	slow(t)
	w := newWorld(t, "a", "b", "o")
	w.ownFile("b", w.key("b"), func(n *cluster.Node) {
		if n.Name == "o" {
			n.Orchestrator, n.Asks = false, true
		}
	})
	a, b := w.node("a", "--daemon", "orders"), w.node("b")
	for range 2 {
		r := command(t, w.migrateArgs("orders", "b", "--quiet", "--wait", "0")...)
		if r.code != exitFailed || r.stdout != "" {
			t.Errorf("exit %d, stdout %q", r.code, r.stdout)
		}
		oneLineSays(t, r.stderr, "orders: refused", "the sender is not on this node's list of orchestrators")
	}
	line := b.await("has not this role")
	for _, s := range []string{w.find("o").ID().String(), "kind=Prepare", "not on this node's list of orchestrators"} {
		if !strings.Contains(line, s) {
			t.Errorf("does not say %q: %s", s, line)
		}
	}
	if n := strings.Count(b.said(), "level=WARN"); n != 1 || strings.Contains(a.said(), "level=WARN") {
		t.Errorf("%d warnings at b:\n%s\nat a:\n%s", n, b.said(), a.said())
	}
	w.serving("a", "orders")
}

// supply puts a certificate of an operator's CA beside a node's key.
func (w *world) supply(name string, from, to time.Time) {
	w.t.Helper()
	_, ca, err := ed25519.GenerateKey(nil)
	mustDo(w.t, err)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: from, NotAfter: to},
		&x509.Certificate{SerialNumber: big.NewInt(2)}, w.find(name).PublicKey, ca)
	mustDo(w.t, err)
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	mustDo(w.t, os.WriteFile(w.file.CertificatePath(name), text, 0o644))
}

// A certificate that an operator puts beside a key is shown, and is looked at
// when its node starts. What peers make of one that has expired since, package
// transport tests.
func TestCertificateOfAnOperators(t *testing.T) {
	slow(t)
	w := newWorld(t, "a", "b", "o")
	now := time.Now()
	w.supply("a", now.AddDate(0, 0, -2), now.AddDate(0, 0, -1))
	r := command(t, "node", "--cluster", w.path("a"), "--name", "a")
	if r.code != exitFailed {
		t.Errorf("exit %d", r.code)
	}
	oneLineSays(t, r.stderr, "a.crt", "has expired", "good from "+now.AddDate(0, 0, -2).UTC().Format(time.RFC3339))

	w.supply("a", now.Add(-time.Hour), now.AddDate(1, 0, 0))
	w.supply("b", now.Add(-time.Hour), now.AddDate(0, 0, 10))
	a, b := w.node("a", "--daemon", "orders", "--create"), w.node("b")
	b.await("the certificate expires soon")
	w.migrate(exitDone, "orders", "b")
	w.serving("b", "orders")
	if strings.Contains(a.said(), "level=WARN") {
		t.Error(a.said())
	}
	mustDo(t, os.WriteFile(w.file.CertificatePath("o"), []byte("hello"), 0o644))
	r = command(t, w.migrateArgs("orders", "a", "--quiet")...)
	if r.code != exitFailed {
		t.Errorf("exit %d", r.code)
	}
	oneLineSays(t, r.stderr, "o.crt", "not a certificate for this key")
}
