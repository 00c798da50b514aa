package identity

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/rand"
	"errors"
	"testing"
)

func TestSealForANode(t *testing.T) {
	daemon, node, other := newTestKey(t, 1), newTestKey(t, 2), newTestKey(t, 3)
	recipient, err := SealingPublic(node.Public())
	if err != nil {
		t.Fatal(err)
	}
	link := [32]byte{0: 1, 31: 2}
	env, err := Seal(nil, daemon, recipient, link)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Seal(nil, daemon, recipient, link)
	if err != nil || env == again {
		t.Errorf("two envelopes have the same ephemeral key (%v)", err)
	}

	secret := mustSealingKey(t, node)
	seed, err := Open(env[:], secret, daemon.Public(), link)
	if want, _ := daemon.Seed(); err != nil || seed != want {
		t.Errorf("Open = %x, %v", seed, err)
	}
	if _, err := Open(env[:], mustSealingKey(t, other), daemon.Public(), link); !errors.Is(err, ErrEnvelopeSealed) {
		t.Errorf("another node's Open = %v, want ErrEnvelopeSealed", err)
	}
	if _, err := Open(env[:], nil, daemon.Public(), link); !errors.Is(err, ErrEnvelopeSealed) {
		t.Errorf("Open without recipient = %v, want ErrEnvelopeSealed", err)
	}
	if _, err := Open(env[:], secret, nil, link); !errors.Is(err, ErrEnvelopeSigner) {
		t.Errorf("Open that expects no signer = %v, want ErrEnvelopeSigner", err)
	}
	for i := range env { // no byte is without meaning
		env[i] ^= 1
		if _, err := Open(env[:], secret, daemon.Public(), link); err == nil {
			t.Errorf("byte %d changed, and it opened", i)
		}
		env[i] ^= 1
	}
}

func TestSealingKeysMatch(t *testing.T) {
	for i := range byte(50) {
		k := newTestKey(t, i)
		public, err := SealingPublic(k.Public())
		if err != nil {
			t.Fatal(err)
		}
		if got := mustSealingKey(t, k).PublicKey(); !got.Equal(public) {
			t.Fatalf("%x from the secret, %x from the public key", got.Bytes(), public.Bytes())
		}
	}
}

func TestSealRefuses(t *testing.T) {
	daemon := newTestKey(t, 1)
	p256, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	lowOrder, err := ecdh.X25519().NewPublicKey(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	good := mustSealingKey(t, newTestKey(t, 2)).PublicKey()
	for name, recipient := range map[string]*ecdh.PublicKey{
		"none": nil, "P-256": p256.PublicKey(), "low order": lowOrder,
	} {
		if env, err := Seal(nil, daemon, recipient, [32]byte{}); !errors.Is(err, ErrBadKey) || env != (Envelope{}) {
			t.Errorf("recipient %s: %v, want ErrBadKey and no envelope", name, err)
		}
	}
	if _, err := Seal(bytes.NewReader(nil), daemon, good, [32]byte{}); err == nil {
		t.Error("sealed without randomness")
	}
	token, err := NewKey(opaqueSigner{daemon.signer})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Seal(nil, token, good, [32]byte{}); !errors.Is(err, ErrNoSeed) {
		t.Errorf("a key in a token: %v, want ErrNoSeed", err)
	}
	for _, y := range lowOrderY {
		if _, err := SealingPublic(y[:]); !errors.Is(err, ErrBadKey) {
			t.Errorf("SealingPublic(%x) = %v, want ErrBadKey", y, err)
		}
	}
	if _, err := SealingPublic(nil); !errors.Is(err, ErrBadKey) {
		t.Errorf("SealingPublic(nil) = %v, want ErrBadKey", err)
	}
}

func mustSealingKey(t *testing.T, k *Key) *ecdh.PrivateKey {
	t.Helper()
	secret, err := k.SealingKey()
	if err != nil {
		t.Fatal(err)
	}
	return secret
}

// newTestKey is always the same for the same number.
func newTestKey(t *testing.T, n byte) *Key {
	t.Helper()
	return KeyFromSeed([32]byte{0: n, 1: 0x7e})
}

// opaqueSigner signs and gives no secret out.
type opaqueSigner struct{ crypto.Signer }
