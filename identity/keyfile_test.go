package identity

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSaveAndLoadKey(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "node.key")
	k, other := newTestKey(t, 1), newTestKey(t, 2)
	if err := SaveKey(path, k); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v, want 0600", info.Mode(), err)
	}
	expectKey(t, path, k)

	if err := SaveKey(path, other); !errors.Is(err, fs.ErrExist) || !strings.Contains(err.Error(), path) {
		t.Errorf("SaveKey over a key = %v, want fs.ErrExist and the path", err)
	}
	expectKey(t, path, k)
	if err := ReplaceKey(path, other); err != nil {
		t.Fatal(err)
	}
	expectKey(t, path, other)

	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
	if err := SaveKey(filepath.Join(dir, "none", "node.key"), k); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("SaveKey without a directory = %v", err)
	}
	token, err := NewKey(opaqueSigner{k.signer})
	if err != nil {
		t.Fatal(err)
	}
	if err := SaveKey(filepath.Join(dir, "token.key"), token); !errors.Is(err, ErrNoSeed) {
		t.Errorf("SaveKey of a key in a token = %v, want ErrNoSeed", err)
	}
}

func TestKeyFileMode(t *testing.T) {
	path := filepath.Join(t.TempDir(), "node.key")
	if err := SaveKey(path, newTestKey(t, 1)); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		mode fs.FileMode
		ok   bool
	}{
		{0o600, true}, {0o400, true},
		{0o640, false}, {0o604, false}, {0o644, false}, {0o620, false}, {0o601, false}, {0o700, false}, {0o777, false},
	} {
		if err := os.Chmod(path, tt.mode); err != nil {
			t.Fatal(err)
		}
		_, privateErr := LoadKey(path)
		_, publicErr := LoadPublic(path)
		for _, err := range []error{privateErr, publicErr} {
			if tt.ok {
				if err != nil {
					t.Errorf("%04o: %v", tt.mode, err)
				}
				continue
			}
			mode, ok := errors.AsType[*KeyModeError](err)
			if !ok || mode.Path != path || mode.Mode != tt.mode || !strings.Contains(err.Error(), "chmod 600 "+path) {
				t.Errorf("%04o: %v, want a KeyModeError that says what to do", tt.mode, err)
			}
		}
	}
}

func TestLoadPublic(t *testing.T) {
	dir := t.TempDir()
	want := newTestKey(t, 1).Public()
	pkix, err := x509.MarshalPKIXPublicKey(want)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{
		"PEM": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pkix}),
		"hex": []byte(FormatPublic(want) + "\n"),
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, text, 0o644); err != nil { // no secret, no rule
			t.Fatal(err)
		}
		if got, err := LoadPublic(path); err != nil || !got.Equal(want) {
			t.Errorf("%s: %x, %v", name, []byte(got), err)
		}
		if _, err := LoadKey(path); !isKeyFileError(err, path) {
			t.Errorf("LoadKey of %s: %v, want a KeyFileError", name, err)
		}
	}
}

func TestKeyFilesRefused(t *testing.T) {
	dir := t.TempDir()
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ecPrivate, err := x509.MarshalPKCS8PrivateKey(ec)
	if err != nil {
		t.Fatal(err)
	}
	ecPublic, err := x509.MarshalPKIXPublicKey(ec.Public())
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{
		"empty":           nil,
		"text":            []byte("hello"),
		"short hex":       []byte("abcd"),
		"huge":            bytes.Repeat([]byte{'a'}, 1<<20),
		"other block":     pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ecPublic}),
		"EC private":      pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: ecPrivate}),
		"EC public":       pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: ecPublic}),
		"garbage private": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("x")}),
		"garbage public":  pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte("x")}),
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		_, privateErr := LoadKey(path)
		_, publicErr := LoadPublic(path)
		for _, err := range []error{privateErr, publicErr} {
			if !isKeyFileError(err, path) {
				t.Errorf("%s: %v, want a KeyFileError", name, err)
			}
		}
	}
	if _, err := LoadKey(dir); !isKeyFileError(err, dir) {
		t.Errorf("a directory: %v, want a KeyFileError", err)
	}
	if _, err := LoadKey(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v, want fs.ErrNotExist", err)
	}
}

func isKeyFileError(err error, path string) bool {
	file, ok := errors.AsType[*KeyFileError](err)
	return ok && file.Path == path && errors.Is(err, ErrBadKey)
}

func expectKey(t *testing.T, path string, want *Key) {
	t.Helper()
	got, err := LoadKey(path)
	if err != nil {
		t.Fatal(err)
	}
	public, err := LoadPublic(path)
	if err != nil {
		t.Fatal(err)
	}
	if !got.Public().Equal(want.Public()) || !public.Equal(want.Public()) {
		t.Errorf("loaded %v, want %v", got, want)
	}
}
