package main

import (
	"os"
	"path/filepath"
	"sync"

	"ferry/daemon"
)

// fileKind is the kind of a daemon that is nothing but a file: its state lies in it, and never in memory. Its events
// are in the host's log, and change nothing.
const fileKind = "file"

// specs are the states that daemons still to be created begin with, by name.
type specs struct {
	mu     sync.Mutex
	byName map[string]stateSpec
}

func (s *specs) set(name string, spec stateSpec) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byName == nil {
		s.byName = make(map[string]stateSpec)
	}
	s.byName[name] = spec
}

func (s *specs) get(name string) stateSpec {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byName[name]
}

func newFileKind(of *specs) daemon.Kind {
	return daemon.Kind{
		Name: fileKind, Schema: 1,
		Open: func(env daemon.Env) (daemon.Daemon, error) {
			d := &fileDaemon{path: filepath.Join(env.Dir, stateName)}
			if env.Created {
				return d, of.get(env.Name).write(d.path)
			}
			return d, nil
		},
	}
}

type fileDaemon struct{ path string }

func (d *fileDaemon) Apply([]daemon.Event) error { return nil }

func (d *fileDaemon) Snapshot() (daemon.Snapshot, error) {
	f, err := os.Open(d.path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	return fileSnapshot{f, info.Size()}, nil
}

// fileSnapshot is a file that does not change.
type fileSnapshot struct {
	*os.File
	bytes int64
}

func (s fileSnapshot) Size() int64 { return s.bytes }

func (d *fileDaemon) Restore(s daemon.State) error { return s.Take(d.path) }

func (d *fileDaemon) Close() error { return nil }
