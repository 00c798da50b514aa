package transport

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"fmt"

	"ferry/frame"
	"ferry/identity"
)

// token names a session to both its ends and to nobody else. Its dialer draws it.
type token [16]byte

func newToken() (t token) {
	rand.Read(t[:]) // never fails
	return t
}

func (t token) String() string { return hex.EncodeToString(t[:4]) }

const (
	preambleBytes = 120

	offPublicKey = 0
	offSignature = 32
	offToken     = 96
	offFlags     = 112
	offReserved  = 113
)

// The fields follow each other without a gap: these do not compile otherwise.
var (
	_ = [1]struct{}{}[offSignature-(offPublicKey+ed25519.PublicKeySize)]
	_ = [1]struct{}{}[offToken-(offSignature+ed25519.SignatureSize)]
	_ = [1]struct{}{}[offFlags-(offToken+len(token{}))]
	_ = [1]struct{}{}[offReserved-(offFlags+1)]
	_ = [1]struct{}{}[preambleBytes-(offReserved+7)]
)

const (
	flagAccepts = 1 << 0
	flagHello   = 1 << 1
	flagsKnown  = flagAccepts | flagHello
)

// preamble is what either side says first on a control stream: the dialer after the prefix, the acceptor in answer.
//
//	off size field
//	  0   32  public_key  of the node
//	 32   64  signature   of the TLS exporter and the role (identity.SignChannel)
//	 96   16  token       names the session; drawn by the dialer, repeated by the acceptor
//	112    1  flags       1: takes connections at the address it is seen at; 2: a hello frame follows; others are an error
//	113    7  reserved    zero
type preamble struct {
	key       ed25519.PublicKey
	signature [ed25519.SignatureSize]byte
	token     token
	accepts   bool
	hello     bool
}

func (p *preamble) append(dst []byte) []byte {
	var flags byte
	if p.accepts {
		flags |= flagAccepts
	}
	if p.hello {
		flags |= flagHello
	}
	dst = append(dst, p.key...)
	dst = append(dst, p.signature[:]...)
	dst = append(dst, p.token[:]...)
	dst = append(dst, flags)
	return append(dst, make([]byte, preambleBytes-offReserved)...)
}

// parsePreamble copies what it keeps. It proves nothing: see channel.verify.
func parsePreamble(b []byte) (*preamble, error) {
	if len(b) != preambleBytes {
		return nil, fmt.Errorf("%w: preamble of %d bytes, not %d", ErrMalformed, len(b), preambleBytes)
	}
	flags := b[offFlags]
	if flags&^flagsKnown != 0 {
		return nil, fieldError(ErrMalformed, "preamble", "flags", offFlags, fmt.Errorf("%w: %#02x", frame.ErrFlags, flags))
	}
	for i, r := range b[offReserved:] {
		if r != 0 {
			return nil, fieldError(ErrMalformed, "preamble", "reserved", offReserved+i, fmt.Errorf("%w: %#02x", frame.ErrFlags, r))
		}
	}
	p := &preamble{
		key:     bytes.Clone(b[offPublicKey:offSignature]),
		accepts: flags&flagAccepts != 0,
		hello:   flags&flagHello != 0,
	}
	copy(p.signature[:], b[offSignature:])
	copy(p.token[:], b[offToken:])
	return p, nil
}

// channel is the TLS connection under a control stream: QUIC's own, or the one inside a spliced stream.
type channel struct {
	exporter []byte
	// tlsKey is the node key that this TLS has proven; nil where TLS is the caller's, with certificates of its own.
	tlsKey ed25519.PublicKey
}

func newChannel(state tls.ConnectionState, pinned bool) (channel, error) {
	var ch channel
	if pinned {
		key, err := identity.PeerKey(state)
		if err != nil {
			return channel{}, fmt.Errorf("%w: %w", ErrWrongKey, err)
		}
		ch.tlsKey = key
	}
	exporter, err := identity.ChannelExporter(&state)
	if err != nil {
		return channel{}, err
	}
	ch.exporter = exporter
	return ch, nil
}

// verify checks that the peer, which plays role, holds the key that its preamble names, on this very connection.
func (ch channel) verify(p *preamble, role identity.ChannelRole) error {
	if ch.tlsKey != nil && !ch.tlsKey.Equal(p.key) {
		return fmt.Errorf("%w: preamble of node %v on a connection of node %v", ErrWrongKey,
			identity.NodeIDOf(p.key), identity.NodeIDOf(ch.tlsKey))
	}
	if err := identity.VerifyChannel(p.key, ch.exporter, role, p.signature[:]); err != nil {
		return fmt.Errorf("%w: %w", ErrWrongKey, err)
	}
	return nil
}
