package identity

import (
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"
)

var (
	// ErrPeerCertificate: the peer did not show what our nodes show, one
	// certificate for an ed25519 key, signed by that key.
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
// TLS 1.3 only. Certificates are mere envelopes of keys: dates, names and
// issuers are not looked at, so nothing expires. There is no resumption; every
// connection proves the key anew. Each call gives a config of the caller's own.
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
	return &tls.Config{
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
			return nil
		},
	}
}

// PeerKey is the ed25519 key that the peer of a TLS connection has proven in
// the handshake. It says who the peer is, not whether that is who was wanted.
func PeerKey(state tls.ConnectionState) (ed25519.PublicKey, error) {
	if len(state.PeerCertificates) != 1 {
		return nil, fmt.Errorf("identity: %w: %d certificates", ErrPeerCertificate, len(state.PeerCertificates))
	}
	cert := state.PeerCertificates[0]
	pub, ok := cert.PublicKey.(ed25519.PublicKey)
	if !ok {
		return nil, fmt.Errorf("identity: %w: a certificate for %T", ErrPeerCertificate, cert.PublicKey)
	}
	// verifyStrict, not cert.CheckSignature: it refuses keys of low order too.
	if !verifyStrict(pub, cert.RawTBSCertificate, cert.Signature) {
		return nil, fmt.Errorf("identity: %w: the certificate is not signed by its own key", ErrPeerCertificate)
	}
	return pub, nil
}

// makeCertificate wraps the key for TLS. The same key gives the same bytes, so
// a restart changes nothing for whoever stored the certificate.
func (k *Key) makeCertificate() (*tls.Certificate, error) {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: k.NodeID().String()},
		NotBefore:    time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:     time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), // RFC 5280: no expiry
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(nil, template, template, k.public, k.signer)
	if err != nil {
		return nil, fmt.Errorf("identity: certificate of %v: %w", k.NodeID(), err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: k.signer}, nil
}
