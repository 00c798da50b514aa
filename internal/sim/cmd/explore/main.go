// Command explore searches every state of a small world around migration's step functions.
//
//	go run ./internal/sim/cmd/explore                      the documented bounds, one after the other
//	go run ./internal/sim/cmd/explore -bounds 3,2,1,2,2,1  nodes, moves, writes, crashes, losses, doubled[, timeouts, cancels, asks, refusals, failed writes]
package main

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"

	"ferry/internal/sim/explore"
	"ferry/internal/weaken"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "explore:", err)
		os.Exit(1)
	}
}

func run() error {
	bounds := flag.String("bounds", "", "numbers, in the order above")
	anyO := flag.Bool("any", false, "any number of orchestrators without memory, losses, doubled frames and timeouts")
	memory := flag.Bool("memory", false, "the daemon is in memory")
	most := flag.Int("states", 0, "end after so many states; 0: none")
	canary := flag.String("canary", "", "a rule to turn off, by its name in internal/weaken")
	verbose := flag.Bool("v", false, "tell how far it is")
	flag.Parse()
	list := explore.Documented()
	if *bounds != "" {
		b, err := parse(*bounds)
		if err != nil {
			return err
		}
		b.Any, b.Memory, b.StatesMax = *anyO, *memory, *most
		if *canary != "" {
			rule, ok := weaken.Parse(*canary)
			if !ok {
				return fmt.Errorf("no rule %q", *canary)
			}
			b.Weak = weaken.Of(rule)
		}
		list = []explore.Bounds{b}
	}
	total := 0
	for _, b := range list {
		if *verbose {
			b.Progress = func(states, depth int) { fmt.Fprintln(os.Stderr, states, "states, depth", depth) }
		}
		r := explore.Search(b)
		r.Print(os.Stdout)
		total += r.States
		if r.Violation != nil {
			return r.Violation
		}
	}
	fmt.Printf("%d states in all, no violation\n", total)
	return nil
}

func parse(text string) (b explore.Bounds, err error) {
	into := []*int{&b.Nodes, &b.Moves, &b.Writes, &b.Crashes, &b.Losses, &b.Doubles, &b.Timeouts, &b.Cancels, &b.Asks, &b.Refusals, &b.Fails}
	for i, field := range strings.Split(text, ",") {
		if i >= len(into) {
			return b, fmt.Errorf("more than %d numbers", len(into))
		}
		if *into[i], err = strconv.Atoi(strings.TrimSpace(field)); err != nil {
			return b, err
		}
	}
	return b, nil
}
