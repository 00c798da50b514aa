package identity

import (
	"crypto/ed25519"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"time"
)

var (
	// ErrPeerCertificate: the peer did not show what our nodes show, a certificate for an ed25519 key.
	ErrPeerCertificate = errors.New("peer does not show a node key")
	// ErrNotAllowed: the peer has proven its key, and the key is not one we talk to.
	ErrNotAllowed = errors.New("peer is not allowed")
	// ErrProtocol: the peer did not agree on the protocol (ALPN).
	ErrProtocol = errors.New("peer did not negotiate our protocol")
)

// PinError: the one we dialed has proven a key, but another than the pinned.
// Wrong address, wrong public_key in the configuration, or an impostor.
type PinError struct {
	Want, Got ed25519.PublicKey
}

func (e *PinError) Error() string {
	return fmt.Sprintf("peer has key %x, but key %x is pinned", []byte(e.Got), []byte(e.Want))
}

// ServerTLS accepts peers that prove an ed25519 key for which allowed returns
// nil; a nil allowed refuses everyone. An error from it is wrapped together
// with ErrNotAllowed. With alpn given, a peer that negotiates none of it is
// refused too.
//
// TLS 1.3 only. Certificates are mere envelopes of keys: names and issuers are
// not looked at. Ours do not expire; one that an operator supplied is refused
// outside its dates with a *CertificateDateError, by the config's Time. There is
// no resumption; every connection proves the key anew. Each call gives a config
// of the caller's own.
func ServerTLS(k *Key, alpn []string, allowed func(ed25519.PublicKey) error) *tls.Config {
	config := baseTLS(k, alpn, func(pub ed25519.PublicKey) error {
		if allowed == nil {
			return fmt.Errorf("%w: node %v", ErrNotAllowed, NodeIDOf(pub))
		}
		if err := allowed(pub); err != nil {
			return fmt.Errorf("%w: node %v: %w", ErrNotAllowed, NodeIDOf(pub), err)
		}
		return nil
	})
	config.ClientAuth = tls.RequireAnyClientCert // and VerifyConnection decides
	return config
}

// ClientTLS dials the one peer that proves the key want; any other fails the
// handshake with a *PinError. See ServerTLS for the rest.
//
// In TLS 1.3 the client is done before the server has judged the client's key:
// a refusal by the server shows at the first read, not in the handshake.
func ClientTLS(k *Key, alpn []string, want ed25519.PublicKey) *tls.Config {
	want = slices.Clone(want)
	config := baseTLS(k, alpn, func(got ed25519.PublicKey) error {
		if !got.Equal(want) {
			return &PinError{Want: want, Got: got}
		}
		return nil
	})
	// The standard chain and host name checks are replaced, not dropped:
	// VerifyConnection runs in every handshake and decides by the key.
	config.InsecureSkipVerify = true
	return config
}

func baseTLS(k *Key, alpn []string, judge func(ed25519.PublicKey) error) *tls.Config {
	var config *tls.Config
	config = &tls.Config{
		MinVersion: tls.VersionTLS13,
		NextProtos: slices.Clone(alpn),
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return k.certificate()
		},
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return k.certificate()
		},
		SessionTicketsDisabled: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			if len(alpn) > 0 && !slices.Contains(alpn, state.NegotiatedProtocol) {
				return fmt.Errorf("identity: %w: %q", ErrProtocol, state.NegotiatedProtocol)
			}
			pub, err := PeerKey(state)
			if err != nil {
				return err
			}
			if err := judge(pub); err != nil {
				return fmt.Errorf("identity: %w", err)
			}
			now := time.Now
			if config.Time != nil {
				now = config.Time
			}
			if err := checkDates(NodeIDOf(pub), state.PeerCertificates[0], now()); err != nil {
				return fmt.Errorf("identity: %w", err)
			}
			return nil
		},
	}
	return config
}

// PeerKey is the ed25519 key that the peer of a TLS connection has proven in
// the handshake, which TLS 1.3 ends with a signature by it (RFC 8446, section
// 4.4.3). It says who the peer is, not whether that is who was wanted, nor
// whether its certificate is good today.
func PeerKey(state tls.ConnectionState) (ed25519.PublicKey, error) {
	if n := len(state.PeerCertificates); n == 0 || n > certificatesMax {
		return nil, fmt.Errorf("identity: %w: %d certificates", ErrPeerCertificate, n)
	}
	cert := state.PeerCertificates[0]
	pub, ok := cert.PublicKey.(ed25519.PublicKey)
	if !ok {
		return nil, fmt.Errorf("identity: %w: a certificate for %T", ErrPeerCertificate, cert.PublicKey)
	}
	// TLS takes any key that a signature verifies by. By one of low order there are some that anybody can make.
	if len(pub) != ed25519.PublicKeySize || lowOrder(pub) {
		return nil, fmt.Errorf("identity: %w: public key %x", ErrPeerCertificate, []byte(pub))
	}
	return pub, nil
}
