package cluster

import (
	"crypto/ed25519"
	"errors"
	"io/fs"
	"path/filepath"
	"time"

	"ferry/identity"
)

// FileName is what a cluster file is called where nobody says otherwise.
const FileName = "cluster.toml"

// Node is one [[nodes]] table.
type Node struct {
	Name         string
	Addr         string // host:port, UDP
	HTTP         string // host:port, TCP; "" for a node without an HTTP API
	PublicKey    ed25519.PublicKey
	Orchestrator bool // it may move daemons between the others, and splice for them
	Asks         bool // it may ask the others which daemons they have, as an orchestrator may in any case
}

// ID is the node id that belongs to the node's key.
func (n Node) ID() identity.NodeID { return identity.NodeIDOf(n.PublicKey) }

// File is a cluster file that has been checked. It is not changed after Load or Save, and many goroutines may read it.
type File struct {
	Nodes []Node
	path  string
}

// Path is the file it was loaded from or saved to.
func (f *File) Path() string { return f.path }

// Dir is the directory that holds the file, the keys and the data.
func (f *File) Dir() string { return filepath.Dir(f.path) }

// KeyPath is where the private key of a node belongs. It is there only on the machine that runs the node.
func (f *File) KeyPath(name string) string { return keyPath(f.Dir(), name) }

// DataDir is where a node stores what it must not lose. It need not exist yet.
func (f *File) DataDir(name string) string { return filepath.Join(f.Dir(), "data", name) }

// Node finds a node by its name. The error is an *UnknownNodeError, which names the nodes there are.
func (f *File) Node(name string) (Node, error) {
	for _, n := range f.Nodes {
		if n.Name == name {
			return n, nil
		}
	}
	return Node{}, &UnknownNodeError{Path: f.path, Node: name, Known: f.names()}
}

// ByID finds a node by its id.
func (f *File) ByID(id identity.NodeID) (Node, bool) {
	for _, n := range f.Nodes {
		if n.ID() == id {
			return n, true
		}
	}
	return Node{}, false
}

// Key loads the private key of a node, and compares it with the public key that the others will expect of it. The
// error is what identity.LoadKey gives, or a *KeyMismatchError. Where there is a file at CertificatePath, the key shows the
// certificate in it, which must be for this key and good today.
func (f *File) Key(name string) (*identity.Key, error) {
	n, err := f.Node(name)
	if err != nil {
		return nil, err
	}
	path := f.KeyPath(name)
	k, err := identity.LoadKey(path)
	if err != nil {
		return nil, err
	}
	if !k.Public().Equal(n.PublicKey) {
		return nil, &KeyMismatchError{Path: f.path, Node: name, KeyPath: path, Want: n.PublicKey, Got: k.Public()}
	}
	with, err := k.LoadCertificate(f.CertificatePath(name), time.Now())
	if errors.Is(err, fs.ErrNotExist) {
		return k, nil
	}
	return with, err
}

// Orchestrators are the nodes that may orchestrate and splice.
func (f *File) Orchestrators() identity.AllowList {
	return f.allow(func(n Node) bool { return n.Orchestrator })
}

// Askers are the nodes that may ask which daemons a node has.
func (f *File) Askers() identity.AllowList {
	return f.allow(func(n Node) bool { return n.Orchestrator || n.Asks })
}

func (f *File) allow(may func(Node) bool) identity.AllowList {
	var ids []identity.NodeID
	for _, n := range f.Nodes {
		if may(n) {
			ids = append(ids, n.ID())
		}
	}
	return identity.NewAllowList(ids...)
}

func (f *File) names() []string {
	names := make([]string, len(f.Nodes))
	for i, n := range f.Nodes {
		names[i] = n.Name
	}
	return names
}

// CertificatePath is where an operator may put a certificate of their own for the key of a node. Without one the key shows
// one that it makes itself, and that does not expire.
func (f *File) CertificatePath(name string) string {
	return filepath.Join(f.Dir(), "keys", name+".crt")
}

func keyPath(dir, name string) string { return filepath.Join(dir, "keys", name+".pem") }
