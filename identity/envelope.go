package identity

import (
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"

	"golang.org/x/crypto/chacha20poly1305"
)

// The identity envelope, frozen:
//
//	off size field
//	  0    1  version            1
//	  1   32  target_static_pub  the recipient's X25519 key
//	 33   32  ephemeral_pub      X25519, fresh for every envelope
//	 65   48  ciphertext[32] and tag[16]: the daemon's seed
//	113   32  signer_pub         the daemon's ed25519 key
//	145   64  signature          by signer_pub, over target_static_pub and link
//
//	shared     = X25519(ephemeral secret, target_static_pub)
//	key        = BLAKE2s-256 keyed "net-identity-envelope" over shared
//	nonce      = first 24 bytes of BLAKE2s-256 keyed "net-identity-nonce"
//	             over ephemeral_pub, target_static_pub
//	ciphertext = XChaCha20-Poly1305(key, nonce, seed, additional data link)
const (
	EnvelopeBytes   = envSignature + ed25519.SignatureSize // 209
	envelopeVersion = 1

	envTarget     = 1
	envEphemeral  = envTarget + 32
	envCiphertext = envEphemeral + 32
	envSigner     = envCiphertext + ed25519.SeedSize + chacha20poly1305.Overhead
	envSignature  = envSigner + ed25519.PublicKeySize

	envelopeKeyLabel   = "net-identity-envelope"
	envelopeNonceLabel = "net-identity-nonce"
)

// The array has a negative size, and the build ends, when the fields do not add up.
var _ [0]struct{} = [EnvelopeBytes - 209]struct{}{}

// Why an envelope is refused, in the order of the checks.
var (
	ErrEnvelopeFormat = errors.New("not an identity envelope")
	ErrEnvelopeSigner = errors.New("identity envelope of another daemon")
	ErrEnvelopeProof  = errors.New("identity envelope not attested by its daemon")
	ErrEnvelopeSealed = errors.New("identity envelope cannot be opened with this key")
)

// Envelope is a daemon's sealed key.
type Envelope [EnvelopeBytes]byte

// Seal seals the daemon's seed for the recipient, bound to the chain link of
// the snapshot that it goes with. The ephemeral secret is 32 bytes read from
// random; nil means crypto/rand, and anything else is for tests.
//
// Errors: ErrNoSeed; ErrBadKey for a recipient that is not X25519 or of low order.
func Seal(random io.Reader, daemon *Key, recipient *ecdh.PublicKey, link [32]byte) (env Envelope, err error) {
	seed, err := daemon.Seed()
	if err != nil {
		return Envelope{}, err
	}
	if recipient == nil || recipient.Curve() != ecdh.X25519() {
		return Envelope{}, fmt.Errorf("identity: seal: %w: the recipient's is not an X25519 key", ErrBadKey)
	}
	if random == nil {
		random = rand.Reader
	}
	var secret [32]byte
	if _, err := io.ReadFull(random, secret[:]); err != nil {
		return Envelope{}, fmt.Errorf("identity: seal: %w", err)
	}
	// Not ecdh.X25519().GenerateKey: it does not read from the reader it is given.
	ephemeral, err := ecdh.X25519().NewPrivateKey(secret[:])
	if err != nil {
		return Envelope{}, fmt.Errorf("identity: seal: %w", err)
	}
	shared, err := ephemeral.ECDH(recipient)
	if err != nil {
		return Envelope{}, fmt.Errorf("identity: seal: %w: the recipient's: %w", ErrBadKey, err)
	}

	env[0] = envelopeVersion
	copy(env[envTarget:], recipient.Bytes())
	copy(env[envEphemeral:], ephemeral.PublicKey().Bytes())
	aead, nonce := env.cipher(shared)
	aead.Seal(env[envCiphertext:envCiphertext], nonce, seed[:], link[:])
	copy(env[envSigner:], daemon.Public())
	sig, err := daemon.Sign(env.signed(link))
	if err != nil {
		return Envelope{}, err
	}
	copy(env[envSignature:], sig)
	return env, nil
}

