package identity

import (
	"crypto/ed25519"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// ErrBadKey: these bytes are not a key that can be used.
var ErrBadKey = errors.New("not a usable ed25519 key")

// ParsePublic reads a public key written as 64 hexadecimal digits. It looks at
// the form only: any 32 bytes pass, as any 32 bytes have a name. A key that
// nobody can hold never proves itself in TLS, VerifyChannel or Open.
func ParsePublic(text string) (ed25519.PublicKey, error) {
	raw, err := hex.DecodeString(strings.TrimSpace(text))
	if err != nil || len(raw) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("identity: %w: a public key is %d hexadecimal digits", ErrBadKey, 2*ed25519.PublicKeySize)
	}
	return ed25519.PublicKey(raw), nil
}

// FormatPublic is what ParsePublic reads.
func FormatPublic(pub ed25519.PublicKey) string { return hex.EncodeToString(pub) }

// lowOrderY are the y coordinates of the points of order 1, 2, 4 and 8, as they
// are encoded, those that are not reduced mod p included; without the sign bit.
// Under such a "public key" a signature can be made by anyone.
var lowOrderY = [...][32]byte{
	{}, // 0: order 4
	{0: 1},
	{0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0,
		0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05},
	{0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f,
		0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a},
	nearP(0xec), // p-1: order 2
	nearP(0xed), // p, that is 0
	nearP(0xee), // p+1, that is 1
}

// nearP is 2^255 - 256 + low, little endian: p itself ends in 0xed.
func nearP(low byte) (y [32]byte) {
	for i := range y {
		y[i] = 0xff
	}
	y[0], y[31] = low, 0x7f
	return y
}

func lowOrder(point []byte) bool {
	y := [32]byte(point)
	y[31] &= 0x7f
	for i := range lowOrderY {
		if subtle.ConstantTimeCompare(y[:], lowOrderY[i][:]) == 1 {
			return true
		}
	}
	return false
}

// verifyStrict is ed25519.Verify that also refuses a key or an R of low order,
// as the verification of the identity envelope does ("strictly"). It never
// panics, whatever the lengths.
func verifyStrict(pub ed25519.PublicKey, message, sig []byte) bool {
	if len(pub) != ed25519.PublicKeySize || len(sig) != ed25519.SignatureSize {
		return false
	}
	return !lowOrder(pub) && !lowOrder(sig[:32]) && ed25519.Verify(pub, message, sig)
}
