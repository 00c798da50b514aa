package transport

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"ferry/identity"
)

// certified is the key with a certificate by a CA of some operator's, good for a day from then on.
func certified(t *testing.T, key *identity.Key, then time.Time) *identity.Key {
	t.Helper()
	_, ca, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader,
		&x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: then, NotAfter: then.AddDate(0, 0, 1)},
		&x509.Certificate{SerialNumber: big.NewInt(2)}, key.Public(), ca)
	if err != nil {
		t.Fatal(err)
	}
	with, err := key.WithCertificate(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), then)
	if err != nil {
		t.Fatal(err)
	}
	return with
}

// A certificate that an operator supplied opens sessions on the days it is good, and on no other, whichever end shows it;
// both ends are told.
func TestCertificateExpired(t *testing.T) {
	w := newWorld(t)
	with := func(name string, then time.Time) *node {
		return w.listening(name, func(c *Config) { c.Key = certified(t, c.Key, then) })
	}
	a, good, expired := w.listening("a", nil), with("good", time.Now().Add(-time.Hour)), with("expired", time.Now().AddDate(0, 0, -2))
	a.session(good)
	if s, err := good.Session(t.Context(), a.ID()); err != nil || s.Peer() != a.ID() {
		t.Errorf("as a dialer: %v", err)
	}
	err := failedDial(t, a, expired.ID())
	if date, ok := errors.AsType[*identity.CertificateDateError](err); !ok || date.Node != expired.ID() || !errors.Is(err, ErrCertificate) {
		t.Errorf("got %v, want a CertificateDateError", err)
	}
	if err := failedDial(t, expired, a.ID()); !errors.Is(err, ErrRefused) {
		t.Errorf("got %v, want %v", err, ErrRefused)
	}
	until(t, "a has counted the certificate", func() bool { return a.Refused()["certificate refused"] == 1 })
	until(t, "the other has counted that its key was refused", func() bool {
		for what := range expired.Refused() {
			if strings.HasPrefix(what, "a dialer refuses this node's key") {
				return true
			}
		}
		return false
	})
}
