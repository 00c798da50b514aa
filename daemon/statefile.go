package daemon

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"ferry/proto0500"
)

// stateFile is a State: a received snapshot, or a checkpoint.
type stateFile struct {
	f    *os.File
	size int64
	// keep: the file stays where it is; who takes it gets a copy.
	keep bool
}

func createStateFile(path string) (*stateFile, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	return &stateFile{f: f}, nil
}

func openStateFile(path string) (*stateFile, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &stateFile{f: f, size: info.Size()}, nil
}

func (s *stateFile) ReadAt(p []byte, off int64) (int, error)  { return s.f.ReadAt(p, off) }
func (s *stateFile) WriteAt(p []byte, off int64) (int, error) { return s.f.WriteAt(p, off) }
func (s *stateFile) Size() int64                              { return s.size }

// Take implements State.
func (s *stateFile) Take(path string) error {
	if s.keep {
		return s.copyTo(path)
	}
	return s.moveTo(path)
}

func (s *stateFile) moveTo(path string) error {
	err := os.Rename(s.f.Name(), path)
	if errors.Is(err, syscall.EXDEV) {
		err = s.copyTo(path)
	}
	if err != nil {
		return fmt.Errorf("daemon: take state: %w", err)
	}
	return nil
}

func (s *stateFile) copyTo(path string) (err error) {
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if _, err := io.Copy(out, io.NewSectionReader(s.f, 0, s.size)); err != nil {
		return err
	}
	return out.Sync()
}

func (s *stateFile) close() error { return s.f.Close() }

func checkpointPath(dir string, seq proto0500.Seq) string {
	return filepath.Join(dir, fmt.Sprintf("checkpoint-%d", seq))
}

func fileExists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
