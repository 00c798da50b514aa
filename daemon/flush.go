package daemon

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// flusher brings to disk, now and then, what the events replayed so far have
// changed. The longer the snapshot travels, the more events there are to replay
// behind it, and all their pages would be written by the one sync that the
// acknowledgement of the seal waits for, while nobody serves.
//
// It is a hint: what is durable is said by the daemon's own Sync. It knows the
// daemon's files by their names only, so that no kind has to do anything for it;
// a sync of a file is one of all that anybody has written to it.
type flusher struct {
	dir    string               // of the attempt
	sync   func(*os.File) error // (*os.File).Sync
	events int                  // replayed since the last flush
	off    bool                 // the files cannot be listed, or are too many
}

func newFlusher(dir string) flusher { return flusher{dir: dir, sync: (*os.File).Sync} }

const (
	// flushEvents is how many replayed events may wait for the sync of the seal.
	// At one page each that is a megabyte.
	flushEvents = 256
	// flushEntriesMax is up to how many files and directories are looked for. A
	// daemon with more of them syncs its files when it is asked to.
	flushEntriesMax = 64
)

// replayed is told of n events that were applied, and gives how many files it
// has brought to disk because of them; most often none. It returns when that is
// done: a target on a slow disk is behind by what it has not written, too, and
// is not cut over to before.
//
// An error is the attempt's end. A system may tell of a page that it could not
// write only once, and it has told us, not the daemon that syncs later. A file
// that cannot be opened here is the daemon's own affair.
func (f *flusher) replayed(n int) (synced int, err error) {
	if f.events += n; f.events < flushEvents || f.off || !flushable {
		return 0, nil
	}
	f.events = 0
	names, err := f.files()
	if err != nil {
		f.off = true
		return 0, nil
	}
	for _, name := range names {
		file, err := os.Open(name)
		if err != nil {
			continue
		}
		err = f.sync(file)
		_ = file.Close()
		if err != nil {
			return synced, fmt.Errorf("daemon: replayed events to disk: %w", err)
		}
		synced++
	}
	return synced, nil
}

// flushable: on Windows a file is synced by whoever may write to it only, and
// that is for the daemon to say.
const flushable = runtime.GOOS != "windows"

var errTooManyFiles = errors.New("too many files")

// files are the regular files below the directory, unless it has more than
// flushEntriesMax entries: no more of them than that are read.
func (f *flusher) files() (names []string, err error) {
	left := flushEntriesMax
	for dirs := []string{f.dir}; len(dirs) > 0; dirs = dirs[1:] {
		entries, err := readSome(dirs[0], left+1)
		if err != nil {
			return nil, err
		}
		if left -= len(entries); left < 0 {
			return nil, errTooManyFiles
		}
		for _, e := range entries {
			switch name := filepath.Join(dirs[0], e.Name()); {
			case e.IsDir():
				dirs = append(dirs, name)
			case e.Type().IsRegular():
				names = append(names, name)
			}
		}
	}
	return names, nil
}

// readSome reads n entries of a directory at most.
func readSome(dir string, n int) ([]fs.DirEntry, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	entries, err := d.ReadDir(n)
	if err == io.EOF {
		err = nil
	}
	return entries, err
}
