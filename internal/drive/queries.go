package drive

import (
	"context"
	"fmt"
	"sync"

	"ferry/frame"
	"ferry/identity"
	"ferry/proto0500"
	"ferry/transport"
)

// Queries are the questions about all daemons of a node that wait for their
// answers. A question is told from others by its tag: the epoch of its frame,
// which every report of the answer echoes, and which lies above every epoch of
// a migration.
type Queries struct {
	mu      sync.Mutex
	pending map[frame.Epoch]*query
	asked   uint64
}

type query struct {
	node    proto0500.NodeID
	reports []proto0500.Report
	err     error
	done    chan struct{}
}

const (
	queryTags frame.Epoch = 1 << 63
	// reportsMax bounds what one answer may hold.
	reportsMax = 1 << 16
)

// Ask asks the peer of a session what it is for each daemon that it knows, and
// waits until ctx or the session ends.
func (qs *Queries) Ask(ctx context.Context, sess *transport.Session, lim frame.Limits) ([]proto0500.Report, error) {
	if !Offers(sess) {
		return nil, fmt.Errorf("node %v: %w", sess.Peer(), ErrPlainPeer)
	}
	q := &query{node: proto0500.NodeID(sess.Peer()), done: make(chan struct{})}
	qs.mu.Lock()
	if qs.pending == nil {
		qs.pending = make(map[frame.Epoch]*query)
	}
	qs.asked++
	tag := queryTags + frame.Epoch(qs.asked)
	qs.pending[tag] = q
	qs.mu.Unlock()
	defer func() {
		qs.mu.Lock()
		delete(qs.pending, tag)
		qs.mu.Unlock()
	}()
	b, err := proto0500.Query{}.Append(nil, &lim)
	if err != nil {
		return nil, err
	}
	if err := sess.Send(tag, b); err != nil {
		return nil, err
	}
	select {
	case <-q.done:
		return q.reports, q.err
	case <-ctx.Done():
		return nil, fmt.Errorf("node %v does not answer: %w", sess.Peer(), context.Cause(ctx))
	case <-sess.Done():
		return nil, sess.Err()
	}
}

// RefusedError is a node's no to a question or an order.
type RefusedError struct {
	Node   identity.NodeID
	Reason proto0500.RejectReason
	Text   string // the node's own words, at most proto0500.TextBytesMax
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("node %v refuses: %v: %s", e.Node, e.Reason, e.Text)
}

// Take takes a message that may belong to an answer, and says whether it did.
func (qs *Queries) Take(from proto0500.NodeID, tag frame.Epoch, m proto0500.Message) bool {
	r, report := m.(proto0500.Report)
	no, rejected := m.(proto0500.Rejected)
	if tag < queryTags || !report && !(rejected && no.Refused == proto0500.KindQuery) {
		return false
	}
	qs.mu.Lock()
	defer qs.mu.Unlock()
	q := qs.pending[tag]
	if q == nil || q.node != from || len(q.reports) >= reportsMax {
		return true // too late: it belongs to nothing else
	}
	switch {
	case rejected:
		q.err = &RefusedError{Node: identity.NodeID(from), Reason: no.Reason, Text: no.Text.String()}
	case r.DaemonOrigin != 0:
		q.reports = append(q.reports, r)
	}
	if rejected || r.Last {
		delete(qs.pending, tag)
		close(q.done)
	}
	return true
}
