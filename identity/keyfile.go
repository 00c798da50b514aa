package identity

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

const (
	keyFileMode     = fs.FileMode(0o600)
	keyFileBytesMax = 64 << 10 // a key has about 120 bytes
	privateBlock    = "PRIVATE KEY"
	publicBlock     = "PUBLIC KEY"
)

// KeyModeError: others than the owner may read or change the key file.
type KeyModeError struct {
	Path string
	Mode fs.FileMode // permission bits
}

func (e *KeyModeError) Error() string {
	return fmt.Sprintf("key file %s has mode %04o, it must not be more open than 0600: run: chmod 600 %s", e.Path, e.Mode, e.Path)
}

// KeyFileError: the file is there and does not hold the key it should.
type KeyFileError struct {
	Path string
	Err  error
}

func (e *KeyFileError) Error() string { return fmt.Sprintf("key file %s: %v", e.Path, e.Err) }
func (e *KeyFileError) Unwrap() error { return e.Err }

// LoadKey reads a private key: one PEM block "PRIVATE KEY" with an ed25519 key
// in PKCS#8, as SaveKey and `openssl genpkey -algorithm ed25519` write it. A
// file more open than 0600 is refused with a *KeyModeError, other contents with
// a *KeyFileError.
func LoadKey(path string) (*Key, error) {
	block, mode, _, err := readKeyFile(path)
	if err != nil {
		return nil, err
	}
	if block == nil || block.Type != privateBlock {
		return nil, &KeyFileError{path, fmt.Errorf("%w: no PEM block %q", ErrBadKey, privateBlock)}
	}
	return privateKey(path, mode, block)
}

// LoadPublic reads the public key out of a private key file, a PEM block
// "PUBLIC KEY" (PKIX), or 64 hexadecimal digits. For a private key the rules of
// LoadKey hold, its mode included.
func LoadPublic(path string) (ed25519.PublicKey, error) {
	block, mode, text, err := readKeyFile(path)
	if err != nil {
		return nil, err
	}
	if block == nil {
		pub, err := ParsePublic(string(text))
		if err != nil {
			return nil, &KeyFileError{path, fmt.Errorf("%w: neither PEM nor %d hexadecimal digits", ErrBadKey, 2*ed25519.PublicKeySize)}
		}
		return pub, nil
	}
	switch block.Type {
	case privateBlock:
		k, err := privateKey(path, mode, block)
		if err != nil {
			return nil, err
		}
		return k.Public(), nil
	case publicBlock:
		parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			return nil, &KeyFileError{path, fmt.Errorf("%w: %w", ErrBadKey, err)}
		}
		pub, ok := parsed.(ed25519.PublicKey)
		if !ok {
			return nil, &KeyFileError{path, fmt.Errorf("%w: it is a %T", ErrBadKey, parsed)}
		}
		return pub, nil
	}
	return nil, &KeyFileError{path, fmt.Errorf("%w: PEM block %q", ErrBadKey, block.Type)}
}

// readKeyFile gives the first PEM block of the file, or nil and its text. The
// mode is that of the file which was read: a path could be swapped in between.
func readKeyFile(path string) (block *pem.Block, mode fs.FileMode, text []byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, nil, fmt.Errorf("key file: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, 0, nil, fmt.Errorf("key file: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, 0, nil, &KeyFileError{path, fmt.Errorf("%w: not a regular file", ErrBadKey)}
	}
	text, err = io.ReadAll(io.LimitReader(f, keyFileBytesMax+1))
	if err != nil {
		return nil, 0, nil, fmt.Errorf("key file: %w", err)
	}
	if len(text) > keyFileBytesMax {
		return nil, 0, nil, &KeyFileError{path, fmt.Errorf("%w: over %d bytes", ErrBadKey, keyFileBytesMax)}
	}
	block, _ = pem.Decode(text)
	return block, info.Mode().Perm(), text, nil
}

func privateKey(path string, mode fs.FileMode, block *pem.Block) (*Key, error) {
	if mode&^keyFileMode != 0 {
		return nil, &KeyModeError{path, mode}
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, &KeyFileError{path, fmt.Errorf("%w: %w", ErrBadKey, err)}
	}
	private, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, &KeyFileError{path, fmt.Errorf("%w: it is a %T", ErrBadKey, parsed)}
	}
	return newKey(private), nil
}

// SaveKey writes a new key file, mode 0600. When it returns nil the file
// survives a crash; whatever happens, path is the whole key or untouched. An
// existing file is never replaced: the error then matches fs.ErrExist.
func SaveKey(path string, k *Key) error {
	// A hard link is made only if the name is free; a rename would take it.
	return saveKey(path, k, os.Link)
}

// ReplaceKey is SaveKey that replaces an existing file.
func ReplaceKey(path string, k *Key) error { return saveKey(path, k, os.Rename) }

func saveKey(path string, k *Key, publish func(temporary, path string) error) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("save key file %s: %w", path, err)
		}
	}()
	seed, err := k.Seed()
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(ed25519.NewKeyFromSeed(seed[:]))
	if err != nil {
		return err
	}
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, ".key-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	err = errors.Join(
		pem.Encode(f, &pem.Block{Type: privateBlock, Bytes: der}),
		f.Chmod(keyFileMode), // a umask may have taken bits away
		f.Sync(),
		f.Close(),
	)
	if err != nil {
		return err
	}
	if err := publish(f.Name(), path); err != nil {
		return err
	}
	return syncDir(dir)
}

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
