package daemon_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"ferry/daemon"
	"ferry/identity"
	"ferry/journal"
	"ferry/proto0500"
)

func TestConfigIsChecked(t *testing.T) {
	w := newWorld(t, "a")
	good := daemon.Config{Key: w.keys["a"], Dir: t.TempDir(), Journal: journal.NewMemory(), Resolver: w}
	open := func(daemon.Env) (daemon.Daemon, error) { return nil, nil }
	for name, spoil := range map[string]func(*daemon.Config){
		"no key":      func(c *daemon.Config) { c.Key = nil },
		"no dir":      func(c *daemon.Config) { c.Dir = "" },
		"no journal":  func(c *daemon.Config) { c.Journal = nil },
		"no resolver": func(c *daemon.Config) { c.Resolver = nil },
		"no name":     func(c *daemon.Config) { c.Kinds = []daemon.Kind{{Open: open}} },
		"no open":     func(c *daemon.Config) { c.Kinds = []daemon.Kind{{Name: "k"}} },
		"twice":       func(c *daemon.Config) { c.Kinds = []daemon.Kind{{Name: "k", Open: open}, {Name: "k", Open: open}} },
	} {
		c := good
		spoil(&c)
		if _, err := daemon.New(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := daemon.New(good); err != nil {
		t.Error(err)
	}
}

// TestCreate makes a daemon once, whoever else tries, and says what is wrong.
func TestCreate(t *testing.T) {
	w := newWorld(t, "a", "o")
	h := new(hooks)
	a := w.run("a", with(h))
	ctx := context.Background()
	for _, name := range []string{"", "\xff", strings.Repeat("x", 256)} {
		if err := a.Create(ctx, name, "diary"); err == nil {
			t.Errorf("name %q was taken", name)
		}
	}
	if err := a.Create(ctx, "d", "no such"); !errors.Is(err, daemon.ErrUnknownKind) {
		t.Errorf("unknown kind: %v", err)
	}
	h.on("open", func() error { return errDisk })
	if err := a.Create(ctx, "d", "diary"); !errors.Is(err, errDisk) {
		t.Errorf("a daemon that does not open: %v", err)
	}
	if left := w.files("a", "*"); len(left) != 0 {
		t.Errorf("it has left %q", left)
	}
	h.on("open", nil)
	if _, err := a.Write(ctx, "d", nil); !errors.Is(err, daemon.ErrUnknownDaemon) {
		t.Errorf("a write to what is not there: %v", err)
	}
	var made atomic.Int32
	var work sync.WaitGroup
	for range 8 {
		work.Go(func() {
			switch err := a.Create(ctx, "d", "diary"); {
			case err == nil:
				made.Add(1)
			case !errors.Is(err, daemon.ErrExists):
				t.Error(err)
			}
		})
	}
	work.Wait()
	if made.Load() != 1 || len(a.List()) != 1 {
		t.Errorf("made %d times, listed %+v", made.Load(), a.List())
	}
	if key := w.files("a", "*", "e0", "key.pem"); len(key) != 1 {
		t.Errorf("key files: %q", key)
	} else if k, err := identity.LoadKey(key[0]); err != nil || proto0500.Origin(k.Origin()) != a.status("d").Origin {
		t.Errorf("the key file: %v", err)
	}
}

// TestQuery: a node tells what it has at this moment, not at its last step, and tells those who may ask.
func TestQuery(t *testing.T) {
	w := newWorld(t, "a", "b", "c", "o")
	a, b, c := w.run("a", func(cfg *daemon.Config) { cfg.Askers = identity.NewAllowList(w.keys["b"].NodeID()) }), w.run("b", nil), w.run("c", nil)
	o := w.orchestrator(journal.NewMemory(), nil)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if got, err := b.Query(ctx, a.Node()); err != nil || len(got) != 0 {
		t.Errorf("a node without daemons tells %+v, %v", got, err)
	}
	one := a.create("one", "diary")
	a.create("two", "counter")
	a.fill("one", lines(0, 7))
	got, err := b.Query(ctx, a.Node())
	if err != nil || len(got) != 2 {
		t.Fatalf("%+v, %v", got, err)
	}
	r := got[0]
	st := a.status("one")
	if r.DaemonOrigin != one || r.Name.String() != "one" || r.DaemonKind.String() != "diary" || !r.Copy ||
		r.State != proto0500.StateServing || r.Seq != 7 || r.Head != st.Head.Link || r.HeadHash != st.Head.Hash {
		t.Errorf("told %+v", r)
	}
	if got, err := o.Query(ctx, a.Node()); err != nil || len(got) != 2 {
		t.Errorf("an orchestrator is told %+v, %v", got, err)
	}
	const refused = "query refused: the node may not ask which daemons are here"
	for n := range 3 {
		got, err := c.Query(ctx, a.Node())
		if no, ok := errors.AsType[*daemon.RefusedError](err); !ok || no.Reason != proto0500.RejectWrongPeer || no.Node != a.Node() || len(got) != 0 {
			t.Errorf("a node that may not ask is told %+v, %v", got, err)
		}
		if counted := a.Refused()[refused]; counted != uint64(n+1) {
			t.Errorf("%d refusals counted", counted)
		}
	}
}

// TestHostEnds: what comes after the end is told so.
func TestHostEnds(t *testing.T) {
	w := newWorld(t, "a", "o")
	a := w.run("a", nil)
	a.create("d", "diary")
	a.end()
	ctx := context.Background()
	if _, err := a.Write(ctx, "d", nil); !errors.Is(err, daemon.ErrClosed) {
		t.Errorf("a write: %v", err)
	}
	if err := a.Create(ctx, "e", "diary"); !errors.Is(err, daemon.ErrClosed) {
		t.Errorf("a create: %v", err)
	}
	if err := a.Run(ctx); err == nil {
		t.Error("it runs a second time")
	}
}

// TestHostDoesNotStart on a journal that cannot be read, and lets everybody know.
func TestHostDoesNotStart(t *testing.T) {
	w := newWorld(t, "a")
	j := journal.NewMemory()
	_ = j.Close()
	h, err := daemon.New(daemon.Config{Key: w.keys["a"], Dir: t.TempDir(), Journal: j, Resolver: w})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Endpoint().Listen("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	if err := h.Run(context.Background()); !errors.Is(err, journal.ErrClosed) {
		t.Errorf("got %v", err)
	}
	if _, err := h.Write(context.Background(), "d", nil); !errors.Is(err, daemon.ErrClosed) {
		t.Errorf("a write: %v", err)
	}
}

// TestStateIsMissing: the record says that the daemon is here, and its state is
// gone or of no use. It is not started anew, and the others are.
func TestStateIsMissing(t *testing.T) {
	w := newWorld(t, "a", "b", "o")
	a := w.run("a", nil)
	origin := a.create("d", "diary")
	a.create("e", "diary")
	a.fill("d", lines(0, 3))
	a.end()
	dir := w.files("a", "*", "e0")
	for _, d := range dir {
		if strings.Contains(d, originDir(origin)) {
			if err := os.RemoveAll(d); err != nil {
				t.Fatal(err)
			}
		}
	}
	a = w.run("a", nil)
	ctx := context.Background()
	if _, err := a.Write(ctx, "d", nil); !errors.Is(err, daemon.ErrStopped) {
		t.Errorf("a write: %v", err)
	}
	if err := a.Create(ctx, "d", "diary"); !errors.Is(err, daemon.ErrExists) {
		t.Errorf("created anew: %v", err)
	}
	a.write("e", []byte("on"))
	// The same for a kind that this node does not know any more.
	a.end()
	a = w.run("a", func(c *daemon.Config) { c.Kinds = nil })
	if _, err := a.Write(ctx, "e", nil); !errors.Is(err, daemon.ErrUnknownKind) {
		t.Errorf("a write to a daemon of an unknown kind: %v", err)
	}
}

func originDir(o proto0500.Origin) string { return fmt.Sprintf("%016x", uint64(o)) }
