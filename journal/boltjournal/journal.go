// Package boltjournal is the journal in a bbolt file.
//
// The file has one bucket. A record's stored value is the CRC-32C, four bytes
// little endian, of key and value, then the value: bbolt protects only its own
// meta pages, and a flipped bit in an epoch must not be believed.
package boltjournal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"ferry/journal"
)

const crcBytes = 4

var (
	bucketName = []byte("ferry-journal-1")
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

// Journal is an open journal file. It implements journal.Journal.
type Journal struct {
	path string
	db   *bbolt.DB
}

var _ journal.Journal = (*Journal)(nil)

// Path is the path it was opened with.
func (j *Journal) Path() string { return j.path }

// Get implements journal.Journal. A record that was damaged on disk gives a
// *FileError that matches ErrCorrupt.
func (j *Journal) Get(key []byte) (value []byte, err error) {
	if err := journal.CheckKey(key); err != nil {
		return nil, err
	}
	err = j.view(func(bucket *bbolt.Bucket) error {
		stored := bucket.Get(key)
		if stored == nil {
			return journal.ErrNotFound
		}
		value, err = unseal(key, stored)
		return err
	})
	if err != nil {
		return nil, err
	}
	return value, nil
}

// Put implements journal.Journal: one transaction, synced to the disk.
func (j *Journal) Put(key, value []byte) (err error) {
	if err := journal.CheckPut(key, value); err != nil {
		return err
	}
	defer j.guard(&err)
	err = j.db.Update(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucketName).Put(key, seal(key, value))
	})
	if err != nil && !errors.Is(err, bolterrors.ErrDatabaseNotOpen) {
		err = fmt.Errorf("journal %s: put %q: %w", j.path, key, err)
	}
	return err
}

// Range implements journal.Journal.
func (j *Journal) Range(prefix []byte, fn func(key, value []byte) error) error {
	// Collected first: a bbolt read transaction that is open while its own
	// goroutine writes can deadlock, and pins old pages.
	type record struct{ key, value []byte }
	var records []record
	err := j.view(func(bucket *bbolt.Bucket) error {
		cursor := bucket.Cursor()
		for key, stored := cursor.Seek(prefix); key != nil && bytes.HasPrefix(key, prefix); key, stored = cursor.Next() {
			value, err := unseal(key, stored)
			if err != nil {
				return err
			}
			records = append(records, record{slices.Clone(key), value})
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, r := range records {
		if err := fn(r.key, r.value); err != nil {
			return err
		}
	}
	return nil
}

// Close implements journal.Journal and gives the lock on the file back.
func (j *Journal) Close() error {
	if err := j.db.Close(); err != nil {
		return fmt.Errorf("journal %s: close: %w", j.path, err)
	}
	return nil
}

func (j *Journal) view(fn func(*bbolt.Bucket) error) (err error) {
	defer j.guard(&err)
	return j.db.View(func(tx *bbolt.Tx) error { return fn(tx.Bucket(bucketName)) })
}

// guard turns bbolt's ways to say two things, that the file is closed and,
// by a panic, that it is damaged, into ours.
func (j *Journal) guard(err *error) {
	if r := recover(); r != nil {
		*err = damaged(j.path, r)
	}
	var bad *checksumError
	switch {
	case errors.Is(*err, bolterrors.ErrDatabaseNotOpen):
		*err = journal.ErrClosed
	case errors.As(*err, &bad):
		*err = &FileError{Path: j.path, Kind: ErrCorrupt, Err: bad}
	}
}

func seal(key, value []byte) []byte {
	stored := make([]byte, crcBytes, crcBytes+len(value))
	binary.LittleEndian.PutUint32(stored, checksum(key, value))
	return append(stored, value...)
}

// unseal gives a copy of the value: stored is valid in its transaction only.
func unseal(key, stored []byte) ([]byte, error) {
	if len(stored) < crcBytes || binary.LittleEndian.Uint32(stored) != checksum(key, stored[crcBytes:]) {
		return nil, &checksumError{key: slices.Clone(key)}
	}
	return append([]byte{}, stored[crcBytes:]...), nil
}

func checksum(key, value []byte) uint32 {
	return crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, value)
}

type checksumError struct{ key []byte }

func (e *checksumError) Error() string {
	return fmt.Sprintf("the checksum of record %q is wrong", e.key)
}
