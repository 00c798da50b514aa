package state

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ed25519"
	"errors"
	"testing"

	"ferry/fuzz/internal/harness"
	"ferry/identity"
)

// fixedRandom is the randomness of a seal that can be repeated.
type fixedRandom byte

func (r fixedRandom) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = byte(r) + byte(i)
	}
	return len(b), nil
}

// FuzzEnvelope: what is sealed opens for its recipient, signer and link as the seed that went in, and with any byte
// changed, at any other link, for any other recipient or signer it does not. The change is made before or, mended, with
// a signature of the daemon that fits it again. Bytes of anybody's get a typed error and no seed.
func FuzzEnvelope(f *testing.F) { fuzzEnvelope(f) }

func fuzzEnvelope(f harness.F) {
	harness.Vectors(f, "identity/testdata/identity.jsonl", "envelope", func(b []byte) {
		f.Add(b, uint8(1), uint8(2), []byte{3}, uint16(0), uint8(0), false)
	})
	for _, at := range []uint16{0, 1, 33, 65, 97, 113, 145} { // every field's first byte
		f.Add([]byte{}, uint8(1), uint8(2), []byte("link"), at, uint8(1), true)
		f.Add([]byte{}, uint8(1), uint8(2), []byte("link"), at, uint8(0), true)
	}
	f.Fuzz(func(t *testing.T, foreign []byte, daemon, node uint8, linkBytes []byte, at uint16, flip uint8, mend bool) {
		key, recipient := identity.KeyFromSeed([32]byte{daemon, 1}), identity.KeyFromSeed([32]byte{node, 2})
		secret, err := recipient.SealingKey()
		if err != nil {
			t.Fatal(err)
		}
		public, err := identity.SealingPublic(recipient.Public())
		if err != nil || !public.Equal(secret.PublicKey()) {
			t.Fatalf("%v: the two ways to the recipient's key differ", err)
		}
		var link [32]byte
		copy(link[:], linkBytes)
		env, err := identity.Seal(fixedRandom(flip), key, public, link)
		if err != nil {
			t.Fatal(err)
		}
		seed, err := identity.Open(env[:], secret, key.Public(), link)
		if harness.Canary() && flip == 0 && len(linkBytes) > 3 {
			seed[31]++
		}
		if want, _ := key.Seed(); err != nil || seed != want {
			t.Fatalf("sealed and opened: %x, %v, not %x", seed, err, want)
		}
		harness.Accept("sealed")

		changed := env
		changed[int(at)%len(changed)] ^= flip
		if mend { // the daemon attests what it did not seal: its recipient and link
			sig, err := key.Sign(append(bytes.Clone(changed[1:33]), link[:]...))
			if err != nil {
				t.Fatal(err)
			}
			copy(changed[145:], sig)
		}
		if changed != env {
			unopened(t, changed[:], secret, key.Public(), link)
		}
		if flip != 0 {
			other := link
			other[int(at)%len(other)] ^= flip
			unopened(t, env[:], secret, key.Public(), other)
		}
		unopened(t, env[:], secret, identity.KeyFromSeed([32]byte{daemon, 3}).Public(), link)
		stranger, err := identity.KeyFromSeed([32]byte{node, 4}).SealingKey()
		if err != nil {
			t.Fatal(err)
		}
		unopened(t, env[:], stranger, key.Public(), link)
		if len(foreign) == identity.EnvelopeBytes && bytes.Equal(foreign, env[:]) {
			return
		}
		unopened(t, foreign, secret, key.Public(), link)
	})
}

func unopened(t *testing.T, b []byte, recipient *ecdh.PrivateKey, signer ed25519.PublicKey, link [32]byte) {
	t.Helper()
	before := bytes.Clone(b)
	seed, err := identity.Open(b, recipient, signer, link)
	if err == nil || seed != [32]byte{} {
		t.Fatalf("%x opens as %x, %v", b, seed, err)
	}
	if !errors.Is(err, identity.ErrEnvelopeFormat) && !errors.Is(err, identity.ErrEnvelopeSigner) &&
		!errors.Is(err, identity.ErrEnvelopeProof) && !errors.Is(err, identity.ErrEnvelopeSealed) {
		t.Fatalf("%T: %v", err, err)
	}
	if errors.Is(err, identity.ErrEnvelopeFormat) != (len(b) != identity.EnvelopeBytes || b[0] != 1) {
		t.Fatalf("%d bytes: %v", len(b), err)
	}
	if !bytes.Equal(b, before) {
		t.Fatal("the input was written to")
	}
}
