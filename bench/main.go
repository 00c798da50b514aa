// Bench measures what a move costs, beside what else could carry the state, and prints each figure with its bound and whether it is met.
// Every contender runs in real processes of its own over loopback, all of a workload in interleaved rounds, so that a
// machine that drifts drifts for all alike; only the ratios mean anything elsewhere.
//
//	go run ./bench                     everything, a table; at most 45 minutes
//	go run ./bench -quick              less of everything, in at most 3 minutes
//	go run ./bench -only paths,codec   these workloads
//	go run ./bench -json               the whole document, with every sample
//	go run ./bench -check              exit 1 when a bound is not met
//	go run ./bench -render FILE        draw docs/plots and the tables of docs/performance.md from a document, or several in a file
//
// The processes put what they write below TMPDIR. Where /dev/shm is there, it is the tmpfs.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	if role := os.Getenv(roleEnv); role != "" {
		if err := runChild(role, os.Stdin, os.Stdout); err != nil {
			fmt.Fprintf(os.Stderr, "bench %s: %v\n", role, err)
			os.Exit(1)
		}
		return
	}
	if err := run(os.Args[1:], os.Stdout, os.Stderr); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "bench:", err)
		}
		if errors.Is(err, errUsage) || errors.Is(err, flag.ErrHelp) {
			os.Exit(2)
		}
		os.Exit(1)
	}
}

var (
	errUsage  = errors.New("see -help")
	errNotMet = errors.New("a bound is not met")
	errFailed = errors.New("a workload ended early")
)

func run(args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	asJSON := flags.Bool("json", false, "print one JSON document")
	quick := flags.Bool("quick", false, "less of everything")
	quiet := flags.Bool("quiet", false, "no progress on stderr")
	check := flags.Bool("check", false, "fail when a bound is not met")
	only := flags.String("only", "", "these workloads only, by name, separated by commas")
	renderFile := flags.String("render", "", "run nothing: draw plots and tables from this `document`")
	docs := flags.String("docs", "docs", "where -render draws")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("flags only, not %q: %w", flags.Arg(0), errUsage)
	}
	if *renderFile != "" {
		return render(*renderFile, *docs)
	}
	list, err := pick(*only)
	if err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if *quiet {
		stderr = io.Discard
	}
	doc := runAll(ctx, list, *quick, stderr)
	if *asJSON {
		enc := json.NewEncoder(stdout)
		enc.SetIndent("", " ")
		err = enc.Encode(doc)
	} else {
		err = doc.print(stdout)
	}
	return errors.Join(err, ctx.Err(), doc.verdict(*check))
}

// verdict is an error where a workload could not run, and, with check, where a bound is not met.
func (d *Document) verdict(check bool) error {
	var errs []error
	for _, r := range d.Results {
		if r.Error != "" {
			errs = append(errs, fmt.Errorf("%w: %s: %s", errFailed, r.Workload, r.Error))
		}
		for _, f := range r.Figures {
			if check && !f.met() {
				errs = append(errs, fmt.Errorf("%w: %s: %s: %s", errNotMet, r.Workload, f.Name, f.verdict()))
			}
		}
	}
	return errors.Join(errs...)
}
