package identity

import (
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/sha512"
	"fmt"
	"math/big"
	"slices"
)

// A node has one key. The X25519 key for which envelopes are sealed follows
// from it (the map of RFC 7748 section 4.1 between the two curves), so that
// whoever pins a node can also seal for it.

// SealingKey is the X25519 key that opens what was sealed for SealingPublic of
// this key, or ErrNoSeed.
func (k *Key) SealingKey() (*ecdh.PrivateKey, error) {
	seed, err := k.Seed()
	if err != nil {
		return nil, err
	}
	// The secret scalar of ed25519 (RFC 8032 section 5.1.5); X25519 clamps it alike.
	digest := sha512.Sum512(seed[:])
	private, err := ecdh.X25519().NewPrivateKey(digest[:32])
	if err != nil {
		return nil, fmt.Errorf("identity: sealing key: %w", err)
	}
	return private, nil
}

// SealingPublic is the X25519 key to seal for, made from a node's ed25519 key:
// u = (1 + y) / (1 - y) mod p. ErrBadKey for a key of low order or wrong length.
// That the bytes are a point at all is not checked: nobody could open then.
func SealingPublic(pub ed25519.PublicKey) (*ecdh.PublicKey, error) {
	if len(pub) != ed25519.PublicKeySize || lowOrder(pub) {
		return nil, fmt.Errorf("identity: sealing key: %w: %x", ErrBadKey, []byte(pub))
	}
	p := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
	one := big.NewInt(1)

	bigEndian := slices.Clone(pub)
	bigEndian[31] &= 0x7f // the sign of x
	slices.Reverse(bigEndian)
	y := new(big.Int).SetBytes(bigEndian)

	u := new(big.Int).Sub(one, y)
	u.ModInverse(u.Mod(u, p), p) // y is not 1: that point is of low order
	u.Mul(u, y.Add(y, one)).Mod(u, p)

	raw := u.FillBytes(make([]byte, 32))
	slices.Reverse(raw)
	x, err := ecdh.X25519().NewPublicKey(raw)
	if err != nil {
		return nil, fmt.Errorf("identity: sealing key: %w", err)
	}
	return x, nil
}
