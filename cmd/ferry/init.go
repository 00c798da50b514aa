package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"ferry/cluster"
	"ferry/identity"
)

func newInitCmd() *cobra.Command {
	var opts cluster.Options
	cmd := &cobra.Command{
		Use:   "init DIR",
		Short: "Make a cluster: a key for each node, and cluster.toml",
		Long: `Make DIR/cluster.toml, which says which nodes there are, where they listen and how they are known to each other, and
DIR/keys/NAME.pem, the private key of each node (mode 0600). The nodes will store their data in DIR/data/NAME.

Ports are looked for in ascending order and are free at that moment, for UDP and TCP both. addr is where the other
nodes reach a node; http is where its daemons are served, on 127.0.0.1 in any case, as that API asks nobody who he is:
edit the file to change that.

For nodes on several machines, give each a copy of cluster.toml and its own key, and correct the addresses.

A cluster that is there is not overwritten. With --force cluster.toml is written anew; keys that are there are kept,
because the data of a node belong to its key.`,
		Example: `  ferry init /tmp/ferry
  ferry init cluster --nodes a,b,c,o --base-port 7500
  ferry init cluster --host 10.0.0.7 --json`,
		Args: cobra.ExactArgs(1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveFilterDirs
		},
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&opts.Names, "nodes", []string{"a", "b", "o"}, "names of the nodes: lower-case letters, digits, - and _")
	flags.StringVar(&opts.Host, "host", cluster.DefaultHost, "IP address or name in every addr")
	flags.IntVar(&opts.BasePort, "base-port", 0, "first port to try (default: anywhere between 10000 and 30000)")
	flags.BoolVar(&opts.Force, "force", false, "replace a cluster.toml that is there; keys are kept")
	asJSON := jsonFlag(flags)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !flags.Changed("nodes") {
			opts.Names = nil
		}
		made, err := cluster.Init(args[0], opts)
		if err != nil {
			return initError(err)
		}
		if *asJSON {
			return printJSON(cmd.OutOrStdout(), describeCluster(made), true)
		}
		return writeCluster(cmd.OutOrStdout(), made)
	}
	return cmd
}

func initError(err error) error {
	if errors.Is(err, cluster.ErrExists) {
		return fmt.Errorf("%w: choose another directory, or replace it with --force", err)
	}
	if errors.Is(err, cluster.ErrValue) || errors.Is(err, cluster.ErrMissing) || errors.Is(err, cluster.ErrDuplicate) {
		return usagef("%w", err)
	}
	return err
}

type initResult struct {
	Cluster string     `json:"cluster"`
	Nodes   []initNode `json:"nodes"`
}

type initNode struct {
	Name      string `json:"name"`
	Addr      string `json:"addr"`
	HTTP      string `json:"http"`
	PublicKey string `json:"public_key"`
	NodeID    string `json:"node_id"`
	Key       string `json:"key"`
	KeyKept   bool   `json:"key_kept"`
	Data      string `json:"data"`
}

func describeCluster(made *cluster.Created) initResult {
	f := made.File
	r := initResult{Cluster: f.Path(), Nodes: make([]initNode, len(f.Nodes))}
	for i, n := range f.Nodes {
		r.Nodes[i] = initNode{
			Name:      n.Name,
			Addr:      n.Addr,
			HTTP:      n.HTTP,
			PublicKey: identity.FormatPublic(n.PublicKey),
			NodeID:    strconv.FormatUint(uint64(n.ID()), 10),
			Key:       f.KeyPath(n.Name),
			KeyKept:   slices.Contains(made.KeysKept, n.Name),
			Data:      f.DataDir(n.Name),
		}
	}
	return r
}

func writeCluster(w io.Writer, made *cluster.Created) error {
	f := made.File
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "%s\n\n", f.Path())
	fmt.Fprintln(table, "NODE\tADDR\tHTTP\tKEY")
	for _, n := range describeCluster(made).Nodes {
		note := ""
		if n.KeyKept {
			note = " (kept)"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s%s\n", n.Name, n.Addr, n.HTTP, n.Key, note)
	}
	fmt.Fprintf(table, "\nStart a node:\n  ferry node --cluster %s --name %s\n", f.Path(), f.Nodes[0].Name)
	if err := table.Flush(); err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	return nil
}
