package identity

import (
	"errors"
	"testing"
)

func TestRecipient(t *testing.T) {
	node, other, daemon := newTestKey(t, 1), newTestKey(t, 2), newTestKey(t, 3)
	origin, link := daemon.Origin(), [32]byte{9}
	r, err := NewRecipient(node, origin, 5)
	if err != nil {
		t.Fatal(err)
	}
	public, err := VerifyRecipient(node.Public(), origin, 5, r.Public, r.Signature)
	if err != nil {
		t.Fatal(err)
	}
	env, err := Seal(nil, daemon, public, link)
	if err != nil {
		t.Fatal(err)
	}
	want, _ := daemon.Seed()
	if seed, err := Open(env[:], r.Secret, daemon.Public(), link); err != nil || seed != want {
		t.Errorf("opened %x, %v", seed, err)
	}

	changed := r.Public
	changed[0] ^= 1
	forged := r.Signature
	forged[0] ^= 1
	for name, verify := range map[string]func() error{
		"another node":   func() error { _, err := VerifyRecipient(other.Public(), origin, 5, r.Public, r.Signature); return err },
		"another daemon": func() error { _, err := VerifyRecipient(node.Public(), origin+1, 5, r.Public, r.Signature); return err },
		"another epoch":  func() error { _, err := VerifyRecipient(node.Public(), origin, 6, r.Public, r.Signature); return err },
		"another key":    func() error { _, err := VerifyRecipient(node.Public(), origin, 5, changed, r.Signature); return err },
		"not signed":     func() error { _, err := VerifyRecipient(node.Public(), origin, 5, r.Public, forged); return err },
		"none":           func() error { _, err := VerifyRecipient(node.Public(), origin, 5, [32]byte{}, [64]byte{}); return err },
	} {
		if err := verify(); !errors.Is(err, ErrRecipient) {
			t.Errorf("%s: %v", name, err)
		}
	}
	again, err := NewRecipient(node, origin, 5)
	if err != nil || again.Public == r.Public {
		t.Errorf("the same key twice: %v", err)
	}
}
