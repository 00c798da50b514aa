package identity

import (
	"bytes"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"time"
)

// A certificate is an envelope of a node's key. Who a node is, its pinned key says, and never the certificate's names or
// issuer. Its dates count where they were meant to: a certificate of ours says that it does not expire, as RFC 5280
// (section 4.1.2.5) writes it; one that an operator supplies, from a CA of their own, is good from its first day to its last,
// and a node that shows it on another day is refused by its peers.

const (
	// certificatesMax is how many certificates a peer may show: its own and those between it and a root.
	certificatesMax = 8
	// certificateFileBytesMax bounds a file of them.
	certificateFileBytesMax = 64 << 10
	certificateBlock        = "CERTIFICATE"
)

// noExpiry is the end of a certificate that has none (RFC 5280, section 4.1.2.5).
var noExpiry = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)

// ErrCertificate: a file or bytes that are no certificate for the key.
var ErrCertificate = errors.New("not a certificate for this key")

// CertificateDateError: the certificate of a node is not good today. From a peer, its operator has to renew it; where
// it is right, this machine's clock is wrong.
type CertificateDateError struct {
	Node                     NodeID
	NotBefore, NotAfter, Now time.Time
}

func (e *CertificateDateError) Error() string {
	what := "has expired"
	if e.Now.Before(e.NotBefore) {
		what = "is not good yet"
	}
	const day = time.RFC3339
	return fmt.Sprintf("the certificate of node %v %s: it is good from %s to %s, and here it is %s", e.Node, what,
		e.NotBefore.UTC().Format(day), e.NotAfter.UTC().Format(day), e.Now.UTC().Format(day))
}

// checkDates refuses a certificate that expires, and has, or is not good yet.
func checkDates(node NodeID, cert *x509.Certificate, now time.Time) error {
	if cert.NotAfter.Equal(noExpiry) || !now.Before(cert.NotBefore) && !now.After(cert.NotAfter) {
		return nil
	}
	return &CertificateDateError{Node: node, NotBefore: cert.NotBefore, NotAfter: cert.NotAfter, Now: now}
}

// WithCertificate is the same key, which shows this certificate to its peers and not one of its own making. text is PEM: the
// node's certificate first, for this very key, then at most 7 that lead to a root; nobody verifies those. Errors wrap
// ErrCertificate, or are a *CertificateDateError when it is not good at now.
//
// Nodes of versions before this was there take only certificates that are signed by their own key.
func (k *Key) WithCertificate(text []byte, now time.Time) (*Key, error) {
	bad := func(format string, args ...any) (*Key, error) {
		return nil, fmt.Errorf("identity: %w: %w", ErrCertificate, fmt.Errorf(format, args...))
	}
	var chain [][]byte
	for {
		var block *pem.Block
		block, text = pem.Decode(text)
		if block == nil {
			break
		}
		if block.Type != certificateBlock {
			return bad("PEM block %q", block.Type)
		}
		if len(chain) == certificatesMax {
			return bad("more than %d certificates", certificatesMax)
		}
		chain = append(chain, block.Bytes)
	}
	if len(bytes.TrimSpace(text)) > 0 {
		return bad("%d bytes that are not PEM", len(bytes.TrimSpace(text)))
	}
	if len(chain) == 0 {
		return bad("no PEM block %q", certificateBlock)
	}
	leaf, err := x509.ParseCertificate(chain[0])
	if err != nil {
		return bad("%w", err)
	}
	if pub, ok := leaf.PublicKey.(ed25519.PublicKey); !ok || !pub.Equal(k.public) {
		return bad("it is for another key than %s", FormatPublic(k.public))
	}
	if err := checkDates(k.NodeID(), leaf, now); err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	return &Key{signer: k.signer, public: k.public, notAfter: leaf.NotAfter, certificate: func() (*tls.Certificate, error) {
		return &tls.Certificate{Certificate: chain, PrivateKey: k.signer}, nil
	}}, nil
}

// LoadCertificate is WithCertificate from a file, which others may read as they like. Without the file the error matches
// fs.ErrNotExist.
func (k *Key) LoadCertificate(path string, now time.Time) (*Key, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("certificate file: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, certificateFileBytesMax+1))
	if err != nil {
		return nil, fmt.Errorf("certificate file: %w", err)
	}
	if len(text) > certificateFileBytesMax {
		return nil, fmt.Errorf("certificate file %s: %w: over %d bytes", path, ErrCertificate, certificateFileBytesMax)
	}
	with, err := k.WithCertificate(text, now)
	if err != nil {
		return nil, fmt.Errorf("certificate file %s: %w", path, err)
	}
	return with, nil
}

// CertificateExpires says when the certificate that this key shows expires; false: it does not.
func (k *Key) CertificateExpires() (time.Time, bool) {
	return k.notAfter, !k.notAfter.IsZero() && !k.notAfter.Equal(noExpiry)
}

// makeCertificate wraps the key for TLS. The same key gives the same bytes, so
// a restart changes nothing for whoever stored the certificate.
func (k *Key) makeCertificate() (*tls.Certificate, error) {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: k.NodeID().String()},
		NotBefore:    time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:     noExpiry,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(nil, template, template, k.public, k.signer)
	if err != nil {
		return nil, fmt.Errorf("identity: certificate of %v: %w", k.NodeID(), err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: k.signer}, nil
}
