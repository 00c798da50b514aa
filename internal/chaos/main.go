//go:build unix

// Command chaos moves a kv daemon to and fro between real ferry processes,
// under writers, while one of them is killed with kill -9, the links between
// them are cut, their disks are full, or their wall clocks are wrong; and checks
// by the writers' own records, over HTTP alone, that no acknowledged write was
// lost, doubled or reordered, and that one node serves at the end.
//
//	go run ./internal/chaos                 everything, in about 11 minutes
//	go run ./internal/chaos -moves 36       as CI does
//	go run ./internal/chaos -moves 0 -links 40 -disks 0 -clocks 0
//
// Where a process is killed is exact: it is told, through cmd/ferry's
// crashpoint.go, to wait at a step, and killed there, or another one while it
// waits. Exit code 1: something promised was not kept.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

type options struct {
	moves, links, disks, clocks int
	seed                        uint64
	rate                        int
	fill                        int64
	ferry, keep, only, forget   string
	asJSON, verbose             bool
	step                        step // of only
	role                        role
}

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	var o options
	flags := flag.NewFlagSet("chaos", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.IntVar(&o.moves, "moves", 700, "moves with a kill -9 in each")
	flags.IntVar(&o.links, "links", -1, "moves with a fault of the links in each; -1: a tenth of -moves, 6 at least")
	flags.IntVar(&o.disks, "disks", -1, "moves with a full disk in each; -1: the same")
	flags.IntVar(&o.clocks, "clocks", -1, "moves with a wall clock set wrong in each; -1: the same")
	flags.Uint64Var(&o.seed, "seed", 0, "seed of what is aimed at; 0: a fresh one, which is printed")
	flags.IntVar(&o.rate, "rate", 300, "writes per second")
	flags.Int64Var(&o.fill, "fill", 4<<20, "bytes of state to begin with")
	flags.StringVar(&o.ferry, "ferry", "", "the ferry program; empty: it is built")
	flags.StringVar(&o.keep, "keep", "", "keep everything in this directory")
	flags.StringVar(&o.only, "only", "", "aim at one step and role alone, by number: 8,2 is the orchestrator between ActivateAck and release")
	flags.StringVar(&o.forget, "forget", "", "let every process forget a record, like retired, to see that this is found")
	flags.BoolVar(&o.asJSON, "json", false, "print the report as JSON")
	flags.BoolVar(&o.verbose, "v", false, "a line for each move")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if o.only != "" {
		if n, err := fmt.Sscanf(o.only, "%d,%d", &o.step, &o.role); n != 2 || err != nil || o.step < 0 || o.step >= stepCount || o.role < 0 || o.role >= roleCount {
			fmt.Fprintf(stderr, "chaos: -only needs two numbers, a step below %d and a role below %d\n", stepCount, roleCount)
			return 2
		}
	}
	if o.seed == 0 {
		o.seed = uint64(time.Now().UnixNano())
	}
	for _, n := range []*int{&o.links, &o.disks, &o.clocks} {
		if *n < 0 {
			*n = max(o.moves/10, 6)
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	reps, err := runAll(ctx, o, stderr)
	failed := err != nil
	for _, rep := range reps {
		failed = failed || !rep.ok()
	}
	if o.asJSON {
		enc := json.NewEncoder(stdout)
		enc.SetIndent("", "  ")
		_ = enc.Encode(map[string]any{"seed": o.seed, "ok": !failed, "runs": reps})
	} else {
		for _, rep := range reps {
			rep.write(stdout)
		}
	}
	if err != nil {
		fmt.Fprintln(stderr, "chaos:", err)
	}
	if failed {
		return 1
	}
	return 0
}

// mode is one sort of faults, with a world of its own.
type mode struct {
	name  string
	moves int
	// prepare is called before the nodes start, undo after they have ended. Both
	// may be nil.
	prepare func(h *harness) (undo func() error, err error)
	run     func(ctx context.Context, h *harness, moves int) error
}

func (o options) modes() []mode {
	return []mode{
		{"kills", o.moves, nil, runKills},
		{"links", o.links, func(h *harness) (undo func() error, err error) {
			h.links, err = newLinks(h.w)
			return func() error { h.links.close(); return nil }, err
		}, runCuts},
		{"disks", o.disks, func(h *harness) (undo func() error, err error) {
			undo, err = mountDisks(h.w)
			h.disks = undo != nil
			h.w.extra = []string{"--timeout", "2s"} // what waits for room does so for nothing
			return undo, err
		}, runDisks},
		{"clocks", o.clocks, func(h *harness) (undo func() error, err error) {
			h.w.ferry, err = wrongClock(h.ctx, h.w.dir)
			return nil, err
		}, runClocks},
	}
}

func runAll(ctx context.Context, o options, stderr io.Writer) (reps []*report, err error) {
	dir := o.keep
	if dir == "" {
		if dir, err = os.MkdirTemp("", "ferry-chaos-"); err != nil {
			return nil, err
		}
		defer os.RemoveAll(dir)
	}
	if o.ferry == "" {
		o.ferry = filepath.Join(dir, "ferry")
		if out, err := exec.CommandContext(ctx, "go", "build", "-o", o.ferry, "ferry/cmd/ferry").CombinedOutput(); err != nil {
			return nil, fmt.Errorf("build ferry: %w\n%s", err, out)
		}
	}
	fmt.Fprintf(stderr, "seed %d\n", o.seed)
	for _, m := range o.modes() {
		if m.moves == 0 {
			continue
		}
		rep, err := runMode(ctx, o, m, filepath.Join(dir, m.name), stderr)
		if rep != nil {
			reps = append(reps, rep)
		}
		if err != nil {
			return reps, fmt.Errorf("%s: %w", m.name, err)
		}
	}
	return reps, nil
}

// harness is one mode under way.
type harness struct {
	w      *world
	wr     *writers
	own    *owners
	rnd    *rand.Rand
	rep    *report
	links  *links // of mode links
	disks  bool   // the nodes' disks are small
	stderr io.Writer
	opts   options
	ctx    context.Context // of the whole run
}

func runMode(ctx context.Context, o options, m mode, dir string, stderr io.Writer) (rep *report, err error) {
	w, err := newWorld(o.ferry, dir, o.fill)
	if err != nil {
		return nil, err
	}
	h := &harness{
		w: w, rnd: rand.New(rand.NewPCG(o.seed, 0)), stderr: stderr, opts: o, ctx: ctx,
		rep: &report{Mode: m.name, Outcomes: make(map[string]int)},
	}
	w.say = func(format string, args ...any) {
		if o.verbose {
			fmt.Fprintf(stderr, format+"\n", args...)
		}
	}
	if o.forget != "" {
		if err := os.WriteFile(w.orders.path("forget"), []byte(o.forget), 0o600); err != nil {
			return nil, err
		}
	}
	if m.prepare != nil {
		undo, err := m.prepare(h)
		if err != nil {
			return nil, err
		}
		if undo != nil {
			defer func() { _ = undo() }()
		}
	}
	defer func() {
		if e := w.down(); err == nil {
			err = e
		}
	}()
	if err := w.up(ctx); err != nil {
		return nil, err
	}
	if h.wr, err = newWriters(o.rate, w.url("a"), w.url("b")); err != nil {
		return nil, err
	}
	stopped := false
	stop := func() {
		if !stopped {
			stopped = true
			h.wr.end()
			h.own.stop()
		}
	}
	if h.own, err = watchOwners(w); err != nil {
		h.wr.end()
		return nil, err
	}
	defer stop()
	begun := time.Now()
	if err = m.run(ctx, h, m.moves); err == nil {
		err = h.plainMove(ctx)
	}
	h.rep.Seconds = time.Since(begun).Seconds()
	if err != nil {
		for name, p := range w.nodes {
			err = fmt.Errorf("%w\n--- node %s:\n%s", err, name, p.said())
		}
		return h.rep, err
	}
	stop()
	h.rep.Verdict, err = w.check(ctx, h.wr, h.own)
	return h.rep, err
}

// plainMove moves the daemon once more, now that no fault comes any more. It may
// meet a connection to a process that is no more, and roll back once for that.
func (h *harness) plainMove(ctx context.Context) error {
	if err := h.w.orders.clear(); err != nil {
		return err
	}
	for range 3 {
		_, to, err := h.sides(ctx)
		if err != nil {
			return err
		}
		o, err := h.w.migrate(to)
		if err != nil {
			return err
		}
		out, _, err := h.w.finish(ctx, o, to)
		if err != nil || out == "committed" {
			return err
		}
	}
	return errors.New("without any fault, the daemon does not move")
}

// sides is where the daemon is, and where it is to go.
func (h *harness) sides(ctx context.Context) (from, to string, err error) {
	err = poll(ctx, patience, "a node serves", func() (bool, error) {
		for i, name := range []string{"a", "b"} {
			if d, _, err := h.w.listed(ctx, name); err == nil && d.Authority {
				from, to = name, []string{"b", "a"}[i]
				return true, nil
			}
		}
		return false, nil
	})
	return from, to, err
}

// ending is a move that its orchestrator says has ended.
type ending struct {
	n        int
	step     step
	role     role
	hit      bool
	what     string // of another fault than a kill
	from, to string
	outcome  string
	reruns   int
	begun    time.Time // when the last process was started again, or the fault was over
}

// ended waits until the daemon takes a write, and counts the move.
func (h *harness) ended(ctx context.Context, e ending) error {
	said := time.Since(e.begun)
	if err := h.wr.probe(ctx, e.n); err != nil {
		return fmt.Errorf("no node takes a write after the move: %w", err)
	}
	took := time.Since(e.begun)
	h.rep.count(e, took)
	if h.opts.verbose || took > endMax {
		what := e.what
		if what == "" {
			what = fmt.Sprintf("kill %v in %q, hit %v", e.role, e.step, e.hit)
		}
		fmt.Fprintf(h.stderr, "%4d %s→%s %s: %s after %.2f s, a write after %.2f s, run again %d times\n",
			e.n, e.from, e.to, what, e.outcome, said.Seconds(), took.Seconds(), e.reruns)
	}
	if h.own.blamed() != nil {
		return h.own.blamed()
	}
	return nil
}

func (h *harness) progress(n, moves int) {
	if n%50 == 0 && n < moves {
		acked, unknown := h.wr.count()
		fmt.Fprintf(h.stderr, "%s: %d of %d moves, %d writes acknowledged, %d without an answer\n", h.rep.Mode, n, moves, acked, unknown)
	}
}

// quantile of a list, 0 when it is empty.
func quantile(list []float64, q float64) float64 {
	if len(list) == 0 {
		return 0
	}
	list = slices.Sorted(slices.Values(list))
	return list[int(q*float64(len(list)-1))]
}
