package daemon

import (
	"context"
	"crypto/ed25519"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"ferry/identity"
	"ferry/migration"
	"ferry/proto0500"
	"ferry/snapshot"
	"ferry/transport"
)

type oneNode struct{ key *identity.Key }

func (r oneNode) Resolve(_ context.Context, id identity.NodeID) (transport.Address, error) {
	return transport.Address{ID: id, Key: r.key.Public()}, nil
}

// TestSealKey: the source seals for the key that its target has announced for this attempt, and for no other.
func TestSealKey(t *testing.T) {
	daemon, target, other := identity.KeyFromSeed([32]byte{1}), identity.KeyFromSeed([32]byte{2}), identity.KeyFromSeed([32]byte{3})
	origin, link := proto0500.Origin(daemon.Origin()), proto0500.Genesis(proto0500.Origin(daemon.Origin()))
	s := &steward{
		h:      &Host{ctx: t.Context(), cfg: Config{Resolver: oneNode{target}, AttemptTimeout: time.Minute}},
		origin: origin, rep: &replica{key: daemon}, log: slog.New(slog.DiscardHandler),
	}
	announced := func(node *identity.Key, epoch uint64) migration.SealFor {
		r, err := identity.NewRecipient(node, identity.Origin(origin), epoch)
		if err != nil {
			t.Fatal(err)
		}
		return migration.SealFor{Key: r.Public, Signature: r.Signature}
	}
	for name, sealFor := range map[string]migration.SealFor{
		"nobody told":           {},
		"of another node":       announced(other, 5),
		"of an earlier attempt": announced(target, 4),
	} {
		if sealed, err := s.sealKey(migration.StartCopy{Epoch: 5, Target: 2, SealFor: sealFor}, link); !errors.Is(err, errIdentity) || sealed != nil {
			t.Errorf("%s: %x, %v", name, sealed, err)
		} else if r := stateFailed(err); r.Code != proto0500.CodeIdentityTransportFailed {
			t.Errorf("%s: said as %v", name, r)
		}
	}
	r, err := identity.NewRecipient(target, identity.Origin(origin), 5)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := s.sealKey(migration.StartCopy{Epoch: 5, Target: 2, SealFor: migration.SealFor{Key: r.Public, Signature: r.Signature}}, link)
	if err != nil {
		t.Fatal(err)
	}

	// The target opens it, once it is the right one, of the right daemon, at the right event.
	elsewhere := link
	elsewhere.ParentHash++
	stranger, err := identity.NewRecipient(target, identity.Origin(origin), 5)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, c := range map[string]struct {
		recipient *identity.Recipient
		entity    ed25519.PublicKey
		link      proto0500.Link
	}{
		"another recipient": {stranger, daemon.Public(), link},
		"another daemon":    {r, other.Public(), link},
		"another event":     {r, daemon.Public(), elsewhere},
	} {
		in := &inbound{s: s, dir: dir, recipient: c.recipient, entity: c.entity}
		res := &snapshot.Result{Header: snapshot.Header{ChainLink: c.link}, Identity: sealed}
		if err := in.takeKey(res); !errors.Is(err, errIdentity) {
			t.Errorf("%s: %v", name, err)
		}
		if left, _ := os.ReadDir(dir); len(left) != 0 {
			t.Errorf("%s: left %v", name, left)
		}
	}
	in := &inbound{s: s, dir: dir, recipient: r, entity: daemon.Public()}
	if err := in.takeKey(&snapshot.Result{Header: snapshot.Header{ChainLink: link}, Identity: sealed}); err != nil {
		t.Fatal(err)
	}
	if key, err := loadKey(dir, origin); err != nil || !key.Public().Equal(daemon.Public()) {
		t.Errorf("%v, %v", key, err)
	}
	if _, err := loadKey(dir, origin+1); err == nil {
		t.Error("the key of another daemon is taken")
	}
	if err := wipeKey(dir); err != nil {
		t.Error(err)
	}
	if key, err := loadKey(dir, origin); key != nil || err != nil {
		t.Errorf("after wiping: %v, %v", key, err)
	}
	if err := wipeKey(filepath.Join(dir, "none")); err != nil {
		t.Errorf("nothing to wipe: %v", err)
	}
}
