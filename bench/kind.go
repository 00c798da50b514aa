package main

import (
	"os"
	"path/filepath"
	"sync"

	"ferry/daemon"
)

// The kinds of a daemon that is nothing but a file: its state lies in it, and never in memory; events change nothing.
// Where the host keeps a log of them, the state that came is that log's beginning, and the daemon gets a copy of it: what
// a transfer costs by itself is measured without.
const (
	fileKind   = "file"
	loggedKind = "file-logged" // with the host's log, synced
)

// kvKind is the kind of examples/kv.
const kvKind = "kv"

// prepared are the files that daemons still to be created take as their state, by name. The parent writes them, so that
// what it takes to make a state is not counted as a host's.
type prepared struct {
	mu     sync.Mutex
	byName map[string]string
}

func (p *prepared) set(name, path string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.byName == nil {
		p.byName = make(map[string]string)
	}
	p.byName[name] = path
}

func (p *prepared) get(name string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.byName[name]
}

func newFileKind(name string, of *prepared) daemon.Kind {
	return daemon.Kind{
		Name: name, Schema: 1, InMemory: name == fileKind,
		Open: func(env daemon.Env) (daemon.Daemon, error) {
			d := &fileDaemon{path: filepath.Join(env.Dir, stateName)}
			if env.Created {
				return d, os.Rename(of.get(env.Name), d.path)
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
