package daemon

import (
	"errors"
	"fmt"

	"ferry/frame"
	"ferry/internal/drive"
	"ferry/proto0500"
)

var (
	// ErrUnknownDaemon: this node has no daemon of that name and no record of it.
	ErrUnknownDaemon = errors.New("daemon: unknown daemon")
	// ErrExists: this node already has a record of a daemon of that name.
	ErrExists = errors.New("daemon: already exists")
	// ErrUnknownKind: no Kind of that name is registered.
	ErrUnknownKind = errors.New("daemon: unknown kind")
	// ErrClosed: the host is stopping or has stopped. A write that got it was not
	// accepted.
	ErrClosed = errors.New("daemon: host closed")
	// ErrStopped: the daemon failed and serves no more until the node is
	// restarted; its cause is wrapped beside it.
	ErrStopped = errors.New("daemon: stopped after a failure")
	// ErrNoState: the record says that this node is the authority, but the
	// state is gone (an in-memory daemon after a crash).
	ErrNoState = errors.New("daemon: state lost")
	// ErrNotServing: the daemon is known here, but this node is not its authority now.
	ErrNotServing = errors.New("daemon: not the authority here")
)

// MovedError answers a write at a node that has given the daemon away. It is a
// hint (safety.md, R11): the target may not be live yet, and holds writes back
// or asks to retry until it is.
type MovedError struct {
	Name   string
	Target proto0500.NodeID
	Epoch  frame.Epoch
}

func (e *MovedError) Error() string {
	return fmt.Sprintf("daemon %q: moved to node %016x in epoch %d", e.Name, uint64(e.Target), e.Epoch)
}

// TooLargeError refuses an event above the host's limit, before it is accepted.
type TooLargeError struct{ Bytes, BytesMax int }

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("daemon: event of %d bytes is over the limit of %d", e.Bytes, e.BytesMax)
}

// RefusedError is another node's no to a question; see proto0500.Rejected.
type RefusedError = drive.RefusedError
