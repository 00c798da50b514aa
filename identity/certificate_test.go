package identity

import (
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func pemOf(blocks ...[]byte) (text []byte) {
	for _, der := range blocks {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: certificateBlock, Bytes: der})...)
	}
	return text
}

// A certificate is good from its first second to its last, at both ends; ours is good in any year.
func TestCertificateDates(t *testing.T) {
	from := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	to := from.AddDate(1, 0, 0)
	cert := certificate(t, [2]time.Time{from, to}, clientKey.Public(), otherKey.signer)
	with, err := clientKey.WithCertificate(pemOf(cert.Certificate[0]), from)
	if err != nil {
		t.Fatal(err)
	}
	if end, ok := with.CertificateExpires(); !ok || !end.Equal(to) {
		t.Errorf("expires %v, %v", end, ok)
	}
	if _, ok := clientKey.CertificateExpires(); ok {
		t.Error("our own certificate expires")
	}
	for _, tt := range []struct {
		key *Key
		now time.Time
		ok  bool
	}{
		{with, from.Add(-time.Second), false},
		{with, from, true},
		{with, to, true},
		{with, to.Add(time.Second), false},
		{clientKey, time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC), true},
		{clientKey, time.Date(9990, 1, 1, 0, 0, 0, 0, time.UTC), true},
	} {
		at := func(c *tls.Config) *tls.Config {
			c.Time = func() time.Time { return tt.now }
			return c
		}
		check := func(who string, err error) {
			t.Helper()
			e, date := errors.AsType[*CertificateDateError](err)
			if date == tt.ok || tt.ok && err != nil {
				t.Errorf("%s at %v: %v", who, tt.now, err)
			}
			if date && (e.Node != clientKey.NodeID() || !e.NotBefore.Equal(from) || !e.NotAfter.Equal(to) || !e.Now.Equal(tt.now) ||
				!strings.Contains(err.Error(), "2026-01-01T00:00:00Z to 2027-01-01T00:00:00Z")) {
				t.Errorf("%s: %v", who, err)
			}
		}
		e := connect(t, ClientTLS(tt.key, testALPN, serverKey.Public()), at(ServerTLS(serverKey, testALPN, only(clientKey))))
		check("server", e.serverErr)
		e = connect(t, at(ClientTLS(otherKey, testALPN, clientKey.Public())), ServerTLS(tt.key, testALPN, only(otherKey)))
		check("client", e.clientErr)
		if tt.key == with {
			_, err := clientKey.WithCertificate(pemOf(cert.Certificate[0]), tt.now)
			check("holder", err)
		}
	}
}

func TestWithCertificateRefuses(t *testing.T) {
	now := time.Now()
	good := certificate(t, [2]time.Time{now.Add(-time.Hour), now.Add(time.Hour)}, clientKey.Public(), otherKey.signer).Certificate[0]
	others := certificate(t, [2]time.Time{now.Add(-time.Hour), now.Add(time.Hour)}, otherKey.Public(), otherKey.signer).Certificate[0]
	for name, tt := range map[string]struct {
		text []byte
		says string
	}{
		"nothing":       {nil, "no PEM block"},
		"not PEM":       {[]byte("hello"), "not PEM"},
		"more than PEM": {append(pemOf(good), "hello"...), "not PEM"},
		"a key":         {pem.EncodeToMemory(&pem.Block{Type: privateBlock, Bytes: []byte{1}}), `PEM block "PRIVATE KEY"`},
		"garbage":       {pemOf([]byte{1, 2, 3}), "x509"},
		"another's":     {pemOf(others), "for another key"},
		"second":        {pemOf(others, good), "for another key"},
		"too many":      {pemOf(slices.Repeat([][]byte{good}, certificatesMax+1)...), "more than 8"},
	} {
		if _, err := clientKey.WithCertificate(tt.text, now); !errors.Is(err, ErrCertificate) || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLoadCertificate(t *testing.T) {
	now := time.Now()
	good := pemOf(certificate(t, [2]time.Time{now.Add(-time.Hour), now.Add(time.Hour)}, clientKey.Public(), otherKey.signer).Certificate[0])
	path := filepath.Join(t.TempDir(), "a.crt")
	if _, err := clientKey.LoadCertificate(path, now); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	for _, tt := range []struct {
		text string
		want error
	}{{string(good), nil}, {strings.Repeat("\n", certificateFileBytesMax+1), ErrCertificate}, {"hello", ErrCertificate}} {
		if err := os.WriteFile(path, []byte(tt.text), 0o644); err != nil {
			t.Fatal(err)
		}
		k, err := clientKey.LoadCertificate(path, now)
		if !errors.Is(err, tt.want) || (err == nil) != (k != nil) {
			t.Errorf("%d bytes: %v", len(tt.text), err)
		}
		if err != nil && !strings.Contains(err.Error(), path) {
			t.Errorf("%d bytes: %v", len(tt.text), err)
		}
	}
	if _, err := clientKey.LoadCertificate(t.TempDir(), now); err == nil {
		t.Error("a directory is a certificate")
	}
}

// By a key of low order anybody can sign, and TLS would take it: so its certificate, which a CA may have signed, is none.
func TestPeerKeyOfLowOrder(t *testing.T) {
	for _, y := range lowOrderY {
		cert := certificate(t, [2]time.Time{time.Unix(0, 0), noExpiry}, ed25519.PublicKey(y[:]), otherKey.signer)
		leaf, err := x509.ParseCertificate(cert.Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := PeerKey(tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf}}); !errors.Is(err, ErrPeerCertificate) {
			t.Errorf("%x: %v", y, err)
		}
	}
}
