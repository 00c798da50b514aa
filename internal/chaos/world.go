//go:build unix

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"ferry/cluster"
	"ferry/examples/kv"
)

const (
	daemonName = "orders"
	fillSeed   = 1
	// patience is how long anything may take before the harness gives up. A move
	// that takes longer than endMax, and less than that, is a failure all the same.
	patience = 180 * time.Second
	// endMax is promised: how long after the last restart, or the healing of the
	// links, a move has ended and one node serves.
	endMax = 30 * time.Second
)

// world is a cluster of processes: nodes a and b, and o, which is started for
// each move. Each has a directory and a cluster file of its own.
type world struct {
	ferry  string // the program
	dir    string
	fill   int64
	file   *cluster.File // with everybody's real address
	orders orders
	nodes  map[string]*process
	extra  []string                         // arguments of ferry migrate
	say    func(format string, args ...any) // for whoever wants to know everything
}

var names = []string{"a", "b", "o"}

// newWorld makes the cluster and starts nothing. The nodes' data directories
// are there, and empty.
func newWorld(ferry, dir string, fill int64) (*world, error) {
	made, err := cluster.Init(dir, cluster.Options{Names: names})
	if err != nil {
		return nil, err
	}
	w := &world{ferry: ferry, dir: dir, fill: fill, file: made.File, orders: orders{filepath.Join(dir, "orders")}, nodes: make(map[string]*process)}
	if err := os.Mkdir(w.orders.dir, 0o700); err != nil {
		return nil, err
	}
	for _, name := range names {
		key, err := os.ReadFile(w.file.KeyPath(name))
		if err == nil {
			err = os.MkdirAll(filepath.Join(w.home(name), "keys"), 0o700)
		}
		if err == nil {
			err = os.MkdirAll(w.data(name), 0o700)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(w.home(name), "keys", name+".pem"), key, 0o600)
		}
		if err == nil {
			err = w.route(name, nil)
		}
		if err != nil {
			return nil, err
		}
	}
	return w, nil
}

func (w *world) home(name string) string { return filepath.Join(w.dir, "nodes", name) }

// data is where a node keeps what it must not lose.
func (w *world) data(name string) string { return filepath.Join(w.home(name), "data", name) }

// route writes a node's cluster file: via says where it finds the others, by
// name, other than where they really are.
func (w *world) route(name string, via map[string]string) error {
	file := cluster.File{}
	for _, n := range w.file.Nodes {
		if addr, ok := via[n.Name]; ok {
			n.Addr = addr
		}
		file.Nodes = append(file.Nodes, n)
	}
	return file.Save(w.cluster(name))
}

func (w *world) cluster(name string) string { return filepath.Join(w.home(name), cluster.FileName) }

func (w *world) url(name string) string {
	n, err := w.file.Node(name)
	if err != nil {
		panic("chaos: " + err.Error()) // it is our own cluster
	}
	return "http://" + n.HTTP
}

// startNode starts a node, always with the same command line.
func (w *world) startNode(name string) error {
	args := []string{"node", "--until-stdin-ends", "--cluster", w.cluster(name), "--name", name}
	if name == "a" {
		args = append(args, "--daemon", daemonName, "--create", "--fill", strconv.FormatInt(w.fill, 10), "--fill-seed", strconv.Itoa(fillSeed))
	}
	p, err := w.start(name, args...)
	if err == nil {
		w.nodes[name] = p
	}
	return err
}

// up starts both nodes and waits until the daemon serves at a.
func (w *world) up(ctx context.Context) error {
	if err := errors.Join(w.startNode("b"), w.startNode("a")); err != nil {
		return err
	}
	client, err := kv.NewClient(nil, w.url("a"))
	if err != nil {
		return err
	}
	defer client.CloseIdle()
	return poll(ctx, patience, "node a serves", func() (bool, error) {
		for _, p := range w.nodes {
			if p.ended() {
				return false, fmt.Errorf("node %s has ended: %s", p.name, p.lastLine())
			}
		}
		st, err := client.State(ctx, w.url("a"), false)
		if err != nil || !st.Authority {
			return false, nil
		}
		_, err = client.State(ctx, w.url("b"), false)
		return err == nil, nil
	})
}

// down ends the nodes with SIGTERM.
func (w *world) down() (err error) {
	for _, p := range w.nodes {
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
	}
	over := time.After(patience)
	for _, p := range w.nodes {
		select {
		case <-p.done:
		case <-over:
			err = errors.Join(err, fmt.Errorf("node %s does not end on SIGTERM", p.name), p.kill())
		}
	}
	return err
}

// migrate starts an orchestrator that moves the daemon.
func (w *world) migrate(to string) (*process, error) {
	args := []string{"migrate", "--cluster", w.cluster("o"), "--as", "o", "--daemon", daemonName, "--to", to, "--json", "--quiet"}
	return w.start("o", append(args, w.extra...)...)
}

// Exit codes of ferry migrate.
const (
	exitDone       = 0
	exitRolledBack = 3
)

// finish waits for a move to end. An orchestrator that could not end it, or was
// killed, is run again with the same command line.
func (w *world) finish(ctx context.Context, p *process, to string) (outcome string, reruns int, err error) {
	over := time.NewTimer(patience)
	defer over.Stop()
	for {
		select {
		case <-p.done:
		case <-over.C:
			return "", reruns, fmt.Errorf("the move has not ended within %v: %s", patience, p.lastLine())
		case <-ctx.Done():
			return "", reruns, errors.Join(context.Cause(ctx), p.kill())
		}
		switch p.exit() {
		case exitDone:
			var res struct {
				Outcome string `json:"outcome"`
			}
			err := json.Unmarshal(p.stdout.Bytes(), &res)
			return res.Outcome, reruns, err
		case exitRolledBack:
			w.say("     %s", p.lastLine())
			return "rolled back", reruns, nil
		}
		if reruns++; p.exit() >= 0 {
			w.say("     exit %d: %s", p.exit(), p.lastLine())
			if err := pause(ctx, 100*time.Millisecond); err != nil {
				return "", reruns, err
			}
		}
		if p, err = w.migrate(to); err != nil {
			return "", reruns, err
		}
	}
}

// poll asks every few milliseconds until ok, or err.
func poll(ctx context.Context, within time.Duration, what string, ok func() (bool, error)) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	over := time.NewTimer(within)
	defer over.Stop()
	for {
		if is, err := ok(); is || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-over.C:
			return fmt.Errorf("not within %v: %s", within, what)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
