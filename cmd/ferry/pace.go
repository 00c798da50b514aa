package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"

	"ferry/cluster"
	"ferry/orchestrator"
	"ferry/proto0500"
)

type paceOptions struct {
	cluster string
	as      string
	daemon  string
	limit   byteRate
}

// paceResult is what ferry pace prints.
type paceResult struct {
	Daemon    string `json:"daemon"`
	From      string `json:"from"`
	To        string `json:"to"`
	Epoch     string `json:"epoch"`
	RateLimit uint64 `json:"rate_limit"` // bytes a second, 0: none
}

func newPaceCmd() *cobra.Command {
	var opts paceOptions
	cmd := &cobra.Command{
		Use:   "pace DAEMON --cluster FILE --limit RATE",
		Short: "Change how fast a running move sends its snapshot",
		Long: `Change the rate limit of the move of DAEMON that is running, whoever drives it. The limit is for the snapshot's bytes;
events and control messages are never held back. It stays when a connection breaks, and ends with the move.

It takes the key of a node that may orchestrate: by default that of the last one in the cluster file whose key is on this
machine; --as chooses another.`,
		Example: `  ferry pace orders --cluster cluster.toml --limit 20MB/s
  ferry pace orders --cluster cluster.toml --limit none`,
		Args: cobra.ExactArgs(1),
	}
	flags := cmd.Flags()
	clusterFlag(flags, &opts.cluster)
	flags.StringVar(&opts.as, "as", "", "the `NODE` whose key to use; it must be allowed to orchestrate")
	flags.Var(&opts.limit, "limit", "the `RATE`: 20MB/s, 1MiB/s, or none")
	asJSON := jsonFlag(flags)
	require(cmd, "limit")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		opts.daemon = args[0]
		ctx, stop := withSignals(cmd.Context())
		defer stop()
		res, err := runPace(ctx, opts)
		switch {
		case err != nil:
			return err
		case *asJSON:
			return printJSON(cmd.OutOrStdout(), res, true)
		}
		return res.write(cmd.OutOrStdout())
	}
	return cmd
}

func runPace(ctx context.Context, opts paceOptions) (res paceResult, err error) {
	file, err := readCluster(opts.cluster)
	if err != nil {
		return res, err
	}
	key, err := askingKey(file, opts.as)
	if err != nil {
		return res, err
	}
	o, err := newAsker(file, key, slog.New(slog.DiscardHandler))
	if err != nil {
		return res, err
	}
	defer o.close()
	source, r, err := findMove(askAll(ctx, file, o), opts.daemon)
	if err != nil {
		return res, err
	}
	ctx, cancel := context.WithTimeout(ctx, findTimeout)
	defer cancel()
	err = o.Pace(ctx, source.ID(), r.DaemonOrigin, r.Epoch, uint64(opts.limit))
	if errors.Is(err, orchestrator.ErrNoPace) {
		err = fmt.Errorf("%s runs an older ferry, which takes no limit for a running move", source.Name)
	}
	return paceResult{
		Daemon: opts.daemon, From: source.Name, To: nodeName(file, r.Peer), Epoch: fmt.Sprint(uint64(r.Epoch)), RateLimit: uint64(opts.limit),
	}, err
}

// findMove is the source of the move of a daemon that is running, and what it
// says of it.
func findMove(all []answer, name string) (source cluster.Node, r proto0500.Report, err error) {
	var silent []string
	for _, a := range all {
		if a.err != nil {
			silent = append(silent, a.node.Name)
		}
		for _, r := range a.reports {
			if r.Name.String() != name {
				continue
			}
			switch r.State {
			case proto0500.StateBegun, proto0500.StateCopying, proto0500.StateFrozen:
				return a.node, r, nil
			}
		}
	}
	text := fmt.Sprintf("no node is sending daemon %q: see `ferry status`", name)
	if len(silent) > 0 {
		text += "; no answer from " + strings.Join(silent, ", ")
	}
	return source, r, errors.New(text)
}

// write is for people.
func (r paceResult) write(w io.Writer) error {
	w = escaped{w}
	if r.RateLimit == 0 {
		_, err := fmt.Fprintf(w, "the move of %s from %s to %s goes on without a limit\n", r.Daemon, r.From, r.To)
		return err
	}
	_, err := fmt.Fprintf(w, "the move of %s from %s to %s goes on at %v at most\n", r.Daemon, r.From, r.To, byteRate(r.RateLimit))
	return err
}
