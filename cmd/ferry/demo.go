package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"ferry/cluster"
	"ferry/examples/kv"
)

type demoOptions struct {
	state   size
	writes  int
	clients int
	lanes   int
	seed    uint64
	keep    string
	before  time.Duration
	after   time.Duration
	// blackoutMax fails the check when the blackout was longer. 0: it is only told.
	blackoutMax time.Duration
	// writesMin fails the check when fewer per cent of the rate before the move
	// were acknowledged while the snapshot travelled. 0: it is only told.
	writesMin float64

	exe    string   // this program
	env    []string // further environment of the processes
	tamper func(iter.Seq2[kv.LogLine, error]) iter.Seq2[kv.LogLine, error]
}

func newDemoCmd() *cobra.Command {
	opts := demoOptions{state: 64 << 20}
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Watch a daemon move between two processes while it is written to",
		Long: `Start two nodes, a and b, as processes of their own, with a kv daemon at a, and writers in another process that offer it
writes at a fixed rate. Then move the daemon from a to b, with a third process as the orchestrator, and check by the
writers' own records, over HTTP alone, that every acknowledged write is at b exactly once and in order, that the chain
is unbroken, and that the state is that of a store that never moved.

Everything lies in a temporary directory, or in --keep DIR: the cluster file, keys, logs, data and records.`,
		Example: `  ferry demo
  ferry demo --state 1GiB --writes 5000
  ferry demo --json
  ferry demo --keep /tmp/demo --lanes 8`,
		Args: cobra.NoArgs,
	}
	flags := cmd.Flags()
	flags.Var(&opts.state, "state", "size of the daemon's state: seeded, incompressible, below its first event")
	flags.IntVar(&opts.writes, "writes", 2000, "writes offered per second, whatever the answers take (open loop)")
	flags.IntVar(&opts.clients, "clients", 64, "writes that may be under way at once")
	flags.IntVar(&opts.lanes, "lanes", 4, "streams that carry the snapshot")
	flags.Uint64Var(&opts.seed, "seed", 1, "seed of the state")
	flags.StringVar(&opts.keep, "keep", "", "keep everything in `DIR`, which must not be a cluster yet")
	flags.DurationVar(&opts.before, "before", 2*time.Second, "how long to write before the move")
	flags.DurationVar(&opts.after, "after", 2*time.Second, "how long to write after the move")
	flags.DurationVar(&opts.blackoutMax, "max-blackout", 0, "fail when the blackout was longer than this (0: only tell)")
	flags.Float64Var(&opts.writesMin, "min-writes", 0, "fail when less than this percentage of the rate before the move was acknowledged while the snapshot travelled (0: only tell)")
	asJSON := jsonFlag(flags)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		switch {
		case opts.writes < 1 || opts.writes > 100_000:
			return usagef("--writes must be from 1 to 100000")
		case opts.clients < 1 || opts.clients > 10_000:
			return usagef("--clients must be from 1 to 10000")
		case opts.lanes < 1 || opts.lanes > lanesMax:
			return usagef("--lanes must be from 1 to %d", lanesMax)
		case opts.before < 0 || opts.after < 0:
			return usagef("--before and --after must not be negative")
		}
		ctx, stop := withSignals(cmd.Context())
		defer stop()
		rep, err := runDemo(ctx, cmd.ErrOrStderr(), opts)
		if err != nil {
			return err
		}
		if *asJSON {
			err = printJSON(cmd.OutOrStdout(), rep, true)
		} else {
			err = rep.write(cmd.OutOrStdout())
		}
		return errors.Join(rep.verdict(), err)
	}
	return cmd
}

// runDemo runs the whole demonstration. The error says what could not be done;
// a check that fails is in the report.
func runDemo(ctx context.Context, stderr io.Writer, opts demoOptions) (rep *demoReport, err error) {
	if opts.exe == "" {
		if opts.exe, err = os.Executable(); err != nil {
			return nil, err
		}
	}
	dir := opts.keep
	if dir == "" {
		if dir, err = os.MkdirTemp("", "ferry-demo-"); err != nil {
			return nil, err
		}
		defer os.RemoveAll(dir)
	}
	made, err := cluster.Init(dir, cluster.Options{})
	if err != nil {
		if errors.Is(err, cluster.ErrExists) {
			err = fmt.Errorf("%w: --keep needs a directory without one", err)
		}
		return nil, err
	}
	d := &demo{opts: opts, dir: dir, file: made.File, stderr: stderr}
	defer func() {
		if e := d.stopAll(); err == nil {
			err = e
		}
	}()
	rep, err = d.run(ctx)
	if err != nil && ctx.Err() != nil {
		err = errors.New("interrupted; every process of the demo has been ended")
	}
	if opts.keep != "" {
		d.say("everything is kept in %s: `ferry node --cluster %s --name b` starts the new owner again", dir, made.File.Path())
	}
	return rep, err
}

