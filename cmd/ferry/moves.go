package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"ferry/cluster"
	"ferry/journal"
	"ferry/journal/boltjournal"
	"ferry/proto0500"
)

// An orchestrator has a journal file for each daemon, so that two processes can
// move two daemons at once under one name.

// movesDir is where an orchestrator's journals are.
func movesDir(file *cluster.File, name string) string {
	return filepath.Join(file.DataDir(name), "moves")
}

func movesFile(file *cluster.File, name string, o proto0500.Origin) string {
	return filepath.Join(movesDir(file, name), fmt.Sprintf("%016x.db", uint64(o)))
}

// moveJournals is all of an orchestrator's journals as one. Each is opened, and
// thereby locked, when it is read, and made when something is written to it.
type moveJournals struct {
	file *cluster.File
	name string

	mu     sync.Mutex
	open   map[proto0500.Origin]journal.Journal
	closed bool
}

func newMoveJournals(file *cluster.File, name string) (*moveJournals, error) {
	js := &moveJournals{file: file, name: name, open: make(map[proto0500.Origin]journal.Journal)}
	return js, os.MkdirAll(movesDir(file, name), 0o700)
}

// openMoves opens every journal that is there. Those that another process has are
// locked, and named.
func openMoves(file *cluster.File, name string) (js *moveJournals, locked []proto0500.Origin, err error) {
	if js, err = newMoveJournals(file, name); err != nil {
		return nil, nil, err
	}
	entries, err := os.ReadDir(movesDir(file, name))
	if err != nil {
		return nil, nil, err
	}
	for _, e := range entries {
		hex, ok := strings.CutSuffix(e.Name(), ".db")
		o, err := strconv.ParseUint(hex, 16, 64)
		if !ok || err != nil || len(hex) != 16 {
			continue
		}
		_, err = js.of(proto0500.Origin(o), true)
		switch {
		case errors.Is(err, boltjournal.ErrLocked):
			locked = append(locked, proto0500.Origin(o))
		case err != nil:
			return nil, nil, errors.Join(err, js.Close())
		}
	}
	return js, locked, nil
}

// of is a daemon's journal; nil where there is none and none is to be made.
func (js *moveJournals) of(o proto0500.Origin, create bool) (journal.Journal, error) {
	js.mu.Lock()
	defer js.mu.Unlock()
	if js.closed {
		return nil, journal.ErrClosed
	}
	if j := js.open[o]; j != nil {
		return j, nil
	}
	path := movesFile(js.file, js.name, o)
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) && !create {
		return nil, nil
	}
	j, err := boltjournal.Open(path, boltjournal.Options{})
	if err != nil {
		return nil, err
	}
	js.open[o] = chaosFor(js.name).journal(j)
	return js.open[o], nil
}

// originOfKey is the daemon that an entry is about: see drive.Records.
func originOfKey(key []byte) (o proto0500.Origin, ok bool) {
	if len(key) < 9 {
		return 0, false
	}
	for _, b := range key[1:9] {
		o = o<<8 | proto0500.Origin(b)
	}
	return o, true
}

// errNoOrigin: only entries that are about a daemon have a place.
var errNoOrigin = errors.New("moves: an entry that is about no daemon")

// Get gives the value last put under the key.
func (js *moveJournals) Get(key []byte) ([]byte, error) {
	o, ok := originOfKey(key)
	if !ok {
		return nil, errNoOrigin
	}
	j, err := js.of(o, false)
	if err != nil {
		return nil, err
	}
	if j == nil {
		return nil, journal.ErrNotFound
	}
	return j.Get(key)
}

// Put writes a record to its daemon's journal.
func (js *moveJournals) Put(key, value []byte) error {
	o, ok := originOfKey(key)
	if !ok {
		return errNoOrigin
	}
	j, err := js.of(o, true)
	if err != nil {
		return err
	}
	return j.Put(key, value)
}

// Range calls fn for the records of one daemon, or, with a shorter prefix, of
// all.
func (js *moveJournals) Range(prefix []byte, fn func(key, value []byte) error) error {
	if o, ok := originOfKey(prefix); ok {
		j, err := js.of(o, false)
		if err != nil || j == nil {
			return err
		}
		return j.Range(prefix, fn)
	}
	js.mu.Lock()
	if js.closed {
		js.mu.Unlock()
		return journal.ErrClosed
	}
	var origins []proto0500.Origin
	for o := range js.open {
		origins = append(origins, o)
	}
	js.mu.Unlock()
	slices.Sort(origins)
	for _, o := range origins {
		j, err := js.of(o, false)
		if err == nil && j != nil {
			err = j.Range(prefix, fn)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Close closes them all.
func (js *moveJournals) Close() (err error) {
	js.mu.Lock()
	defer js.mu.Unlock()
	js.closed = true
	for o, j := range js.open {
		err = errors.Join(err, j.Close())
		delete(js.open, o)
	}
	return err
}
