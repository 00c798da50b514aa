package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"

	"ferry/cluster"
	"ferry/daemon"
	"ferry/identity"
	"ferry/proto0500"
	"ferry/transport"
)

// clusterFlag adds --cluster.
func clusterFlag(flags *pflag.FlagSet, path *string) {
	flags.StringVarP(path, "cluster", "c", cluster.FileName, "the cluster file")
}

// loadCluster reads the cluster file and finds this node in it.
func loadCluster(path, name string) (*cluster.File, cluster.Node, error) {
	file, err := cluster.Load(path)
	if err != nil {
		return nil, cluster.Node{}, fmt.Errorf("%w (`ferry init DIR` makes a cluster)", err)
	}
	me, err := file.Node(name)
	return file, me, err
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
	Query(ctx context.Context, node identity.NodeID) ([]proto0500.Report, error)
}

// answer is what one node said, or why it did not.
type answer struct {
	node    cluster.Node
	reports []proto0500.Report
	err     error
}

// askTimeout is how long a node may take to be reached and to answer.
const askTimeout = 2 * time.Second

// askAll asks every other node of the cluster at once.
func askAll(ctx context.Context, file *cluster.File, q querier) []answer {
	ctx, cancel := context.WithTimeoutCause(ctx, askTimeout, transport.ErrTimeout)
	defer cancel()
	var answers []answer
	for _, n := range file.Nodes {
		if n.ID() != q.Node() {
			answers = append(answers, answer{node: n})
		}
	}
	var g errgroup.Group
	for i := range answers {
		g.Go(func() error {
			a := &answers[i]
			a.reports, a.err = q.Query(ctx, a.node.ID())
			return nil
		})
	}
	_ = g.Wait()
	return answers
}

// silent says whether an answer failed because nobody was there.
func silent(err error) bool {
	return errors.Is(err, transport.ErrTimeout) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, transport.ErrLost)
}

// whoHas asks the other nodes for a daemon by name. unsure are those that are
// there and gave no answer that could be read; nodes that cannot be reached do
// not count, or no first node of a cluster could ever start.
func whoHas(ctx context.Context, file *cluster.File, host *daemon.Host, name string) (found string, unsure []string, err error) {
	for _, a := range askAll(ctx, file, host) {
		switch {
		case a.err == nil:
			for _, r := range a.reports {
				if r.Name.String() == name {
					found = a.node.Name
				}
			}
		case !silent(a.err):
			unsure = append(unsure, fmt.Sprintf("%s (%v)", a.node.Name, a.err))
		}
	}
	return found, unsure, ctx.Err()
}

func join(names []string) string {
	slices.Sort(names)
	return strings.Join(names, ", ")
}
