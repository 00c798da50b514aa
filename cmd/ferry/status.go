package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"ferry/cluster"
	"ferry/identity"
	"ferry/proto0500"
	"ferry/transport"
)

func newStatusCmd() *cobra.Command {
	var path, as string
	cmd := &cobra.Command{
		Use:   "status --cluster FILE",
		Short: "Tell which node has which daemon, and what is under way",
		Long: `Ask every node of the cluster what it has: daemons, sequence numbers, chain heads, epochs, and moves under way. The nodes
are asked over the network; no journal is opened. A node that does not answer is listed as such.

The question needs a key that the nodes know: by default that of the last node of the cluster file whose key is on this
machine and which may orchestrate; --as chooses another. A node cannot ask itself: it is not in the list.`,
		Example: `  ferry status --cluster cluster.toml
  ferry status --cluster cluster.toml --json`,
		Args: cobra.NoArgs,
	}
	flags := cmd.Flags()
	clusterFlag(flags, &path)
	flags.StringVar(&as, "as", "", "the `NODE` whose key to ask with")
	asJSON := jsonFlag(flags)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx, stop := withSignals(cmd.Context())
		defer stop()
		file, err := readCluster(path)
		if err != nil {
			return err
		}
		key, err := askingKey(file, as)
		if err != nil {
			return err
		}
		res, err := clusterStatus(ctx, file, key)
		if err != nil {
			return err
		}
		if *asJSON {
			err = printJSON(cmd.OutOrStdout(), res, true)
		} else {
			err = writeStatus(cmd.OutOrStdout(), res)
		}
		if err == nil && !slices.ContainsFunc(res.Nodes, func(n nodeStatus) bool { return n.Up }) {
			err = noneUp(file, res)
		}
		if denied := deniedBy(res); err == nil && denied != "" {
			err = denial(file, denied)
		}
		return err
	}
	return cmd
}

// noneUp says what to do when not one node has answered.
func noneUp(file *cluster.File, res statusResult) error {
	if denied := deniedBy(res); denied != "" {
		return denial(file, denied)
	}
	if !slices.ContainsFunc(res.Nodes, func(n nodeStatus) bool { return !n.Refused }) {
		return fmt.Errorf("no node of %s lets this one in: give them a cluster file that has this node's public_key, and start them again", file.Path())
	}
	return fmt.Errorf("no node of %s can be reached: start them with `ferry node`", file.Path())
}

// deniedBy is the names of the nodes that do not let us ask.
func deniedBy(res statusResult) string {
	var names []string
	for _, n := range res.Nodes {
		if n.Denied {
			names = append(names, n.Name)
		}
	}
	return join(names)
}

func denial(file *cluster.File, nodes string) error {
	return fmt.Errorf("the key that was asked with may not ask %s: choose an orchestrator's with --as, or write asks = true for it in the cluster file that the node has (here %s)", nodes, file.Path())
}

// askingKey is the key to ask with. A node that is running has its key in use,
// which does no harm: a node may have several sessions.
func askingKey(file *cluster.File, as string) (*identity.Key, error) {
	if as != "" {
		if _, err := file.Node(as); err != nil {
			return nil, err
		}
		return file.Key(as)
	}
	var errs []error
	// The last node first: by habit the orchestrator, which runs no daemons.
	for i := len(file.Nodes) - 1; i >= 0; i-- {
		n := file.Nodes[i]
		key, err := file.Key(n.Name)
		if err == nil && n.Orchestrator {
			return key, nil
		}
		errs = append(errs, err)
	}
	return nil, fmt.Errorf("no key to ask with: %w", errors.Join(errs...))
}

type statusResult struct {
	Nodes   []nodeStatus  `json:"nodes"`
	InDoubt []doubtStatus `json:"in_doubt"`
}

type nodeStatus struct {
	Name    string         `json:"name"`
	NodeID  string         `json:"node_id"`
	Addr    string         `json:"addr"`
	Up      bool           `json:"up"`
	Error   string         `json:"error,omitempty"`
	Refused bool           `json:"refused,omitempty"` // it is there and does not want our key
	Denied  bool           `json:"denied,omitempty"`  // it is there, knows our key, and does not let it ask
	BootID  string         `json:"boot_id,omitempty"`
	Daemons []daemonStatus `json:"daemons"`
}

