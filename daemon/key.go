package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"ferry/identity"
	"ferry/migration"
	"ferry/proto0500"
	"ferry/snapshot"
)

// A daemon's private key lies beside its state, in the directory of the stay, and moves with it: sealed for a key that the
// target has made for this attempt and signed with its node key, in the snapshot's identity envelope. It is opened and on
// the target's disk before the daemon is restored there, and wiped at the source when it is released.

const keyFile = "key.pem"

// errIdentity ends an attempt in which the daemon's key cannot travel.
var errIdentity = errors.New("the daemon's key cannot travel")

// loadKey reads the key in a stay's directory; nil where there is none, as of a daemon whose source had none.
func loadKey(dir string, want proto0500.Origin) (*identity.Key, error) {
	path := filepath.Join(dir, keyFile)
	key, err := identity.LoadKey(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("daemon: %w", err)
	case proto0500.Origin(key.Origin()) != want:
		return nil, fmt.Errorf("daemon: %s is the key of daemon %016x, not %016x", path, uint64(key.Origin()), uint64(want))
	}
	return key, nil
}

// wipeKey overwrites and removes the key in a directory, as far as the file system overwrites in place.
func wipeKey(dir string) error {
	path := filepath.Join(dir, keyFile)
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		var info fs.FileInfo
		if info, err = f.Stat(); err == nil {
			_, err = f.Write(make([]byte, info.Size()))
		}
		err = errors.Join(err, f.Sync(), f.Close())
	}
	return errors.Join(err, os.Remove(path))
}

// sealKey seals the daemon's key for the target; nil where there is no key to seal.
func (s *steward) sealKey(e migration.StartCopy, at proto0500.Link) ([]byte, error) {
	key := s.rep.key
	if key == nil {
		s.log.Warn("the daemon's key is not at this node: it moves without one", "epoch", e.Epoch)
		return nil, nil
	}
	if e.SealFor == (migration.SealFor{}) {
		return nil, fmt.Errorf("%w: the target has announced no key to seal it for", errIdentity)
	}
	ctx, cancel := context.WithTimeout(s.h.ctx, s.h.cfg.AttemptTimeout)
	defer cancel()
	node, err := s.h.cfg.Resolver.Resolve(ctx, identity.NodeID(e.Target))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errIdentity, err)
	}
	recipient, err := identity.VerifyRecipient(node.Key, identity.Origin(s.origin), uint64(e.Epoch), e.SealFor.Key, e.SealFor.Signature)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errIdentity, err)
	}
	sealed, err := identity.Seal(nil, key, recipient, [32]byte(at.Append(nil)))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errIdentity, err)
	}
	return sealed[:], nil
}

// takeKey opens the envelope that came with a snapshot and saves the key: on disk before the daemon is restored.
func (in *inbound) takeKey(res *snapshot.Result) error {
	if res.Identity == nil {
		in.s.log.Warn("the daemon came without its key", "epoch", in.epoch)
		return nil
	}
	// The signer is the daemon that Prepare named, not what the snapshot says of itself.
	seed, err := identity.Open(res.Identity, in.recipient.Secret, in.entity, [32]byte(res.Header.ChainLink.Append(nil)))
	if err == nil {
		err = identity.SaveKey(filepath.Join(in.dir, keyFile), identity.KeyFromSeed(seed))
	}
	clear(seed[:])
	if err != nil {
		return fmt.Errorf("%w: %w", errIdentity, err)
	}
	return nil
}
