package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"

	"ferry/cluster"
	"ferry/identity"
	"ferry/journal"
	"ferry/journal/boltjournal"
	"ferry/migration"
	"ferry/orchestrator"
	"ferry/proto0500"
)

type migrateOptions struct {
	cluster string
	as      string
	daemon  string
	to      string
	dryRun  bool
	resume  bool
	timeout time.Duration
	limit   byteRate
	wait    time.Duration
	quiet   bool
	verbose bool
}

func newMigrateCmd() *cobra.Command {
	var opts migrateOptions
	cmd := &cobra.Command{
		Use:   "migrate --cluster FILE --as NAME --daemon X --to NODE",
		Short: "Move a daemon to another node",
		Long: `Move daemon X from whichever node has it to NODE. The command is itself the orchestrator, under the name given with --as,
which must be neither of the two: it dials out, and no server needs to run for it. Its journal keeps what it began, so
that a move in which it was killed is brought to its end before the next one begins. --resume does no more than that, for
every daemon. Where a ` + "`ferry orchestrator`" + ` runs under the name, the move is handed over to it: it goes on there without
this command.

Ctrl-C cancels the move: the daemon serves on at its source (exit code 3). Once the source has let go, the move can only
go forward, and the command says so.

Exit codes: 0 moved, or there already, or nothing is open after --resume; 1 nothing was begun; 2 usage; 3 rolled back, the source serves on; 4 in doubt:
source and target end the move by themselves as soon as they reach each other.`,
		Example: `  ferry migrate --cluster cluster.toml --as o --daemon orders --to b
  ferry migrate --cluster cluster.toml --as o --daemon orders --to b --dry-run
  ferry migrate --cluster cluster.toml --as o --daemon orders --to a --json
  ferry migrate --cluster cluster.toml --as o --daemon orders --to b --limit 50MB/s
  ferry migrate --cluster cluster.toml --as o --resume --timeout 10s`,
		Args: cobra.NoArgs,
	}
	flags := cmd.Flags()
	clusterFlag(flags, &opts.cluster)
	flags.StringVar(&opts.as, "as", "", "the `NODE` that orchestrates: a third one")
	flags.StringVar(&opts.daemon, "daemon", "", "the daemon `X` to move")
	flags.StringVar(&opts.to, "to", "", "the `NODE` that it goes to")
	flags.BoolVar(&opts.dryRun, "dry-run", false, "stop after the target has been asked whether it would take it")
	flags.BoolVar(&opts.resume, "resume", false, "settle every move that this orchestrator has begun and that has no end; --timeout is 10s then")
	flags.DurationVar(&opts.timeout, "timeout", 30*time.Second, "give up a phase that makes no progress for so long")
	flags.Var(&opts.limit, "limit", "send the snapshot at this `RATE` at most: 50MB/s, 20MiB/s; ferry pace changes it on the way")
	flags.DurationVar(&opts.wait, "wait", 30*time.Second, "ask again for so long while the target is not ready, as when too much is on its way there; 0: do not")
	flags.BoolVarP(&opts.quiet, "quiet", "q", false, "show no progress")
	flags.BoolVarP(&opts.verbose, "verbose", "v", false, "log everything")
	asJSON := jsonFlag(flags)
	require(cmd, "as")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		switch {
		case opts.timeout <= 0:
			return usagef("--timeout must be above 0")
		case opts.wait < 0:
			return usagef("--wait must not be below 0")
		case opts.resume && (opts.daemon != "" || opts.to != "" || opts.dryRun || opts.limit > 0):
			return usagef("--resume is about every open move: it takes no --daemon, --to, --limit or --dry-run")
		case opts.resume:
			if !flags.Changed("timeout") {
				opts.timeout = resumeTimeout
			}
			return resumeCommand(cmd, opts, *asJSON)
		}
		if err := missingFlags(cmd, "daemon", "to"); err != nil {
			return err
		}
		ctx, stop := withSignals(cmd.Context())
		defer stop()
		res, err := runMigrate(ctx, cmd.ErrOrStderr(), opts)
		_, told := errors.AsType[*exitError](err)
		switch {
		case err != nil && ctx.Err() != nil && !told:
			return errors.New("interrupted before anything was begun")
		case err != nil:
			return err
		case *asJSON:
			err = printJSON(cmd.OutOrStdout(), res, true)
		default:
			err = res.write(cmd.OutOrStdout())
		}
		return errors.Join(res.exit(), err)
	}
	return cmd
}

// mover is one run of ferry migrate, here or handed over.
type mover struct {
	opts   migrateOptions
	file   *cluster.File
	me, to cluster.Node // to: none with --resume
	key    *identity.Key
	stderr io.Writer
	log    *slog.Logger
	bar    func(from, to string) moveBar // nil: on stderr
	again  bool                          // the target was asked before
}