type daemonStatus struct {
	Name         string `json:"name"`
	Kind         string `json:"kind"`
	Origin       string `json:"origin_hash"`
	State        string `json:"state"`
	Authority    bool   `json:"authority"`
	Epoch        string `json:"epoch"`
	LiveEpoch    string `json:"live_epoch"`
	Seq          string `json:"seq"`
	Head         string `json:"head"`
	Copy         bool   `json:"copy"`
	Peer         string `json:"peer,omitempty"`
	Orchestrator string `json:"orchestrator,omitempty"`
	StateBytes   uint64 `json:"state_bytes"`
	Moving       bool   `json:"moving"`
}

func clusterStatus(ctx context.Context, file *cluster.File, key *identity.Key) (res statusResult, err error) {
	o, err := newAsker(file, key, slog.New(slog.DiscardHandler))
	if err != nil {
		return res, err
	}
	answers := askAll(ctx, file, o)
	o.close()
	for _, a := range answers {
		n := nodeStatus{Name: a.node.Name, NodeID: strconv.FormatUint(uint64(a.node.ID()), 10), Addr: a.node.Addr, Up: a.err == nil,
			Refused: errors.Is(a.err, transport.ErrRefused), Denied: denies(a.err), Daemons: []daemonStatus{}}
		if a.err != nil {
			n.Error = oneLine(a.err.Error())
		}
		for _, r := range a.reports {
			n.BootID = fmt.Sprintf("%016x", r.BootID)
			n.Daemons = append(n.Daemons, describeReport(file, r))
		}
		res.Nodes = append(res.Nodes, n)
	}
	res.InDoubt = doubts(file, answers)
	return res, ctx.Err()
}

func describeReport(file *cluster.File, r proto0500.Report) daemonStatus {
	d := daemonStatus{
		Name: r.Name.String(), Kind: r.DaemonKind.String(), Origin: fmt.Sprint(uint64(r.DaemonOrigin)),
		State: r.State.String(), Epoch: fmt.Sprint(uint64(r.Epoch)), LiveEpoch: fmt.Sprint(uint64(r.LiveEpoch)),
		Seq: fmt.Sprint(uint64(r.Seq)), Head: hex.EncodeToString(r.Head.Append(nil)),
		Copy: r.Copy, StateBytes: r.StateBytes, Authority: authority(r),
	}
	switch r.State {
	case proto0500.StateNone, proto0500.StateServing, proto0500.StateMoved:
	default:
		d.Moving = true
	}
	if r.Peer != 0 {
		d.Peer = nodeName(file, r.Peer)
	}
	if d.Moving && r.Orchestrator != 0 {
		d.Orchestrator = nodeName(file, r.Orchestrator)
	}
	return d
}

func writeStatus(w io.Writer, res statusResult) error {
	w = escaped{w}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NODE\tDAEMON\tOWNER\tSTATE\tSEQ\tEPOCH\tHEAD\tMOVE")
	for _, n := range res.Nodes {
		switch {
		case n.Denied:
			fmt.Fprintf(t, "%s\t-\t-\tdoes not let this key ask\n", n.Name)
		case !n.Up:
			fmt.Fprintf(t, "%s\t-\t-\tdown: %s\n", n.Name, n.Error)
		case len(n.Daemons) == 0:
			fmt.Fprintf(t, "%s\t-\t-\tup, no daemons\n", n.Name)
		}
		for _, d := range n.Daemons {
			owner := "-"
			if d.Authority {
				owner = "yes"
			}
			head := "-"
			if d.Copy || d.Seq != "0" {
				head = d.Head[len(d.Head)-16:]
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", n.Name, oneLine(d.Name), owner, d.State, d.Seq, d.Epoch, head, d.move())
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	return writeDoubts(w, res.InDoubt)
}

// move says in words what goes on, or where the daemon went.
func (d *daemonStatus) move() string {
	switch {
	case d.Moving && d.Orchestrator != "":
		return "with " + d.Peer + ", by " + d.Orchestrator
	case d.Moving:
		return "with " + d.Peer
	case d.State == proto0500.StateMoved.String():
		return "to " + d.Peer
	}
	return "-"
}
