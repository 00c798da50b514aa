//go:build unix

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// orders is the directory by which processes are told where to wait; see
// chaosHook in cmd/ferry.
type orders struct{ dir string }

func (o orders) path(name string) string { return filepath.Join(o.dir, name) }

// give tells the process called name to say when it is at point, and with hold
// to wait there. What was ordered before is forgotten.
func (o orders) give(name, point string, hold bool) error {
	verb := "pass"
	if hold {
		verb = "hold"
	}
	part := o.path("order.part")
	return errors.Join(
		o.clear(),
		os.WriteFile(part, fmt.Appendf(nil, "%s %s %s", name, point, verb), 0o600),
		os.Rename(part, o.path("order")), // whole or not at all
	)
}

// clear forgets the order, and where processes have been.
func (o orders) clear() error {
	for _, name := range []string{"order", "landed", "go", "trace"} {
		if err := os.Remove(o.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// landed says whether the order has been met.
func (o orders) landed() bool {
	_, err := os.Stat(o.path("landed"))
	return err == nil
}

// release lets whoever waits at its point go on.
func (o orders) release() error { return os.WriteFile(o.path("go"), nil, 0o600) }

// await waits until the order is met; false: the process it is for, or anything
// else that stop is for, has ended before.
func (o orders) await(ctx context.Context, stop <-chan struct{}) bool {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !o.landed() {
		select {
		case <-tick.C:
		case <-stop:
			return o.landed()
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// passed is the last step of a move that any process has come to.
func (o orders) passed() (last step) {
	b, _ := os.ReadFile(o.path("trace")) // nothing yet: the first
	for line := range bytes.Lines(b) {
		if _, point, ok := strings.Cut(strings.TrimSpace(string(line)), " "); ok {
			last = max(last, stepOf(point))
		}
	}
	return last
}
