package identity

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// ErrNoSeed: the key lives in a crypto.Signer that does not give its secret
// out, so it can sign but cannot be saved, sealed or opened with.
var ErrNoSeed = errors.New("the secret of this key cannot be read")

// Key is the private ed25519 key of a node or a daemon, or a handle to one that
// lives elsewhere. It is immutable and safe for concurrent use if its signer
// is. Printing it, with any verb, shows its node id and never the secret.
type Key struct {
	signer crypto.Signer
	public ed25519.PublicKey

	// certificate is made at the first handshake: daemons' keys never need one.
	certificate func() (*tls.Certificate, error)
	notAfter    time.Time // of a certificate that was supplied
}

// GenerateKey makes a new key from 32 bytes of random; nil means crypto/rand.
func GenerateKey(random io.Reader) (*Key, error) {
	if random == nil {
		random = rand.Reader
	}
	var seed [ed25519.SeedSize]byte
	if _, err := io.ReadFull(random, seed[:]); err != nil {
		return nil, fmt.Errorf("identity: generate key: %w", err)
	}
	return KeyFromSeed(seed), nil
}

// KeyFromSeed is the key with this secret (RFC 8032), for instance one that
// came in an envelope.
func KeyFromSeed(seed [ed25519.SeedSize]byte) *Key {
	return newKey(ed25519.NewKeyFromSeed(seed[:]))
}

// NewKey uses a key held by someone else: an ed25519.PrivateKey, an agent, a
// hardware token. The signer's public key must be an ed25519 key.
func NewKey(signer crypto.Signer) (*Key, error) {
	if signer == nil {
		return nil, fmt.Errorf("identity: %w: no signer", ErrBadKey)
	}
	public, ok := signer.Public().(ed25519.PublicKey)
	if !ok {
		return nil, fmt.Errorf("identity: %w: a signer for %T", ErrBadKey, signer.Public())
	}
	if len(public) != ed25519.PublicKeySize || lowOrder(public) {
		return nil, fmt.Errorf("identity: %w: public key %x", ErrBadKey, []byte(public))
	}
	return newKey(signer), nil
}

func newKey(signer crypto.Signer) *Key {
	k := &Key{signer: signer, public: signer.Public().(ed25519.PublicKey)}
	k.certificate = sync.OnceValues(k.makeCertificate)
	return k
}

// Public is the public key. The slice is shared; do not write to it.
func (k *Key) Public() ed25519.PublicKey { return k.public }

// NodeID is the id of the node that has this key.
func (k *Key) NodeID() NodeID { return NodeIDOf(k.public) }

// Origin is the origin of the daemon that has this key.
func (k *Key) Origin() Origin { return OriginOf(k.public) }

// Sign makes an ed25519 signature (64 bytes) of the message. It fails only when
// a signer outside this process does.
func (k *Key) Sign(message []byte) ([]byte, error) {
	sig, err := k.signer.Sign(nil, message, crypto.Hash(0))
	if err != nil {
		return nil, fmt.Errorf("identity: sign as %v: %w", k.NodeID(), err)
	}
	return sig, nil
}

// Seed is the 32-byte secret, or ErrNoSeed.
func (k *Key) Seed() (seed [ed25519.SeedSize]byte, err error) {
	private, ok := k.signer.(ed25519.PrivateKey)
	if !ok {
		return seed, fmt.Errorf("identity: key %v: %w", k.NodeID(), ErrNoSeed)
	}
	copy(seed[:], private.Seed())
	return seed, nil
}

// Format implements fmt.Formatter, so that no verb reaches the secret.
func (k *Key) Format(f fmt.State, _ rune) {
	if k == nil {
		io.WriteString(f, "identity.Key(nil)")
		return
	}
	fmt.Fprintf(f, "identity.Key(%v)", k.NodeID())
}
