package identity

import (
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
)

// recipientContext begins what a node signs of a sealing key, so that the signature means nothing else.
const recipientContext = "ferry sealing key, v1\x00"

// ErrRecipient: a sealing key that its node has not announced for this attempt.
var ErrRecipient = errors.New("sealing key not attested by its node")

// Recipient is the target's end of a daemon's key in one attempt: an X25519 key made for it alone, in memory only, and what
// the target announces of it.
//
//	signature   by the node key, over "ferry sealing key, v1", a zero byte, origin and epoch (u64 each, little endian), public
type Recipient struct {
	Secret    *ecdh.PrivateKey
	Public    [32]byte
	Signature [ed25519.SignatureSize]byte
}

// NewRecipient makes the key for one attempt. It fails only when a signer outside this process does.
func NewRecipient(node *Key, origin Origin, epoch uint64) (*Recipient, error) {
	secret, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("identity: sealing key: %w", err)
	}
	r := &Recipient{Secret: secret, Public: [32]byte(secret.PublicKey().Bytes())}
	sig, err := node.Sign(recipientMessage(origin, epoch, r.Public))
	if err != nil {
		return nil, err
	}
	copy(r.Signature[:], sig)
	return r, nil
}

// VerifyRecipient gives the key to seal for, where the node with the key node has announced it for this daemon and epoch;
// else ErrRecipient, and ErrBadKey for one of low order.
func VerifyRecipient(node ed25519.PublicKey, origin Origin, epoch uint64, public [32]byte, signature [ed25519.SignatureSize]byte) (*ecdh.PublicKey, error) {
	if !verifyStrict(node, recipientMessage(origin, epoch, public), signature[:]) {
		return nil, fmt.Errorf("identity: %w: bad signature of node %v", ErrRecipient, NodeIDOf(node))
	}
	key, err := ecdh.X25519().NewPublicKey(public[:])
	if err != nil {
		return nil, fmt.Errorf("identity: %w: %w", ErrRecipient, err)
	}
	return key, nil
}

func recipientMessage(origin Origin, epoch uint64, public [32]byte) []byte {
	b := append([]byte(nil), recipientContext...)
	b = binary.LittleEndian.AppendUint64(b, uint64(origin))
	b = binary.LittleEndian.AppendUint64(b, epoch)
	return append(b, public[:]...)
}
