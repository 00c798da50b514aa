package cluster

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"strings"

	"ferry/identity"
	"ferry/transport"
)

// What can be wrong with a cluster file. Match with errors.Is; the facts are in FileError.
var (
	ErrSyntax    = errors.New("bad TOML")
	ErrField     = errors.New("no such field")
	ErrValue     = errors.New("impossible value")
	ErrMissing   = errors.New("missing")
	ErrDuplicate = errors.New("used twice")
	ErrTooLarge  = errors.New("too large for a cluster file")
)

// ErrExists: there is a cluster already, and Init was not told to replace it.
var ErrExists = errors.New("there is a cluster already")

// FileError says what is wrong with a cluster file, and where.
type FileError struct {
	Path  string
	Line  int    // 1 is the first; 0: not known, or not a matter of one line
	Node  string // the node in question, "" when it is none or has no name
	Field string // in the words of the file, "" when it is none
	Err   error  // wraps one of the sentinels
}

func (e *FileError) Error() string {
	var b strings.Builder
	b.WriteString(e.Path)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d", e.Line)
	}
	if e.Node != "" {
		fmt.Fprintf(&b, ": node %s", e.Node)
	}
	if e.Field != "" {
		fmt.Fprintf(&b, ": %s", e.Field)
	}
	fmt.Fprintf(&b, ": %v", e.Err)
	return b.String()
}

func (e *FileError) Unwrap() error { return e.Err }

// UnknownNodeError: the file has no node of that name. It matches transport.ErrUnknownNode.
type UnknownNodeError struct {
	Path  string
	Node  string
	Known []string
}

func (e *UnknownNodeError) Error() string {
	return fmt.Sprintf("no node %q in %s: it has %s", e.Node, e.Path, strings.Join(e.Known, ", "))
}

func (e *UnknownNodeError) Unwrap() error { return transport.ErrUnknownNode }

// KeyMismatchError: the node's private key is not the one whose public half stands in the file, so that no other node
// would believe it.
type KeyMismatchError struct {
	Path    string
	Node    string
	KeyPath string
	Want    ed25519.PublicKey // in the file
	Got     ed25519.PublicKey // of the key
}

func (e *KeyMismatchError) Error() string {
	return fmt.Sprintf("%s is not the key of node %s: %s has public_key %s, the key is %s",
		e.KeyPath, e.Node, e.Path, identity.FormatPublic(e.Want), identity.FormatPublic(e.Got))
}
