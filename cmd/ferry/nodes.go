package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"ferry/cluster"
	"ferry/identity"
	"ferry/proto0500"
	"ferry/transport"
)

// loadCluster reads the cluster file and finds this node in it.
func loadCluster(path, name string) (*cluster.File, cluster.Node, error) {
	file, err := readCluster(path)
	if err != nil {
		return nil, cluster.Node{}, err
	}
	me, err := file.Node(name)
	return file, me, err
}

func readCluster(path string) (*cluster.File, error) {
	file, err := cluster.Load(path)
	if _, inside := errors.AsType[*cluster.FileError](err); err != nil && !inside {
		return nil, fmt.Errorf("%w (`ferry init DIR` makes a cluster, --cluster names its file)", err)
	}
	return file, err
}

// nodeName is how the cluster file calls a node.
func nodeName(file *cluster.File, id proto0500.NodeID) string {
	if n, ok := file.ByID(identity.NodeID(id)); ok {
		return n.Name
	}
	return fmt.Sprintf("%016x", uint64(id))
}

// querier asks a node what it has: a host or an orchestrator.
type querier interface {
	Node() identity.NodeID
	Endpoint() *transport.Endpoint
	Query(ctx context.Context, node identity.NodeID) ([]proto0500.Report, error)
}

// answer is what one node said, or why it did not.
type answer struct {
	node    cluster.Node
	reached bool // it is there, whatever it said
	reports []proto0500.Report
	err     error
}

// askTimeout is how long a node may take to be reached and to answer.
const askTimeout = 2 * time.Second

// answers asks every other node of the cluster at once, and yields what they
// say as it comes in. A break gives up the rest.
func answers(ctx context.Context, file *cluster.File, q querier) iter.Seq[answer] {
	return func(yield func(answer) bool) {
		ctx, cancel := context.WithTimeoutCause(ctx, askTimeout, transport.ErrTimeout)
		var g errgroup.Group
		defer func() { cancel(); _ = g.Wait() }()
		in := make(chan answer, len(file.Nodes))
		asked := 0
		for _, n := range file.Nodes {
			if n.ID() == q.Node() {
				continue
			}
			asked++
			g.Go(func() error { in <- askOne(ctx, q, n); return nil })
		}
		for range asked {
			if !yield(<-in) {
				return
			}
		}
	}
}

func askOne(ctx context.Context, q querier, n cluster.Node) answer {
	a := answer{node: n}
	if _, a.err = q.Endpoint().Session(ctx, n.ID()); a.err != nil {
		if errors.Is(a.err, context.DeadlineExceeded) {
			a.err = fmt.Errorf("%w: nothing from %s for %v", transport.ErrTimeout, n.Addr, askTimeout)
		}
		return a
	}
	a.reached = true
	a.reports, a.err = q.Query(ctx, n.ID())
	return a
}

// askAll is all answers, in the order of the cluster file.
func askAll(ctx context.Context, file *cluster.File, q querier) []answer {
	at := make(map[string]int)
	for i, n := range file.Nodes {
		at[n.Name] = i
	}
	return slices.SortedFunc(answers(ctx, file, q), func(a, b answer) int { return at[a.node.Name] - at[b.node.Name] })
}

// authority says whether the reporting node accepts the daemon's writes, now or
// when a freeze has ended.
func authority(r proto0500.Report) bool {
	switch r.State {
	case proto0500.StateServing, proto0500.StateBegun, proto0500.StateCopying, proto0500.StateFrozen:
		return r.Copy
	}
	return false
}

func join(names []string) string {
	slices.Sort(names)
	return strings.Join(slices.Compact(names), ", ")
}
