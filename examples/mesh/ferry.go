package mesh

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"ferry/daemon"
	"ferry/identity"
	"ferry/orchestrator"
	"ferry/proto0500"
)

// board makes what the node runs of ferry: a host for daemons, or the orchestrator who moves them. Neither has a socket
// yet: it gets one by Config.Ride.
func (n *Node) board() (err error) {
	if n.id == n.cfg.Mover {
		n.mover, err = orchestrator.New(orchestrator.Config{
			Key: n.cfg.Key, Journal: n.cfg.Journal, Resolver: &n.table, Log: n.cfg.Log,
		})
		n.ferry = n.mover
		return err
	}
	n.host, err = daemon.New(daemon.Config{
		Key: n.cfg.Key, Dir: filepath.Join(n.cfg.Dir, n.cfg.Name), Journal: n.cfg.Journal, Kinds: n.cfg.Kinds,
		Resolver:      &n.table,
		Orchestrators: identity.NewAllowList(n.cfg.Mover),
		OnAuthority:   n.table.learn,
		Log:           n.cfg.Log,
	})
	n.ferry = n.host
	return err
}

// Create makes a daemon on this node, and lets the mesh know.
func (n *Node) Create(ctx context.Context, name, kind string) error {
	if err := n.host.Create(ctx, name, kind); err != nil {
		return err
	}
	st, err := n.host.Status(ctx, name)
	if err != nil {
		return err
	}
	n.table.learn(daemon.Authority{Name: name, Origin: st.Origin, Node: proto0500.NodeID(n.id), Epoch: st.Epoch})
	return nil
}

// Move moves a daemon to another node. Only the mover can.
func (n *Node) Move(ctx context.Context, name string, to identity.NodeID) (orchestrator.Result, error) {
	owner, err := n.table.owner(ctx, name)
	if err != nil {
		return orchestrator.Result{}, err
	}
	h, err := n.mover.Migrate(ctx, orchestrator.Move{Daemon: owner.Origin, Source: owner.Node, Target: proto0500.NodeID(to)})
	if err != nil {
		return orchestrator.Result{}, err
	}
	return h.Wait(ctx)
}

// hopsMax bounds how often a write follows a daemon that moves on.
const hopsMax = 8

// Write writes to a daemon wherever in the mesh it is, and follows it when it has moved.
func (n *Node) Write(ctx context.Context, name string, payload []byte) (proto0500.Seq, error) {
	m := message{Kind: "write", Daemon: name, Payload: payload}
	for range hopsMax {
		owner, err := n.table.owner(ctx, name)
		if err != nil {
			return 0, err
		}
		var answer message
		if node := identity.NodeID(owner.Node); node == n.id {
			answer = n.write(ctx, m)
		} else if answer, err = n.ask(ctx, node, m); err != nil {
			return 0, fmt.Errorf("mesh: write to %q at node %v: %w", name, node, err)
		}
		switch {
		case answer.Error != "":
			return 0, fmt.Errorf("mesh: write to %q: %s", name, answer.Error)
		case len(answer.Owners) == 0:
			return proto0500.Seq(answer.Seq), nil
		}
		for _, a := range answer.Owners { // it has moved
			n.table.learn(a)
		}
	}
	return 0, fmt.Errorf("mesh: %q has moved on %d times", name, hopsMax)
}

// write is Write where the daemon is, or was.
func (n *Node) write(ctx context.Context, m message) message {
	answer := message{Kind: "wrote"}
	if n.host == nil {
		answer.Error = "this node has no daemons"
		return answer
	}
	seq, err := n.host.Write(ctx, m.Daemon, m.Payload)
	answer.Seq = uint64(seq)
	if moved, ok := errors.AsType[*daemon.MovedError](err); ok {
		answer.Owners = []daemon.Authority{{Name: moved.Name, Node: moved.Target, Epoch: moved.Epoch}}
	} else if err != nil {
		answer.Error = err.Error()
	}
	return answer
}
