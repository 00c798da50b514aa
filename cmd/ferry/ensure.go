package main

import (
	"context"
	"errors"
	"fmt"

	"ferry/cluster"
	"ferry/daemon"
	"ferry/proto0500"
	"ferry/transport"
)

// ensureDaemon creates the daemon if it is nowhere, and says whether it did.
func ensureDaemon(ctx context.Context, file *cluster.File, host *daemon.Host, name string, create bool) (created bool, err error) {
	if _, err := host.Status(ctx, name); !errors.Is(err, daemon.ErrUnknownDaemon) {
		return false, err // here, or moved away from here: the record decides
	}
	if !create {
		elsewhere, err := isElsewhere(ctx, file, host, name)
		if elsewhere || err != nil {
			return false, err
		}
	}
	if err := host.Create(ctx, name, "kv"); err != nil {
		return false, fmt.Errorf("create daemon %q: %w", name, err)
	}
	return true, nil
}

// isElsewhere asks the other nodes whether one of them knows the daemon. A node
// that cannot be reached does not count, or no first node of a cluster could
// ever start; one that is there and gives no answer leaves it open, and is an
// error.
func isElsewhere(ctx context.Context, file *cluster.File, host *daemon.Host, name string) (bool, error) {
	var unsure []string
	for a := range answers(ctx, file, host) {
		for _, r := range a.reports {
			if r.Name.String() == name && r.State != proto0500.StateNone {
				return true, nil // the usual restart of a node that has given its daemon away
			}
		}
		if a.err != nil && (a.reached || !unreachable(a.err)) {
			unsure = append(unsure, fmt.Sprintf("%s (%v)", a.node.Name, a.err))
		}
	}
	switch {
	case ctx.Err() != nil:
		return false, context.Cause(ctx)
	case len(unsure) > 0:
		return false, fmt.Errorf("cannot tell whether daemon %q exists already, as these nodes are there and do not say: %s; mend that, or use --create if it exists nowhere",
			name, join(unsure))
	}
	return false, nil
}

// unreachable says that nobody was there.
func unreachable(err error) bool {
	return errors.Is(err, transport.ErrTimeout) || errors.Is(err, transport.ErrLost)
}
