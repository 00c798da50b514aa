package boltjournal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"ferry/journal"
)

const (
	fileMode    = fs.FileMode(0o600)
	lockWaitMax = time.Second
)

// Options: the zero value is what a node wants.
type Options struct {
	// LockWait is how long Open waits for a file that is in use, at most and by
	// default 1 s, long enough for a node that is being restarted. It is the
	// whole wait, give or take bbolt's step of 50 ms.
	LockWait time.Duration
}

// Open opens the journal at path, mode 0600, and makes an empty one if there is
// none; its directory must exist. A new file is there as a whole, with its name
// durable, or not at all. Every record is read once and checked.
//
// Errors: *LockedError; *FileError for a file that is not a journal, an empty
// one included, or is damaged; else what the file system said.
func Open(path string, options Options) (*Journal, error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		if err := create(path); err != nil {
			return nil, fmt.Errorf("journal %s: create: %w", path, err)
		}
	}
	// Also for a file that was there: whoever made it may have died before.
	if err := syncDir(filepath.Dir(path)); err != nil {
		return nil, fmt.Errorf("journal %s: %w", path, err)
	}
	return open(path, options)
}

// create makes an empty journal under another name and then gives it the name,
// unless somebody else was faster. bbolt would write the first pages in place,
// and a crash among them leaves a file that cannot be told from a damaged one.
func create(path string) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".journal-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if err := errors.Join(f.Chmod(fileMode), f.Close()); err != nil {
		return err
	}
	db, err := bbolt.Open(f.Name(), fileMode, boltOptions(lockWaitMax))
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucket(bucketName)
		return err
	})
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

func open(path string, options Options) (j *Journal, err error) {
	wait := options.LockWait
	if wait <= 0 || wait > lockWaitMax {
		wait = lockWaitMax
	}
	deadline := time.Now().Add(wait)
	if err := verify(path, wait); err != nil {
		return nil, err
	}
	// That list may be said to lie outside the file: reading it faults.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		// Only the list of free pages is read for the first time here. bbolt
		// panics on a bad one and leaves the file mapped, and so locked, until
		// the process ends.
		if r := recover(); r != nil {
			j, err = nil, damaged(path, r)
		}
	}()
	writable := boltOptions(max(time.Until(deadline), 1)) // 0 would mean for ever
	writable.OpenFile = openExisting
	db, err := bbolt.Open(path, fileMode, writable)
	if err != nil {
		return nil, openError(path, err)
	}
	return &Journal{path: path, db: db}, nil
}

// verify reads every record of a file, without writing to it. bbolt itself
// would believe the length that the file says it has, and read beyond its map.
func verify(path string, wait time.Duration) error {
	// A file that is cut short while we read it faults.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))

	options := boltOptions(wait)
	options.OpenFile = openExisting
	options.ReadOnly = true // then bbolt does not look for free pages
	db, err := bbolt.Open(path, fileMode, options)
	if err != nil {
		return openError(path, err)
	}
	j := &Journal{path: path, db: db}
	return errors.Join(j.check(), db.Close())
}

func (j *Journal) check() (err error) {
	defer j.guard(&err)
	err = j.db.View(func(tx *bbolt.Tx) error {
		info, err := os.Stat(j.path)
		if err != nil {
			return fmt.Errorf("journal %s: %w", j.path, err)
		}
		if info.Size() < tx.Size() {
			return &FileError{Path: j.path, Kind: ErrCorrupt,
				Err: fmt.Errorf("it has %d bytes and should have %d", info.Size(), tx.Size())}
		}
		file, err := os.Open(j.path)
		if err != nil {
			return fmt.Errorf("journal %s: %w", j.path, err)
		}
		defer file.Close()
		pageBytes := int64(tx.DB().Info().PageSize)
		tree := func(b *bbolt.Bucket) error {
			if b.RootPage() == 0 {
				return nil // inside its parent's page
			}
			if err := checkTree(file, pageBytes, uint64(b.RootPage()), uint64(tx.Size()/pageBytes)); err != nil {
				return &FileError{Path: j.path, Kind: ErrCorrupt, Err: err}
			}
			return nil
		}
		if err := tree(tx.Cursor().Bucket()); err != nil {
			return err
		}
		bucket := tx.Bucket(bucketName)
		if bucket == nil {
			return &FileError{Path: j.path, Kind: ErrForeign, Err: fmt.Errorf("a bbolt file without bucket %q", bucketName)}
		}
		return tree(bucket)
	})
	if err != nil {
		return err
	}
	// Found by its key too: Range reads the leaves, Get follows the keys of the branches, and a record that it does not
	// find would be an epoch forgotten.
	return j.Range(nil, func(key, _ []byte) error {
		_, err := j.Get(key)
		if errors.Is(err, journal.ErrNotFound) {
			return &FileError{Path: j.path, Kind: ErrCorrupt, Err: fmt.Errorf("record %q is there and is not found", key)}
		}
		return err
	})
}

var errEmpty = errors.New("the file is empty")

// openExisting is how bbolt opens a file that should be a journal already. By
// itself it would make a new database of one that is empty, or that has vanished
// since we looked, and records may have been lost there.
func openExisting(name string, flag int, mode os.FileMode) (*os.File, error) {
	f, err := os.OpenFile(name, flag&^os.O_CREATE, mode)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && info.Size() == 0 {
		err = errEmpty
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func openError(path string, err error) error {
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return &LockedError{Path: path}
	case errors.Is(err, errEmpty), errors.Is(err, bolterrors.ErrInvalid), errors.Is(err, bolterrors.ErrVersionMismatch):
		return &FileError{Path: path, Kind: ErrForeign, Err: err}
	case errors.Is(err, bolterrors.ErrChecksum):
		return &FileError{Path: path, Kind: ErrCorrupt, Err: err}
	}
	if _, ok := errors.AsType[*fs.PathError](err); !ok {
		if _, ok := errors.AsType[syscall.Errno](err); !ok {
			// Not the system's word, so bbolt's on what it read: a file that ends in its first pages has no sentinel.
			return &FileError{Path: path, Kind: ErrCorrupt, Err: err}
		}
	}
	return fmt.Errorf("journal %s: %w", path, err)
}

// boltOptions keeps the list of free pages in the file. Without it commits are
// a page shorter, but opening walks all pages, and a bad one then ends the
// process: that panic is in a goroutine of bbolt's own.
func boltOptions(lockWait time.Duration) *bbolt.Options {
	return &bbolt.Options{Timeout: lockWait, FreelistType: bbolt.FreelistMapType}
}

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
