package boltjournal

import (
	"errors"
	"fmt"
)

var (
	// ErrLocked matches a *LockedError.
	ErrLocked = errors.New("journal file is in use")
	// ErrForeign: the file is something else than a journal of ours.
	ErrForeign = errors.New("not a ferry journal")
	// ErrCorrupt: the file is, or was, a journal and is damaged.
	ErrCorrupt = errors.New("damaged journal")
)

// LockedError: another process, or another Open in this one, has the file.
type LockedError struct{ Path string }

func (e *LockedError) Error() string {
	return fmt.Sprintf("journal %s is in use by another process: stop the other node, or give this one a data directory of its own", e.Path)
}

// Is makes errors.Is(err, ErrLocked) true.
func (e *LockedError) Is(target error) bool { return target == ErrLocked }

// FileError: the file is there and cannot be used as a journal. It matches its
// Kind and its cause. No record was changed.
type FileError struct {
	Path string
	Kind error // ErrForeign or ErrCorrupt
	Err  error
}

func (e *FileError) Error() string {
	advice := "give the path of this node's journal, or bring it back from a backup"
	if e.Kind == ErrCorrupt {
		advice = "bring it back from a backup; do not start without it a node that has held a daemon"
	}
	return fmt.Sprintf("journal %s: %v: %v: %s", e.Path, e.Kind, e.Err, advice)
}

func (e *FileError) Unwrap() []error { return []error{e.Kind, e.Err} }

// damaged makes an error of a panic inside bbolt, its way to report bad pages.
func damaged(path string, panicked any) error {
	return &FileError{Path: path, Kind: ErrCorrupt, Err: fmt.Errorf("bbolt: %v", panicked)}
}