// newMover checks who is to orchestrate and where to.
func newMover(stderr io.Writer, opts migrateOptions) (*mover, error) {
	m := &mover{opts: opts, stderr: stderr, log: slog.New(slog.DiscardHandler)}
	if opts.verbose {
		m.log = newLog(stderr, true)
	}
	m.log = chaosFor(opts.as).log(m.log)
	var err error
	if m.file, m.me, err = loadCluster(opts.cluster, opts.as); err != nil {
		return nil, err
	}
	if !opts.resume {
		if m.to, err = m.file.Node(opts.to); err != nil {
			return nil, err
		}
		if m.me.Name == m.to.Name {
			return nil, usagef("--as %s is the target: the orchestrator must be a third node", m.me.Name)
		}
	}
	if !m.me.Orchestrator {
		return nil, fmt.Errorf("node %s may not orchestrate: %s says orchestrator = false", m.me.Name, m.file.Path())
	}
	m.key, err = m.file.Key(m.me.Name)
	return m, err
}

// runMigrate does the move. An error means that nothing was begun, unless it has
// an exit code that says more.
func runMigrate(ctx context.Context, stderr io.Writer, opts migrateOptions) (moveResult, error) {
	m, err := newMover(stderr, opts)
	if err != nil {
		return moveResult{}, err
	}
	if res, err := m.handOver(ctx); !errors.Is(err, errNobodyThere) {
		return res, err
	}
	// With a journal in memory: which one on disk it is depends on what is found.
	asker, err := newAsker(m.file, m.key, m.log)
	if err != nil {
		return moveResult{}, err
	}
	f, err := findDaemon(ctx, m.file, asker, opts.daemon)
	asker.close()
	if err != nil {
		if _, e := os.Stat(nodeJournal(m.file, m.me.Name)); e == nil {
			// It runs a node of that name too, which it cannot ask.
			err = fmt.Errorf("%w; %s itself, which is not asked, may have it: the orchestrator must be a third node", err, m.me.Name)
		}
		return moveResult{}, err
	}
	return m.move(ctx, f)
}

// move is the orchestrator, from what has been found on.
func (m *mover) move(ctx context.Context, f found) (res moveResult, err error) {
	j, err := m.openJournal(f.report.DaemonOrigin)
	if err != nil {
		return res, err
	}
	defer closeJournal(m.log, j)
	o, err := orchestrator.New(orchestrator.Config{
		Key: m.key, Journal: j, Resolver: m.file, PhaseTimeout: m.opts.timeout, Log: m.log,
	})
	if err != nil {
		return res, err
	}
	if err := o.Endpoint().Listen(""); err != nil {
		return res, err
	}
	// A signal cancels the move; the orchestrator goes on until it has ended.
	runCtx, end := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan error, 1)
	go func() { done <- o.Run(runCtx) }()
	defer func() {
		end()
		if e := <-done; e != nil {
			m.log.Warn("orchestrator ended with an error", "err", e)
		}
	}()
	return m.drive(ctx, o, f)
}

// drive moves the daemon by an orchestrator that runs, until ctx cancels it.
func (m *mover) drive(ctx context.Context, o *orchestrator.Orchestrator, f found) (res moveResult, err error) {
	if !m.opts.dryRun {
		settled, last, err := m.settle(ctx, o, f.report)
		if err != nil || last {
			return settled, err
		}
		if settled.Outcome != "" || f.moving {
			if f, err = findDaemon(ctx, m.file, o, m.opts.daemon); err != nil {
				return res, err
			}
		}
	}
	switch {
	case f.moving:
		return res, fmt.Errorf("daemon %q is between two nodes, one of which does not answer: see `ferry status`, and bring that node back, or `ferry settle` it", m.opts.daemon)
	case f.owner.ID() == m.to.ID():
		res = newMoveResult(m.opts.daemon, f.owner, m.to, f.report)
		res.Outcome, res.Text = outcomeThere, "it is at "+m.to.Name
		return res, nil
	case f.owner.ID() == m.me.ID():
		return res, usagef("--as %s is where the daemon is: the orchestrator must be a third node", m.me.Name)
	case m.opts.dryRun && f.report.State != proto0500.StateServing:
		return res, fmt.Errorf("daemon %q is being moved now, which --dry-run leaves alone: wait until that has ended", m.opts.daemon)
	}
	if err := f.silent[m.to.Name]; err != nil {
		return res, fmt.Errorf("target %s does not answer: %w; start it with `ferry node`, or mend the way there", m.to.Name, err)
	}
	return m.tryUntilReady(ctx, o, f)
}

// readyEvery is how often a target that is not ready is asked again.
const readyEvery = time.Second

