package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"ferry/cluster"
	"ferry/identity"
	"ferry/journal"
	"ferry/migration"
	"ferry/orchestrator"
	"ferry/proto0500"
)

// resumeTimeout is --timeout's default where moves are settled and not made.
const resumeTimeout = 10 * time.Second

// newDriver is an orchestrator that dials out and moves daemons, until close.
func newDriver(file *cluster.File, key *identity.Key, j journal.Journal, timeout time.Duration, log *slog.Logger) (*asker, error) {
	o, err := orchestrator.New(orchestrator.Config{
		Key: key, Journal: j, Resolver: file, PhaseTimeout: timeout, QueryTimeout: askTimeout, Log: log,
	})
	if err != nil {
		return nil, err
	}
	if err := o.Endpoint().Listen(""); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	a := &asker{Orchestrator: o, cancel: cancel, done: make(chan error, 1)}
	go func() { a.done <- o.Run(ctx) }()
	return a, nil
}

// resumeCommand is ferry migrate --resume.
func resumeCommand(cmd *cobra.Command, opts migrateOptions, asJSON bool) error {
	ctx, stop := withSignals(cmd.Context())
	defer stop()
	m, err := newMover(cmd.ErrOrStderr(), opts)
	if err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	emit := func(res moveResult) error {
		if asJSON {
			return printJSON(out, res, true)
		}
		_, err := fmt.Fprintln(escaped{out}, res.settled())
		return err
	}
	left, err := m.handOverResume(ctx, emit)
	if errors.Is(err, errNobodyThere) {
		left, err = m.resume(ctx, emit)
	}
	switch {
	case err != nil:
		return err
	case left > 0:
		return &exitError{code: exitInDoubt, err: fmt.Errorf("%s no end yet: `ferry status` shows what the nodes say, and the same command again goes on from there",
			movesHave(left, m.me.Name))}
	}
	return nil
}

func movesHave(n int, of string) string {
	if n == 1 {
		return "1 move of " + of + " has"
	}
	return fmt.Sprintf("%d moves of %s have", n, of)
}

// resume settles what the journals have open, and says how many moves have no
// end then.
func (m *mover) resume(ctx context.Context, emit func(moveResult) error) (left int, err error) {
	js, locked, err := openMoves(m.file, m.me.Name)
	if err != nil {
		return 0, err
	}
	defer closeJournal(m.log, js)
	// The source and then the target may have to be given up: each gets half.
	o, err := newDriver(m.file, m.key, js, m.opts.timeout/2, m.log)
	if err != nil {
		return 0, err
	}
	defer o.close()
	open, err := o.Open()
	if err != nil {
		return 0, err
	}
	if len(open) == 0 && len(locked) == 0 {
		fmt.Fprintf(m.stderr, "no move of %s is open\n", m.me.Name)
		return 0, nil
	}
	names := namesOfDaemons(askAll(ctx, m.file, o))
	for _, origin := range locked {
		fmt.Fprintf(m.stderr, "%s is being moved by %s in another process\n", oneLine(names.of(origin)), m.me.Name)
	}
	if err := settleAll(ctx, m, o.Orchestrator, open, names, emit); err != nil {
		return 0, err
	}
	open, err = o.Open()
	return len(open) + len(locked), err
}

// settleAll brings moves to the end that source and target still allow, those of
// a daemon one after the other. When ctx ends the rest stays as it is.
func settleAll(ctx context.Context, m *mover, o *orchestrator.Orchestrator, open []migration.MoveRecord, names daemonNames, emit func(moveResult) error) (err error) {
	by := make(map[proto0500.Origin][]migration.MoveRecord)
	for _, rec := range open {
		by[rec.Origin] = append(by[rec.Origin], rec)
	}
	var mu sync.Mutex
	var work sync.WaitGroup
	for origin, recs := range by {
		work.Go(func() {
			for _, rec := range recs {
				res, e := settleOne(ctx, m, o, rec, names.of(origin))
				mu.Lock()
				if e == nil {
					e = emit(res)
				}
				err = errors.Join(err, e)
				mu.Unlock()
				if e != nil {
					return
				}
			}
		})
	}
	work.Wait()
	return err
}

// settleOne settles one move.
func settleOne(ctx context.Context, m *mover, o *orchestrator.Orchestrator, rec migration.MoveRecord, name string) (res moveResult, err error) {
	res = newMoveResult(name, m.node(rec.Source), m.node(rec.Target), proto0500.Report{DaemonOrigin: rec.Origin, Epoch: rec.Epoch})
	h, err := o.TakeOver(rec)
	if err != nil {
		return res, err
	}
	result, err := h.Wait(ctx)
	if err != nil {
		return res, err
	}
	res.take(result)
	return res, nil
}

// settled is a line about a move that was taken up.
func (r *moveResult) settled() string {
	line := fmt.Sprintf("%s from %s to %s in epoch %s: %s", r.Daemon, r.From, r.To, r.Epoch, r.Outcome)
	switch {
	case r.Outcome == migration.OutcomeCommitted.String():
		line += fmt.Sprintf(", it is at %s", r.To)
	case r.Text != "":
		line += ": " + r.Text
	}
	return line
}

// daemonNames are what the nodes call daemons.
type daemonNames map[proto0500.Origin]string

func namesOfDaemons(all []answer) daemonNames {
	names := make(daemonNames)
	for _, a := range all {
		for _, r := range a.reports {
			if len(r.Name) > 0 {
				names[r.DaemonOrigin] = r.Name.String()
			}
		}
	}
	return names
}

// of is a daemon's name, or its origin where nobody knows one.
func (n daemonNames) of(o proto0500.Origin) string {
	if name := n[o]; name != "" {
		return name
	}
	return fmt.Sprintf("%016x", uint64(o))
}

// missingFlags is cobra's own word for flags that only some uses of a command
// require.
func missingFlags(cmd *cobra.Command, names ...string) error {
	var missing []string
	for _, n := range names {
		if !cmd.Flags().Changed(n) {
			missing = append(missing, strconv.Quote(n))
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return usagef("required flag(s) %s not set", strings.Join(missing, ", "))
}
