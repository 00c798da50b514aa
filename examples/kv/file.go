package kv

import (
	"errors"
	"fmt"
	"math/bits"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"ferry/daemon"
	"ferry/proto0500"
)

const (
	lockWaitMax = time.Second

	mapBytesDefault  = 64 << 30
	mapBytesMin      = 1 << 20
	growBytesDefault = 64 << 20
)

// openFile opens a bbolt file, mapped far beyond its size (see
// [Options.MapBytes]). The list of free pages is not written with each commit:
// under an open snapshot it grows by the pages of every batch.
func openFile(path string, opts Options, relaxed bool) (db *bbolt.DB, err error) {
	o := bbolt.Options{
		Timeout:         lockWaitMax,
		NoFreelistSync:  true,
		FreelistType:    bbolt.FreelistMapType,
		NoSync:          relaxed,
		InitialMmapSize: mapBytes(path, opts),
	}
	for {
		err = guard("file", func() (err error) {
			db, err = bbolt.Open(path, 0o600, &o)
			return err
		})
		// A process may be allowed little address space. With a smaller map all
		// works but the promise that no writer waits for a snapshot.
		if !errors.Is(err, syscall.ENOMEM) || o.InitialMmapSize <= mapBytesMin {
			break
		}
		o.InitialMmapSize /= 2
	}
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, fmt.Errorf("kv: %s is in use by another process: stop that one first", path)
	case err != nil:
		return nil, fmt.Errorf("kv: open %s: %w", path, err)
	}
	db.AllocSize = growBytesDefault
	if opts.GrowBytes > 0 {
		db.AllocSize = opts.GrowBytes
	}
	return db, nil
}

func mapBytes(path string, opts Options) int {
	switch {
	case runtime.GOOS == "windows":
		return 0 // there a file is made as large as its map
	case opts.MapBytes > 0:
		return int(min(opts.MapBytes, maxInt))
	case bits.UintSize < 64:
		return 256 << 20
	}
	most := int64(mapBytesDefault)
	if info, err := os.Stat(path); err == nil {
		most = max(most, 4*info.Size())
	}
	return int(most)
}

const maxInt = int64(^uint(0) >> 1)

// create makes the file of an empty store. It appears under path whole or not at all.
func create(path string, origin proto0500.Origin, opts Options) (err error) {
	part := path + ".new"
	if err := os.RemoveAll(part); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	db, err := openFile(part, opts, true)
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, name := range [][]byte{bucketKV, bucketLog, bucketMeta} {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		return nil
	})
	pos := Position{Head: daemon.Genesis(origin)}
	if err == nil {
		pos.Content, err = fill(db, opts)
	}
	if err == nil {
		err = db.Update(func(tx *bbolt.Tx) error {
			return tx.Bucket(bucketMeta).Put(keyPosition, pos.append(nil))
		})
	}
	if err == nil {
		err = saveFreelist(db)
	}
	if err == nil {
		err = db.Sync()
	}
	if err = errors.Join(err, db.Close()); err != nil {
		return errors.Join(err, os.Remove(part))
	}
	if err := os.Rename(part, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// saveFreelist commits nothing but the list of free pages. The next commit
// drops it again.
func saveFreelist(db *bbolt.DB) error {
	db.NoFreelistSync = false
	defer func() { db.NoFreelistSync = true }()
	return db.Update(func(*bbolt.Tx) error { return nil })
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// guard runs what reads a file that somebody else may have written. bbolt panics
// on pages that make no sense, and a page number beyond the end of the file is a
// fault in its map: here both become a *CorruptError. It holds for fn's own
// goroutine only.
func guard(what string, fn func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = &CorruptError{What: what, Err: fmt.Errorf("unreadable: %v", r)}
		}
	}()
	return fn()
}
