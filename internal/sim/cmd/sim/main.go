// Command sim runs simulated moves and says what came of them.
//
//	go run ./internal/sim/cmd/sim -moves 1000000 [-seed N]      many episodes
//	go run ./internal/sim/cmd/sim -episode SEED                 one of them, with its trace
//	go run ./internal/sim/cmd/sim -canary EarlyRelease          with one rule turned off
package main

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime/pprof"

	"ferry/internal/sim"
	"ferry/internal/weaken"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "sim:", err)
		os.Exit(1)
	}
}

func run() error {
	moves := flag.Int("moves", 100_000, "how many moves")
	seed := flag.Uint64("seed", 0, "of the run; 0: a fresh one, which is printed")
	one := flag.Uint64("episode", 0, "run the episode of this seed alone, and print its trace")
	workers := flag.Int("workers", 1, "goroutines, each with worlds of its own")
	canary := flag.String("canary", "", "a rule to turn off, by its name in internal/weaken")
	failures := flag.Int("failures", 1, "failures that end the run")
	profile := flag.String("cpuprofile", "", "write a profile to this file")
	flag.Parse()

	var cfg sim.Config
	if *canary != "" {
		rule, ok := weaken.Parse(*canary)
		if !ok {
			return fmt.Errorf("no rule %q", *canary)
		}
		cfg.Weak = weaken.Of(rule)
	}
	if *one != 0 {
		cfg.Seed, cfg.Trace = *one, true
		failure := sim.Episode(cfg)
		if failure == nil {
			fmt.Println("nothing is wrong")
			return nil
		}
		fmt.Print(failure.Trace)
		return failure
	}
	if *profile != "" {
		f, err := os.Create(*profile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	if *seed == 0 {
		*seed = rand.Uint64() >> 1
	}
	fmt.Println("seed", *seed)
	r := sim.Run(sim.Options{Seed: *seed, Moves: *moves, Workers: *workers, Config: cfg, FailuresMax: *failures})
	if err := r.Print(os.Stdout); err != nil {
		return err
	}
	if len(r.Failures) == 0 {
		return nil
	}
	for _, f := range r.Failures {
		fmt.Println(f)
	}
	small := sim.Shrink(r.Failures[0], 3000)
	var off []string
	for f, is := range small.Config.Off {
		if is {
			off = append(off, sim.Fault(f).String())
		}
	}
	fmt.Printf("\nshrunk to episode %d: %d moves began, %d nodes, %d daemons (0: by chance), without %q\n%s%v\n",
		small.Config.Seed, small.Moves, small.Config.Nodes, small.Config.Daemons, off, small.Trace, small.Violation)
	return fmt.Errorf("%d episodes failed; -episode %d shows the first", len(r.Failures), r.Failures[0].Config.Seed)
}
