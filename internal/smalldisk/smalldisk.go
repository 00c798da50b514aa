//go:build unix

// Package smalldisk gives a directory a small file system of its own, where root may, and fills it, for tests of what a
// full disk does.
package smalldisk

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// Mount puts a tmpfs of so many bytes on dir. An error is of a system, or a container, where this process may not.
func Mount(dir string, bytes int64) (unmount func() error, err error) {
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", fmt.Sprintf("size=%d,mode=700", bytes), "tmpfs", dir).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("mount %s: %w: %s", dir, err, out)
	}
	return func() error {
		if out, err := exec.Command("umount", "-l", dir).CombinedOutput(); err != nil {
			return fmt.Errorf("umount %s: %w: %s", dir, err, out)
		}
		return nil
	}, nil
}

// Ballast is the file that Fill makes; without it there is room again.
func Ballast(dir string) string { return filepath.Join(dir, "ballast") }

// Fill leaves no byte on the disk of dir.
func Fill(dir string) (err error) {
	f, err := os.Create(Ballast(dir))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	for chunk := bytes.Repeat([]byte{1}, 1<<20); len(chunk) > 0; {
		n, err := f.Write(chunk)
		switch {
		case errors.Is(err, syscall.ENOSPC):
			chunk = chunk[:len(chunk[n:])/2]
		case err != nil:
			return err
		}
	}
	return nil
}
