package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"ferry/cluster"
	"ferry/identity"
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
	timeout time.Duration
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
that a move it was killed in is settled before the next one begins.

Ctrl-C cancels the move: the daemon serves on at its source (exit code 3). Once the source has let go, the move can only
go forward, and the command says so.

Exit codes: 0 moved, or there already; 1 nothing was begun; 2 usage; 3 rolled back, the source serves on; 4 in doubt:
source and target end the move by themselves as soon as they reach each other.`,
		Example: `  ferry migrate --cluster cluster.toml --as o --daemon orders --to b
  ferry migrate --cluster cluster.toml --as o --daemon orders --to b --dry-run
  ferry migrate --cluster cluster.toml --as o --daemon orders --to a --json`,
		Args: cobra.NoArgs,
	}
	flags := cmd.Flags()
	clusterFlag(flags, &opts.cluster)
	flags.StringVar(&opts.as, "as", "", "the node that orchestrates: a third one")
	flags.StringVar(&opts.daemon, "daemon", "", "the daemon to move")
	flags.StringVar(&opts.to, "to", "", "the node that it goes to")
	flags.BoolVar(&opts.dryRun, "dry-run", false, "stop after the target has been asked whether it would take it")
	flags.DurationVar(&opts.timeout, "timeout", 30*time.Second, "give up a phase that makes no progress for so long")
	flags.BoolVarP(&opts.quiet, "quiet", "q", false, "show no progress")
	flags.BoolVarP(&opts.verbose, "verbose", "v", false, "log everything")
	asJSON := jsonFlag(flags)
	for _, name := range []string{"as", "daemon", "to"} {
		_ = cmd.MarkFlagRequired(name)
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx, stop := withSignals(cmd.Context())
		defer stop()
		res, err := runMigrate(ctx, cmd.ErrOrStderr(), opts)
		if err != nil {
			return err
		}
		if *asJSON {
			err = printJSON(cmd.OutOrStdout(), res, true)
		} else {
			err = res.write(cmd.OutOrStdout())
		}
		return errors.Join(err, res.exit())
	}
	return cmd
}

// runMigrate does the move. An error means that nothing was begun.
func runMigrate(ctx context.Context, stderr io.Writer, opts migrateOptions) (res moveResult, err error) {
	file, me, err := loadCluster(opts.cluster, opts.as)
	if err != nil {
		return res, err
	}
	to, err := file.Node(opts.to)
	if err != nil {
		return res, err
	}
	switch {
	case me.Name == to.Name:
		return res, usagef("--as %s: the orchestrator must be a third node, not the target", me.Name)
	case !me.Orchestrator:
		return res, fmt.Errorf("node %s may not orchestrate: %s says orchestrator = false", me.Name, file.Path())
	}
	key, err := file.Key(me.Name)
	if err != nil {
		return res, err
	}
	log := slog.New(slog.DiscardHandler)
	if opts.verbose {
		log = slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	// Found first, with a journal in memory: the journal on disk is the daemon's.
	from, report, err := findDaemon(ctx, file, key, opts.daemon, log)
	if err != nil {
		return res, err
	}
	res = moveResult{
		Daemon: opts.daemon, Origin: fmt.Sprint(uint64(report.DaemonOrigin)), From: from.Name, To: to.Name,
		Seq: fmt.Sprint(uint64(report.Seq)), StateBytes: report.StateBytes,
	}
	if from.ID() == to.ID() {
		res.Outcome, res.Text = "already there", fmt.Sprintf("daemon %q is at %s already", opts.daemon, to.Name)
		return res, nil
	}
	if me.ID() == from.ID() {
		return res, usagef("--as %s: the orchestrator must be a third node, and %s is where the daemon is", me.Name, me.Name)
	}
	dir := filepath.Join(file.DataDir(me.Name), "moves")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return res, err
	}
	j, err := boltjournal.Open(filepath.Join(dir, fmt.Sprintf("%016x.db", uint64(report.DaemonOrigin))), boltjournal.Options{})
	if errors.Is(err, boltjournal.ErrLocked) {
		return res, fmt.Errorf("%s is moving daemon %q already, in another process: wait for it, or end it", me.Name, opts.daemon)
	}
	if err != nil {
		return res, err
	}
	defer closeJournal(log, j)
	o, err := orchestrator.New(orchestrator.Config{
		Key: key, Journal: j, Resolver: file, PhaseTimeout: opts.timeout, Log: log,
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
		err = errors.Join(err, <-done)
	}()
	req := orchestrator.Move{
		Daemon: report.DaemonOrigin, Source: proto0500.NodeID(from.ID()), Target: proto0500.NodeID(to.ID()), DryRun: opts.dryRun,
	}
	h, err := o.Migrate(ctx, req)
	if err != nil {
		return res, err
	}
	bar := newMoveBar(stderr, opts.quiet, opts.daemon, from.Name, to.Name)
	stop := context.AfterFunc(ctx, h.Cancel)
	defer stop()
	watch(h, bar)
	result, err := h.Wait(context.WithoutCancel(ctx))
	bar.end()
	if err != nil {
		return res, err
	}
	res.take(file, result)
	return res, nil
}

// watch shows the move's progress until it ends.
func watch(h *orchestrator.Handle, bar moveBar) {
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

// findTries and findEvery: a daemon between two owners is at none for a moment.
const (
	findTries = 20
	findEvery = 250 * time.Millisecond
)

// findDaemon asks the nodes which of them has a daemon.
func findDaemon(ctx context.Context, file *cluster.File, key *identity.Key, name string, log *slog.Logger) (cluster.Node, proto0500.Report, error) {
	o, err := newAsker(file, key, log)
	if err != nil {
		return cluster.Node{}, proto0500.Report{}, err
	}
	defer o.close()
	var last error
	for range findTries {
		answers := askAll(ctx, file, o.Orchestrator)
		node, report, wait, err := pickOwner(answers, name)
		if err == nil || !wait {
			return node, report, err
		}
		last = err
		select {
		case <-ctx.Done():
			return cluster.Node{}, proto0500.Report{}, context.Cause(ctx)
		case <-time.After(findEvery):
		}
	}
	return cluster.Node{}, proto0500.Report{}, last
}

// pickOwner finds the daemon's authority in what the nodes say. wait: asking
// again may help, for a move is ending.
func pickOwner(answers []answer, name string) (node cluster.Node, report proto0500.Report, wait bool, err error) {
	var owners, silentNodes, known []string
	var between string
	for _, a := range answers {
		if a.err != nil {
			silentNodes = append(silentNodes, a.node.Name)
		}
		for _, r := range a.reports {
			known = append(known, r.Name.String())
			if r.Name.String() != name {
				continue
			}
			switch {
			case authority(r):
				owners = append(owners, a.node.Name)
				node, report = a.node, r
			case r.State == proto0500.StateRetired, r.State == proto0500.StateSealed:
				between = a.node.Name
			}
		}
	}
	switch {
	case len(owners) == 1:
		return node, report, false, nil
	case len(owners) > 1:
		return node, report, false, fmt.Errorf("daemon %q: several nodes serve a daemon of that name: %s", name, join(owners))
	case between != "":
		return node, report, true, fmt.Errorf("daemon %q is between two nodes: %s waits for the other one; `ferry status` shows more", name, between)
	case len(silentNodes) == len(answers):
		return node, report, false, fmt.Errorf("no node of the cluster can be reached: %v", answers[0].err)
	}
	text := fmt.Sprintf("no node that can be reached has daemon %q", name)
	if len(known) > 0 {
		text += "; there is " + join(known)
	}
	if len(silentNodes) > 0 {
		text += "; no answer from " + join(silentNodes)
	}
	return node, report, false, errors.New(text)
}

// moveResult is what the command prints.
type moveResult struct {
	Daemon     string             `json:"daemon"`
	Origin     string             `json:"origin_hash"`
	From       string             `json:"from"`
	To         string             `json:"to"`
	Outcome    string             `json:"outcome"`
	Text       string             `json:"text,omitempty"`
	Reason     string             `json:"reason,omitempty"`
	Epoch      string             `json:"epoch"`
	Seq        string             `json:"seq"`
	StateBytes uint64             `json:"state_bytes"`
	BytesMoved uint64             `json:"bytes_moved"`
	BytesWire  uint64             `json:"bytes_on_wire"`
	Chunks     uint64             `json:"chunks"`
	Events     uint64             `json:"events_shipped"`
	Lanes      []laneResult       `json:"lanes"`
	Phases     []phaseResult      `json:"phases"`
	Seconds    float64            `json:"seconds"`
	BlackoutMs float64            `json:"blackout_ms"`
	Blackout   map[string]float64 `json:"blackout_parts_ms,omitempty"`

	code int
}

type laneResult struct {
	Lane   int    `json:"lane"`
	Bytes  uint64 `json:"bytes"`
	Chunks uint64 `json:"chunks"`
}

type phaseResult struct {
	Phase string  `json:"phase"`
	Ms    float64 `json:"ms"`
	At    int64   `json:"at"` // when it began, nanoseconds since 1970
}

// phaseAt is when a phase began, 0 if it was not reached.
func (r *moveResult) phaseAt(phase string) int64 {
	for _, p := range r.Phases {
		if p.Phase == phase {
			return p.At
		}
	}
	return 0
}

func (r *moveResult) take(file *cluster.File, res orchestrator.Result) {
	r.Outcome, r.Text, r.Epoch = res.Outcome.String(), res.Text, fmt.Sprint(uint64(res.Epoch))
	switch res.Outcome {
	case migration.OutcomeCommitted:
		r.Seq = fmt.Sprint(uint64(res.FinalSeq))
	case migration.OutcomePrepared:
		r.Text = fmt.Sprintf("%s would take it", r.To)
	case migration.OutcomeRolledBack:
		r.code = exitRolledBack
	case migration.OutcomeInDoubt:
		r.code = exitInDoubt
	default:
		r.code = exitFailed
	}
	if r.code != exitDone {
		r.Reason = res.Reason.String()
	}
	for i, p := range res.Phases {
		end := res.Ended
		if i+1 < len(res.Phases) {
			end = res.Phases[i+1].At
		}
		r.Phases = append(r.Phases, phaseResult{p.Phase.String(), ms(end.Sub(p.At)), p.At.UnixNano()})
	}
	if len(res.Phases) > 0 {
		r.Seconds = res.Ended.Sub(res.Phases[0].At).Seconds()
	}
	s, t := res.Last.Source, res.Last.Target
	r.StateBytes = max(r.StateBytes, s[proto0500.CounterStateBytes])
	if n := s[proto0500.CounterStateBytes]; n > 0 {
		r.StateBytes = n
	}
	r.BytesMoved = min(t[proto0500.CounterBytesDone], r.StateBytes)
	r.BytesWire = s[proto0500.CounterBytesWire]
	r.Events = s[proto0500.CounterEventsSent]
	for lane := range uint8(proto0500.LanesMax) {
		l := laneResult{int(lane), s[proto0500.CounterLaneBytes(lane)], s[proto0500.CounterLaneChunks(lane)]}
		if l.Chunks > 0 {
			r.Lanes = append(r.Lanes, l)
			r.Chunks += l.Chunks
		}
	}
	nanos := func(v uint64) float64 { return ms(time.Duration(v)) }
	r.BlackoutMs = nanos(s[proto0500.CounterBlackoutNs])
	if r.BlackoutMs > 0 {
		r.Blackout = map[string]float64{
			"freeze":        nanos(s[proto0500.CounterFreezeNs]),
			"tail":          nanos(s[proto0500.CounterTailNs]),
			"ack":           nanos(s[proto0500.CounterAckNs]),
			"target_flush":  nanos(t[proto0500.CounterFlushNs]),
			"source_retire": nanos(s[proto0500.CounterRetireNs]),
			"activate":      nanos(s[proto0500.CounterActivateNs]),
			"target_live":   nanos(t[proto0500.CounterLiveNs]),
		}
	}
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func (r *moveResult) write(w io.Writer) error {
	if r.Outcome != migration.OutcomeCommitted.String() {
		_, err := fmt.Fprintln(w, r.sentence())
		return err
	}
	_, err := fmt.Fprintf(w, "%s moved from %s to %s in epoch %s at event %s: %s in %d chunks over %d lanes, %d events beside them, %.1f s, blackout %.1f ms\n",
		r.Daemon, r.From, r.To, r.Epoch, r.Seq, size(r.BytesMoved), r.Chunks, len(r.Lanes), r.Events, r.Seconds, r.BlackoutMs)
	return err
}

// sentence says how a move ended that was not committed.
func (r *moveResult) sentence() string {
	text := strings.TrimSpace(r.Text)
	switch r.code {
	case exitRolledBack:
		return fmt.Sprintf("%s was not moved, and serves on at %s: %s", r.Daemon, r.From, text)
	case exitInDoubt:
		return fmt.Sprintf("%s: it cannot be told yet whether it is at %s or %s: %s", r.Daemon, r.From, r.To, text)
	}
	return fmt.Sprintf("%s: %s: %s", r.Daemon, r.Outcome, text)
}

// exit is the command's error: its line on stderr and exit code.
func (r *moveResult) exit() error {
	if r.code == exitDone {
		return nil
	}
	return &exitError{code: r.code, err: errors.New(r.sentence())}
}
