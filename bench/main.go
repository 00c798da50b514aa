// Bench measures how fast ferry brings state from one process to another, next to what else could carry it: one stream
// of plain quic-go, and TLS 1.3 over TCP. Every contender runs in real processes of its own over loopback, all of them in
// interleaved rounds, so that a machine that drifts drifts for all alike; only the ratios mean anything elsewhere.
//
//	go run ./bench            a table
//	go run ./bench -quick     less of everything, in under a minute
//	go run ./bench -json      one object, with every sample
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
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
	os.Exit(run())
}

func run() int {
	cfg := Config{}
	asJSON := flag.Bool("json", false, "print one JSON object")
	quick := flag.Bool("quick", false, "128 MiB and 3 rounds, unless given")
	mib := flag.Int64("mib", 0, "state to bring over in each round, in MiB (default 512)")
	flag.IntVar(&cfg.Rounds, "rounds", 0, "interleaved rounds (default 9)")
	flag.IntVar(&cfg.Lanes, "lanes", 0, "ferry's lanes (default 4)")
	flag.IntVar(&cfg.Connections, "connections", 0, "ferry's further connections (default 2)")
	flag.Parse()
	if flag.NArg() > 0 || *mib < 0 || cfg.Rounds < 0 {
		fmt.Fprintln(os.Stderr, "bench: takes flags only, and no negative numbers; see -help")
		return 2
	}
	cfg.Bytes = *mib << 20
	if *quick {
		cfg = cfg.quick()
	}
	if !*asJSON {
		cfg.Progress = os.Stderr
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	report, err := Run(ctx, cfg)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 1
	}
	if *asJSON {
		err = json.NewEncoder(os.Stdout).Encode(report)
	} else {
		err = report.print(os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 1
	}
	return 0
}