// Open gives the seed that was sealed for the recipient at this chain link by
// the daemon with the key signer. The signer must be known from elsewhere, for
// a snapshot it is its entity_id: anyone can make an envelope of his own.
//
// The checks, in this order: length and version (ErrEnvelopeFormat); the signer
// (ErrEnvelopeSigner); its signature, strictly (ErrEnvelopeProof); the
// recipient; the encryption, where an ephemeral key of low order, which net-mesh
// lets pass, is refused (both ErrEnvelopeSealed); and whether the seed is the
// signer's (ErrEnvelopeProof).
func Open(envelope []byte, recipient *ecdh.PrivateKey, signer ed25519.PublicKey, link [32]byte) (seed [ed25519.SeedSize]byte, err error) {
	if len(envelope) != EnvelopeBytes {
		return seed, fmt.Errorf("identity: %w: %d bytes, not %d", ErrEnvelopeFormat, len(envelope), EnvelopeBytes)
	}
	env := (*Envelope)(envelope)
	if env[0] != envelopeVersion {
		return seed, fmt.Errorf("identity: %w: version %d, not %d", ErrEnvelopeFormat, env[0], envelopeVersion)
	}
	if !signer.Equal(env.Signer()) {
		return seed, fmt.Errorf("identity: %w: of %x, expected %x", ErrEnvelopeSigner, []byte(env.Signer()), []byte(signer))
	}
	if !verifyStrict(signer, env.signed(link), env[envSignature:]) {
		return seed, fmt.Errorf("identity: %w: bad signature for this recipient and link", ErrEnvelopeProof)
	}
	if recipient == nil || recipient.Curve() != ecdh.X25519() || [32]byte(recipient.PublicKey().Bytes()) != [32]byte(env[envTarget:envEphemeral]) {
		return seed, fmt.Errorf("identity: %w: it is for another recipient", ErrEnvelopeSealed)
	}
	ephemeral, err := ecdh.X25519().NewPublicKey(env[envEphemeral:envCiphertext])
	if err != nil {
		return seed, fmt.Errorf("identity: %w: %w", ErrEnvelopeSealed, err)
	}
	shared, err := recipient.ECDH(ephemeral)
	if err != nil {
		return seed, fmt.Errorf("identity: %w: %w", ErrEnvelopeSealed, err)
	}
	aead, nonce := env.cipher(shared)
	opened, err := aead.Open(nil, nonce, env[envCiphertext:envSigner], link[:])
	if err != nil {
		return seed, fmt.Errorf("identity: %w: %w", ErrEnvelopeSealed, err)
	}
	if !KeyFromSeed([ed25519.SeedSize]byte(opened)).Public().Equal(signer) {
		return seed, fmt.Errorf("identity: %w: the sealed seed is not the signer's", ErrEnvelopeProof)
	}
	return [ed25519.SeedSize]byte(opened), nil
}

// Signer is the daemon that the envelope says it is of; a claim until it is opened.
func (e *Envelope) Signer() ed25519.PublicKey {
	return ed25519.PublicKey(e[envSigner:envSignature:envSignature])
}

// signed is what the signature covers. The sealed seed is not part of it.
func (e *Envelope) signed(link [32]byte) []byte {
	return append(slices.Clone(e[envTarget:envEphemeral]), link[:]...)
}

func (e *Envelope) cipher(shared []byte) (cipher.AEAD, []byte) {
	key := keyedHash(envelopeKeyLabel, shared)
	nonce := keyedHash(envelopeNonceLabel, e[envEphemeral:envCiphertext], e[envTarget:envEphemeral])
	aead, err := chacha20poly1305.NewX(key[:])
	if err != nil {
		panic(err) // only for a key that has not 32 bytes
	}
	return aead, nonce[:chacha20poly1305.NonceSizeX]
}
