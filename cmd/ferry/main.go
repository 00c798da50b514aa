// Command ferry moves a running daemon from one node to another, over QUIC, without losing an event. `ferry --help`
// lists what it does; every command has examples under --help.
//
// Exit codes: 0 done; 1 failed, or nothing was begun; 2 usage; 3 rolled back, the daemon still serves at the source;
// 4 in doubt. What went wrong is one line on stderr. Where --json is given, stdout holds the object and nothing else.
package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
)

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run is the whole program: it returns the exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := newRootCmd()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	addCompletion(root)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitDone
	}
	code, line := explain(cmd, err)
	if line != "" {
		fmt.Fprintln(stderr, "ferry: "+line)
	}
	return code
}

func newRootCmd() *cobra.Command {
	root := &cobra.Command{
		Use:   "ferry",
		Short: "Move running daemons between nodes",
		Long: `ferry moves a running daemon, its state, its event log and its identity, from one node to another over QUIC.
No event is lost, doubled or reordered, and there is never a second owner.

Exit codes:
  0  done
  1  failed, or nothing was begun
  2  wrong usage
  3  rolled back: the daemon still serves at its source
  4  in doubt: run the same command again once the nodes can be reached`,
		Args: cobra.ArbitraryArgs,
		RunE: needsCommand,
		// Errors are one line, written by run.
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(
		newInitCmd(),
		newIDCmd(),
		newDecodeCmd(),
		newEncodeCmd(),
		newSnapshotCmd(),
		newVersionCmd(),
		newDemoCmd(),
		newWritersCmd(),
		newNodeCmd(),
		newMigrateCmd(),
		newPaceCmd(),
		newOrchestratorCmd(),
		newSettleCmd(),
		newStatusCmd(),
	)
	wrapRuns(root)
	return root
}

// addCompletion adds cobra's completion command, which keeps the writer that root has now. By itself it would take any
// word for a shell.
func addCompletion(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	for _, cmd := range root.Commands() {
		if cmd.Name() == "completion" {
			cmd.Args, cmd.RunE = cobra.ArbitraryArgs, needsCommand
		}
	}
}

// needsCommand is the RunE of a command that is only a group of others: cobra itself would take any word after it and
// exit with 0.
func needsCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		cmd.SetOut(cmd.ErrOrStderr())
		if err := cmd.Help(); err != nil {
			return err
		}
		return &exitError{code: exitUsage}
	}
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		return usagef("unknown command %q, did you mean %q?", args[0], near[0])
	}
	return usagef("unknown command %q", args[0])
}
