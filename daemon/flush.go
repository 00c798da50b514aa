package daemon

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
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
	dir    string // of the attempt
	events int    // replayed since the last flush
}

const (
	// flushEvents is how many replayed events may wait for the sync of the seal.
	// At one page each that is a megabyte.
	flushEvents = 256
	// flushFilesMax is up to how many files are looked for. A daemon with more
	// of them syncs them when it is asked to.
	flushFilesMax = 64
)

// replayed is told of n events that were applied, and gives how many files it
// has brought to disk because of them; most often none. It returns when that is
// done: a target on a slow disk is behind by what it has not written, too, and
// is not cut over to before.
func (f *flusher) replayed(n int) (synced int) {
	if f.events += n; f.events < flushEvents {
		return 0
	}
	f.events = 0
	for _, name := range f.files() {
		file, err := os.Open(name)
		if err != nil {
			continue
		}
		if file.Sync() == nil {
			synced++
		}
		_ = file.Close()
	}
	return synced
}

var errEnough = errors.New("files enough")

func (f *flusher) files() []string {
	var names []string
	err := filepath.WalkDir(f.dir, func(name string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case !e.Type().IsRegular():
			return nil
		case len(names) == flushFilesMax:
			return errEnough
		}
		names = append(names, name)
		return nil
	})
	if err != nil {
		return nil
	}
	return names
}
