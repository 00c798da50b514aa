package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2/maybe"
	"github.com/pelletier/go-toml/v2"

	"ferry/identity"
)

const fileBytesMax = 1 << 20 // about 5,000 nodes

// fileTOML and nodeTOML are the file as it is written.
type fileTOML struct {
	Nodes []nodeTOML `toml:"nodes"`
}

type nodeTOML struct {
	Name         string `toml:"name"`
	Addr         string `toml:"addr"`
	HTTP         string `toml:"http,omitempty"`
	PublicKey    string `toml:"public_key"`
	Orchestrator *bool  `toml:"orchestrator,omitempty"`
	Asks         bool   `toml:"asks,omitempty"`
}

// Load reads a cluster file. What is wrong in the file is a *FileError with its line; a file that cannot be read is
// the operating system's error.
func Load(path string) (*File, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("cluster file %s: %w", path, err)
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("cluster file: %w", err)
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, fileBytesMax+1))
	if err != nil {
		return nil, fmt.Errorf("cluster file: %w", err)
	}
	nodes, err := parse(path, text)
	if err != nil {
		return nil, err
	}
	return &File{Nodes: nodes, path: abs}, nil
}

// parse reads the text of the file called path.
func parse(path string, text []byte) ([]Node, error) {
	if len(text) > fileBytesMax {
		return nil, &FileError{Path: path, Err: fmt.Errorf("%w: over %d bytes", ErrTooLarge, fileBytesMax)}
	}
	var raw fileTOML
	if err := toml.NewDecoder(bytes.NewReader(text)).DisallowUnknownFields().Decode(&raw); err != nil {
		return nil, tomlError(path, err)
	}
	at := linesOf(text)
	nodes := make([]Node, len(raw.Nodes))
	for i, r := range raw.Nodes {
		n := Node{Name: r.Name, Addr: r.Addr, HTTP: r.HTTP, Orchestrator: r.Orchestrator == nil || *r.Orchestrator, Asks: r.Asks}
		if r.PublicKey != "" {
			pub, err := identity.ParsePublic(r.PublicKey)
			if err != nil {
				return nil, &FileError{Path: path, Line: at(i, "public_key"), Node: r.Name, Field: "public_key",
					Err: fmt.Errorf("%w: %w", ErrValue, err)}
			}
			n.PublicKey = pub
		}
		nodes[i] = n
	}
	if err := check(path, nodes, at); err != nil {
		return nil, err
	}
	return nodes, nil
}

// tomlError translates what the TOML library found: it says where, and we say it in one line.
func tomlError(path string, err error) error {
	if strict, ok := errors.AsType[*toml.StrictMissingError](err); ok && len(strict.Errors) > 0 {
		first := &strict.Errors[0]
		line, _ := first.Position()
		key := first.Key()
		field := ""
		if len(key) > 0 {
			field = key[len(key)-1]
		}
		return &FileError{Path: path, Line: line, Field: field,
			Err: fmt.Errorf("%w: a node has name, addr, http, public_key, orchestrator and asks", ErrField)}
	}
	if bad, ok := errors.AsType[*toml.DecodeError](err); ok {
		line, _ := bad.Position()
		return &FileError{Path: path, Line: line, Err: fmt.Errorf("%w: %w", ErrSyntax, bad)}
	}
	return &FileError{Path: path, Err: fmt.Errorf("%w: %w", ErrSyntax, err)}
}

const preamble = `# A ferry cluster: every node has this file, and beside it its own key in keys/NAME.pem.
# addr is UDP, for the other nodes; http is TCP, for the HTTP API of the daemons.

`

// Save checks the nodes as Load does and writes them to path. When it returns nil the file survives a crash; whatever
// happens, path is the whole new file or what it was before (but on Windows, which has no such rename).
func (f *File) Save(path string) error {
	abs, err := filepath.Abs(path)
	if err != nil {
		return fmt.Errorf("cluster file %s: %w", path, err)
	}
	if err := check(path, f.Nodes, nil); err != nil {
		return err
	}
	raw := fileTOML{Nodes: make([]nodeTOML, len(f.Nodes))}
	for i, n := range f.Nodes {
		raw.Nodes[i] = nodeTOML{Name: n.Name, Addr: n.Addr, HTTP: n.HTTP, PublicKey: identity.FormatPublic(n.PublicKey), Asks: n.Asks}
		if !n.Orchestrator {
			raw.Nodes[i].Orchestrator = new(false)
		}
	}
	text, err := toml.Marshal(raw)
	if err != nil {
		return fmt.Errorf("cluster file %s: %w", path, err)
	}
	if err := maybe.WriteFile(abs, append([]byte(preamble), text...), 0o644); err != nil {
		return fmt.Errorf("cluster file: %w", err)
	}
	f.path = abs
	return nil
}
