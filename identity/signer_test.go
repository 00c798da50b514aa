package identity

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/tls"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// pulledToken is a token that has been pulled out.
type pulledToken struct {
	public ed25519.PublicKey
}

var errPulled = errors.New("the token is gone")

func (s pulledToken) Public() crypto.PublicKey { return s.public }

func (s pulledToken) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errPulled
}

// What a signer outside this process cannot do is said, with its cause, and nothing half done is given out.
func TestSignerThatFails(t *testing.T) {
	k, err := NewKey(pulledToken{newTestKey(t, 1).Public()})
	if err != nil {
		t.Fatal(err)
	}
	if r, err := NewRecipient(k, 7, 5); !errors.Is(err, errPulled) || r != nil {
		t.Errorf("NewRecipient = %v, %v", r, err)
	}
	if sig, err := SignChannel(k, make([]byte, ChannelExporterBytes), Dialer); !errors.Is(err, errPulled) || sig != nil {
		t.Errorf("SignChannel = %x, %v", sig, err)
	}
}

// A public key that nobody can have, or that everybody can sign for, makes no key.
func TestSignerOfNoKey(t *testing.T) {
	for name, public := range map[string]ed25519.PublicKey{
		"short":     newTestKey(t, 1).Public()[:31],
		"none":      {},
		"low order": append([]byte{1}, make([]byte, 31)...), // the neutral point
	} {
		if k, err := NewKey(pulledToken{public}); !errors.Is(err, ErrBadKey) || k != nil {
			t.Errorf("%s: %v, %v", name, k, err)
		}
	}
}

// Sealing needs all its randomness: a reader that ends early makes no envelope.
func TestSealWithoutRandomness(t *testing.T) {
	secret, err := ecdh.X25519().NewPrivateKey(bytes.Repeat([]byte{3}, 32))
	if err != nil {
		t.Fatal(err)
	}
	env, err := Seal(bytes.NewReader(make([]byte, 31)), newTestKey(t, 1), secret.PublicKey(), [32]byte{})
	if !errors.Is(err, io.ErrUnexpectedEOF) || env != (Envelope{}) {
		t.Errorf("%v, %x", err, env)
	}
}

// Before the handshake there is nothing of the channel to sign.
func TestExporterBeforeTheHandshake(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	state := tls.Client(a, &tls.Config{ServerName: "node"}).ConnectionState()
	if exporter, err := ChannelExporter(&state); err == nil || exporter != nil {
		t.Errorf("%x, %v", exporter, err)
	}
}

// A key file that cannot be read as one is named in the error's text, with what is wrong.
func TestKeyFileErrorText(t *testing.T) {
	path := filepath.Join(t.TempDir(), "node.key")
	if err := os.WriteFile(path, []byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := LoadKey(path)
	if !errors.Is(err, ErrBadKey) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), ErrBadKey.Error()) {
		t.Errorf("%v", err)
	}
}

// A directory that is gone by the time its names are made durable is an error: the file may not survive a crash.
func TestSaveKeyIntoADirectoryThatGoes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	err := saveKey(filepath.Join(dir, "node.key"), newTestKey(t, 1), func(_, _ string) error {
		return os.Rename(dir, dir+".moved")
	})
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}
