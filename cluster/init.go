package cluster

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"ferry/identity"
)

// DefaultHost is where the nodes of a new cluster listen when nobody says otherwise.
const DefaultHost = "127.0.0.1"

// Options of Init. The zero value makes nodes a, b and o on this machine.
type Options struct {
	Names    []string // of the nodes; nil: a, b, o
	Host     string   // of every addr; "": 127.0.0.1. The HTTP APIs are on 127.0.0.1 in any case, as they ask nobody who he is
	BasePort int      // where the search for free ports begins; 0: anywhere
	Force    bool     // replace the cluster file; keys that are there stay, as the data beside them belong to them
}

// Created is what Init made.
type Created struct {
	File     *File
	KeysKept []string // nodes whose key was there already
}

// Init makes a cluster in dir: a key for each node and the cluster file, on ports that were free when it looked. The
// file comes last: without it, there is no cluster, and Init can be run again.
//
// A cluster file that is there already is ErrExists and nothing is changed, unless opts.Force. A key is never
// replaced.
func Init(dir string, opts Options) (*Created, error) {
	names := opts.Names
	if names == nil {
		names = []string{"a", "b", "o"}
	}
	host := opts.Host
	if host == "" {
		host = DefaultHost
	}
	path := filepath.Join(dir, FileName)
	if err := mayWrite(path, opts.Force); err != nil {
		return nil, err
	}
	if err := checkNames(path, names); err != nil {
		return nil, err
	}
	if err := CheckHost(host); err != nil {
		return nil, fmt.Errorf("host: %w", err)
	}
	nodes, err := place(names, host, opts.BasePort)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.MkdirAll(filepath.Join(dir, "keys"), 0o700)); err != nil {
		return nil, fmt.Errorf("new cluster: %w", err)
	}
	made := &Created{File: &File{Nodes: nodes}}
	for i := range nodes {
		key, kept, err := keyFor(keyPath(dir, nodes[i].Name))
		if err != nil {
			return nil, err
		}
		nodes[i].PublicKey = key.Public()
		if kept {
			made.KeysKept = append(made.KeysKept, nodes[i].Name)
		}
	}
	if err := made.File.Save(path); err != nil {
		return nil, err
	}
	return made, nil
}

func mayWrite(path string, force bool) error {
	_, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("new cluster: %w", err)
	case !force:
		return fmt.Errorf("%w: %s", ErrExists, path)
	}
	return nil
}

func checkNames(path string, names []string) error {
	seen := map[string]int{}
	for i, name := range names {
		if err := CheckName(name); err != nil {
			return &FileError{Path: path, Field: "name", Err: err}
		}
		if _, twice := taken(seen, name, i); twice {
			return &FileError{Path: path, Node: name, Field: "name", Err: ErrDuplicate}
		}
	}
	if len(names) == 0 {
		return &FileError{Path: path, Field: "nodes", Err: ErrMissing}
	}
	return nil
}

// keyFor loads the key at path, or makes it.
func keyFor(path string) (key *identity.Key, kept bool, err error) {
	key, err = identity.LoadKey(path)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return key, err == nil, err
	}
	key, err = identity.GenerateKey(rand.Reader)
	if err != nil {
		return nil, false, err
	}
	return key, false, identity.SaveKey(path, key)
}
