//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"ferry/internal/smalldisk"
)

// tmpfsBytes is the size of a node's disk, with room for two copies of the
// state and the log.
const tmpfsBytes = 192 << 20

// mountDisks gives each process a small disk of its own, where root may. It
// gives the unmounting, and nil where it is not allowed.
func mountDisks(w *world) (unmount func() error, err error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	var mounted []func() error
	unmount = func() (err error) {
		for _, f := range mounted {
			err = errors.Join(err, f())
		}
		return err
	}
	for _, name := range names {
		f, err := smalldisk.Mount(w.data(name), tmpfsBytes)
		if err != nil {
			return nil, unmount() // a container's root: it may not either
		}
		mounted = append(mounted, f)
	}
	return unmount, nil
}

// fullFor is how long a disk stays full after the move.
const fullFor = 400 * time.Millisecond

// runDisks moves the daemon to and fro, and one disk is full in each move: that
// of the journal alone, or all of it where we have one to fill.
func runDisks(ctx context.Context, h *harness, moves int) error {
	var tried table
	for n := 1; n <= moves; n++ {
		s, _ := aim(&tried, &tried, h.rnd)
		r := role((n - 1) % int(roleCount))
		whole := h.disks && n%4 != 0
		if err := h.diskMove(ctx, n, s, r, whole); err != nil {
			return fmt.Errorf("move %d, full disk of the %v in %q: %w", n, r, s, err)
		}
		h.progress(n, moves)
	}
	return nil
}

func (h *harness) diskMove(ctx context.Context, n int, s step, r role, whole bool) (err error) {
	from, to, err := h.sides(ctx)
	if err != nil {
		return err
	}
	parts := [roleCount]string{from, to, "o"}
	full, what := h.w.orders.path("full-"+parts[r]), "journal of the "+r.String()
	fill := func() error { return os.WriteFile(full, nil, 0o600) }
	if whole {
		full, what = smalldisk.Ballast(h.w.data(parts[r])), "disk of the "+r.String()
		fill = func() error { return smalldisk.Fill(h.w.data(parts[r])) }
	}
	defer func() { _ = os.Remove(full) }()
	p := points[s][h.rnd.IntN(len(points[s]))]
	if err := h.w.orders.give(parts[p.at], p.name, true); err != nil {
		return err
	}
	o, err := h.w.migrate(to)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil && !o.ended() {
			err = errors.Join(err, o.kill())
		}
	}()
	if h.w.orders.await(ctx, o.done) {
		if err := errors.Join(fill(), h.w.orders.release()); err != nil {
			return err
		}
	}
	// The orchestrator comes to its end with the disk full. Then there is room
	// again, and a node whose daemon had to stop is started again, as its log says.
	begun := time.Now()
	select {
	case <-o.done:
	case <-time.After(patience):
		return fmt.Errorf("the move does not end: %s", o.lastLine())
	}
	if err := pause(ctx, fullFor); err != nil { // whoever writes meets it now
		return err
	}
	said, code, took := o.lastLine(), o.exit(), time.Since(begun)
	if err := os.Remove(full); err != nil && h.w.orders.landed() {
		return err
	}
	again, err := h.stopped(ctx)
	if err != nil {
		return err
	}
	again = again && r != orchestrator
	if again {
		h.rep.Restarts++
		p := h.w.nodes[parts[r]]
		if err := errors.Join(p.cmd.Process.Signal(syscall.SIGTERM), waitFor(p)); err != nil {
			return err
		}
		if err := h.w.startNode(parts[r]); err != nil {
			return err
		}
	}
	if h.opts.verbose {
		fmt.Fprintf(h.stderr, "%4d full %s in %q: exit %d after %.2f s, node started again %v: %s\n", n, what, s, code, took.Seconds(), again, said)
	}
	begun = time.Now()
	out, reruns, err := h.w.finish(ctx, o, to)
	if err != nil {
		return err
	}
	return h.ended(ctx, ending{n: n, step: s, what: what, from: from, to: to, outcome: out, reruns: reruns, begun: begun})
}

// stopped says whether no node serves, for longer than a cutover takes: the one
// that should cannot, as its journal would not say what it is.
func (h *harness) stopped(ctx context.Context) (bool, error) {
	for range 30 {
		for _, name := range []string{"a", "b"} {
			if d, _, err := h.w.listed(ctx, name); err == nil && d.Authority {
				return false, nil
			}
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return false, err
		}
	}
	return true, nil
}

func waitFor(p *process) error {
	select {
	case <-p.done:
		return nil
	case <-time.After(patience):
		return fmt.Errorf("node %s does not end on SIGTERM", p.name)
	}
}
