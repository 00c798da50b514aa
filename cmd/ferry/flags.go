package main

import (
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ferry/cluster"
)

// clusterFlag adds --cluster.
func clusterFlag(flags *pflag.FlagSet, path *string) {
	flags.StringVarP(path, "cluster", "c", cluster.FileName, "the cluster `FILE`")
}

// jsonFlag adds --json to a command that prints a result.
func jsonFlag(flags *pflag.FlagSet) *bool {
	return flags.Bool("json", false, "print one JSON object on one line, and nothing else, on stdout")
}

// require makes flags required. They must have been added: all else is our own
// mistake.
func require(cmd *cobra.Command, names ...string) {
	for _, name := range names {
		if err := cmd.MarkFlagRequired(name); err != nil {
			panic("ferry " + cmd.Name() + ": " + err.Error())
		}
	}
}