// demo is one demonstration under way.
type demo struct {
	opts   demoOptions
	dir    string
	file   *cluster.File
	stderr io.Writer
	procs  []*process
}

const (
	demoDaemon = "orders"
	// startTimeout is how long a node may take to load its state and serve.
	startTimeout = 100 * time.Second
	// catchUp is how long the writers are waited for after they were stopped.
	catchUp = 60 * time.Second
)

func (d *demo) path(name string) string { return filepath.Join(d.dir, name) }

func (d *demo) say(format string, args ...any) { fmt.Fprintf(d.stderr, format+"\n", args...) }

func (d *demo) run(ctx context.Context) (*demoReport, error) {
	a, b := d.url("a"), d.url("b")
	d.say("loading %s of state into daemon %q at node a …", d.opts.state, demoDaemon)
	target, err := d.start("node b", "node", "--until-stdin-ends", "--cluster", d.file.Path(), "--name", "b")
	if err != nil {
		return nil, err
	}
	source, err := d.start("node a", "node", "--until-stdin-ends", "--cluster", d.file.Path(), "--name", "a", "--daemon", demoDaemon, "--create",
		"--fill", fmt.Sprint(uint64(d.opts.state)), "--fill-seed", fmt.Sprint(d.opts.seed), "--lanes", fmt.Sprint(d.opts.lanes))
	if err != nil {
		return nil, err
	}
	if err := d.awaitNode(ctx, target, b, false); err != nil {
		return nil, err
	}
	if err := d.awaitNode(ctx, source, a, true); err != nil {
		return nil, err
	}
	writers, err := d.startWriters(a, b)
	if err != nil {
		return nil, err
	}
	d.say("source a: pid %d   target b: pid %d   writers: pid %d, %d writes/s", source.pid(), target.pid(), writers.pid(), d.opts.writes)
	if err := d.pause(ctx, d.opts.before); err != nil {
		return nil, err
	}
	move, orchestrator, err := d.migrate(ctx)
	if err != nil {
		return nil, err
	}
	if err := d.pause(ctx, d.opts.after); err != nil {
		return nil, err
	}
	if err := writers.finish(catchUp); err != nil {
		return nil, fmt.Errorf("writers: %w", err)
	}
	d.say("checking every acknowledged write against the log of %s …", move.To)
	rep := &demoReport{
		Pids: map[string]int{
			"source": source.pid(), "target": target.pid(), "orchestrator": orchestrator, "writers": writers.pid(),
		},
		Move: move, StateBytes: uint64(d.opts.state),
	}
	if err := d.check(ctx, rep, a, b); err != nil {
		return nil, err
	}
	return rep, nil
}

func (d *demo) url(name string) string {
	n, err := d.file.Node(name)
	if err != nil {
		panic("demo: " + err.Error()) // it is our own cluster
	}
	return "http://" + n.HTTP
}

// startWriters starts the writers and lets them write until finish.
func (d *demo) startWriters(a, b string) (*process, error) {
	return d.start("writers", "demo-writers", "--nodes", a+","+b, "--rate", fmt.Sprint(d.opts.writes),
		"--clients", fmt.Sprint(d.opts.clients), "--records", d.path("records"), "--timings", d.path("timings"))
}

// migrate runs the orchestrator's process, whose progress goes to our stderr.
func (d *demo) migrate(ctx context.Context) (res moveResult, pid int, err error) {
	p := d.command(ctx, "migrate", "--cluster", d.file.Path(), "--as", "o", "--daemon", demoDaemon, "--to", "b", "--json")
	p.Stderr = d.stderr // its last line says why, should it fail
	out, err := p.Output()
	if err != nil {
		return res, 0, fmt.Errorf("ferry migrate did not move it: %w", err)
	}
	if err := json.Unmarshal(out, &res); err != nil {
		return res, 0, fmt.Errorf("ferry migrate: %w", err)
	}
	return res, p.Process.Pid, nil
}

func (d *demo) pause(ctx context.Context, t time.Duration) error {
	timer := time.NewTimer(t)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