// tryUntilReady makes the move, and tries again for a while where the target
// says that it cannot take the daemon at the moment.
func (m *mover) tryUntilReady(ctx context.Context, o *orchestrator.Orchestrator, f found) (res moveResult, err error) {
	until := time.Now().Add(m.opts.wait)
	told := ""
	for {
		h, err := o.Migrate(ctx, orchestrator.Move{
			Daemon: f.report.DaemonOrigin, Source: proto0500.NodeID(f.owner.ID()), Target: proto0500.NodeID(m.to.ID()), DryRun: m.opts.dryRun,
			Timeout: m.opts.timeout, RateLimit: uint64(m.opts.limit),
		})
		if err != nil {
			return res, err
		}
		res, err = m.follow(ctx, h, f.owner, m.to, f.report)
		left := time.Until(until)
		if err != nil || !res.notReady || left <= 0 || ctx.Err() != nil {
			return res, err
		}
		m.again = true
		if res.Text != told { // once, and not every second
			told = res.Text
			fmt.Fprintf(m.stderr, "%s does not take %s now: %s; asking again for %v\n", m.to.Name, m.opts.daemon, oneLine(res.Text), left.Round(time.Second))
		}
		select {
		case <-time.After(min(readyEvery, left)):
		case <-ctx.Done():
			return res, nil
		}
	}
}

// settle brings what this orchestrator has begun and not ended to its end. last:
// there is nothing to do after it.
func (m *mover) settle(ctx context.Context, o *orchestrator.Orchestrator, r proto0500.Report) (res moveResult, last bool, err error) {
	for range settleMax {
		h, err := o.Settle(r.DaemonOrigin)
		if err != nil || h == nil {
			return res, false, err
		}
		from, to := m.node(h.Move().Source), m.node(h.Move().Target)
		fmt.Fprintf(m.stderr, "an earlier move of %s from %s to %s has no end yet: settling it first\n", m.opts.daemon, from.Name, to.Name)
		if res, err = m.follow(ctx, h, from, to, r); err != nil {
			return res, true, err
		}
		switch {
		case res.code != exitDone && (res.code == exitInDoubt || ctx.Err() != nil):
			return res, true, nil
		case res.Outcome == migration.OutcomeCommitted.String() && to.ID() == m.to.ID():
			return res, true, nil // just what is wanted
		case ctx.Err() != nil:
			return res, true, context.Cause(ctx)
		}
		fmt.Fprintf(escaped{m.stderr}, "the earlier move ended: %s\n", res.Outcome)
	}
	return res, true, fmt.Errorf("the ends of earlier moves of %s cannot be written down: is the disk full?", m.opts.daemon)
}

// settleMax bounds what is settled in a row: there is seldom more than one.
const settleMax = 16

// node is a node of the cluster, or what can be said of one that is not in the
// file any more.
func (m *mover) node(id proto0500.NodeID) cluster.Node {
	if n, ok := m.file.ByID(identity.NodeID(id)); ok {
		return n
	}
	return cluster.Node{Name: nodeName(m.file, id)}
}

// follow shows a move until it ends. A signal cancels it.
func (m *mover) follow(ctx context.Context, h *orchestrator.Handle, from, to cluster.Node, r proto0500.Report) (moveResult, error) {
	res := newMoveResult(m.opts.daemon, from, to, r)
	stop := context.AfterFunc(ctx, h.Cancel)
	defer stop()
	open := func() moveBar {
		if m.bar != nil {
			return m.bar(from.Name, to.Name)
		}
		return newMoveBar(m.stderr, m.opts.quiet, m.opts.daemon, from.Name, to.Name)
	}
	if m.again {
		watch(h, &laterBar{open: open})
	} else {
		watch(h, open())
	}
	result, err := h.Wait(context.WithoutCancel(ctx))
	if err != nil {
		return res, err
	}
	res.take(result)
	return res, nil
}

// watch shows the move's progress until it ends.
func watch(h *orchestrator.Handle, bar moveBar) {
	defer bar.end()
	for {
		p, changed := h.Progress()
		bar.show(p)
		select {
		case <-changed:
		case <-h.Done():
			p, _ := h.Progress()
			bar.show(p)
			return
		}
	}
}

// openJournal opens the journal of this orchestrator's moves of one daemon: one
// each, so that two daemons can be moved at once.
func (m *mover) openJournal(origin proto0500.Origin) (journal.Journal, error) {
	if err := os.MkdirAll(movesDir(m.file, m.me.Name), 0o700); err != nil {
		return nil, err
	}
	j, err := boltjournal.Open(movesFile(m.file, m.me.Name, origin), boltjournal.Options{})
	if errors.Is(err, boltjournal.ErrLocked) {
		return nil, fmt.Errorf("%s is moving daemon %q already, in another process: wait for it, or end it", m.me.Name, m.opts.daemon)
	}
	return chaosFor(m.me.Name).journal(j), err
}
