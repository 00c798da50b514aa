//go:build unix

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// wrongClock builds a ferry whose wall clock can be set: Go's own time.Now is
// replaced by one that adds what the file clock-NAME in the directory of orders
// says. Like a clock that somebody sets, it moves what time.Now shows, and not
// the monotonic time beside it.
func wrongClock(ctx context.Context, dir string) (program string, err error) {
	goroot, err := goSays(ctx, "env", "GOROOT")
	if err != nil {
		return "", err
	}
	module, err := goSays(ctx, "list", "-m", "-f", "{{.Dir}}", "ferry")
	if err != nil {
		return "", err
	}
	original := filepath.Join(goroot, "src", "time", "time.go")
	text, err := os.ReadFile(original)
	if err != nil {
		return "", err
	}
	for old, replacement := range map[string]string{
		"sec, nsec, mono := runtimeNow()\n": "sec, nsec, mono := runtimeNow()\n\tsec += Wrong.Load()\n",
		"import (\n":                        "import (\n\t\"sync/atomic\"\n",
	} {
		if bytes.Count(text, []byte(old)) != 1 {
			return "", fmt.Errorf("%s is not the time.Now that this harness knows how to set wrong: no single %q", original, old)
		}
		text = bytes.Replace(text, []byte(old), []byte(replacement), 1)
	}
	text = append(text, "\n// Wrong is by how many seconds the wall clock is wrong.\nvar Wrong atomic.Int64\n"...)
	changed, setter, overlay := filepath.Join(dir, "time.go"), filepath.Join(dir, "setter.go"), filepath.Join(dir, "overlay.json")
	list, err := json.Marshal(map[string]map[string]string{"Replace": {
		original: changed, filepath.Join(module, "cmd", "ferry", "chaosclock.go"): setter,
	}})
	if err == nil {
		err = errors.Join(os.WriteFile(changed, text, 0o600), os.WriteFile(setter, []byte(setterSource), 0o600), os.WriteFile(overlay, list, 0o600))
	}
	if err != nil {
		return "", err
	}
	program = filepath.Join(dir, "ferry-wrong-clock")
	_, err = goSays(ctx, "build", "-overlay", overlay, "-o", program, "ferry/cmd/ferry")
	return program, err
}

// setterSource becomes part of that ferry.
const setterSource = `package main

import (
	"os"
	"path/filepath"
	"time"
)

func init() {
	file := filepath.Join(os.Getenv("FERRY_CHAOS"), "clock-"+os.Getenv("FERRY_CHAOS_NAME"))
	set := func() {
		b, _ := os.ReadFile(file)
		d, _ := time.ParseDuration(string(b)) // 0: it is right
		time.Wrong.Store(int64(d / time.Second))
	}
	set()
	go func() {
		for range time.Tick(2 * time.Millisecond) {
			set()
		}
	}()
}
`

// wrongBy says whether a node's clock is wrong by about so much, as its HTTP
// server's answers show.
func (h *harness) wrongBy(ctx context.Context, name string, by time.Duration) (bool, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, h.w.url(name)+"/daemons", nil)
	if err != nil {
		return false, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false, err
	}
	resp.Body.Close()
	date, err := http.ParseTime(resp.Header.Get("Date"))
	return (time.Since(date) + by).Abs() < time.Minute, err
}

func goSays(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go %s: %w: %s", args[0], err, stderr.Bytes())
	}
	return string(bytes.TrimSpace(out)), nil
}

// runClocks moves the daemon to and fro, and sets one wall clock an hour back or
// forward in each move. That changes nothing: every move commits, at once.
func runClocks(ctx context.Context, h *harness, moves int) error {
	var tried table
	for n := 1; n <= moves; n++ {
		s, r := aim(&tried, &tried, h.rnd)
		by := []time.Duration{-time.Hour, time.Hour}[h.rnd.IntN(2)]
		if err := h.clockMove(ctx, n, s, r, by); err != nil {
			return fmt.Errorf("move %d, clock of the %v set by %v in %q: %w", n, r, by, s, err)
		}
		h.progress(n, moves)
	}
	return nil
}

func (h *harness) clockMove(ctx context.Context, n int, s step, r role, by time.Duration) (err error) {
	from, to, err := h.sides(ctx)
	if err != nil {
		return err
	}
	parts := [roleCount]string{from, to, "o"}
	clock := h.w.orders.path("clock-" + parts[r])
	// Those of earlier moves stay wrong, until they are set again: some are put right.
	if h.rnd.IntN(2) == 0 {
		for _, name := range names {
			_ = os.Remove(h.w.orders.path("clock-" + name))
		}
	}
	p := points[s][h.rnd.IntN(len(points[s]))]
	if err := h.w.orders.give(parts[p.at], p.name, true); err != nil {
		return err
	}
	begun := time.Now()
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
		err := errors.Join(
			os.WriteFile(clock+".part", []byte(by.String()), 0o600),
			os.Rename(clock+".part", clock),
		)
		if err != nil {
			return err
		}
		if r == orchestrator { // which cannot be asked
			err = pause(ctx, 20*time.Millisecond)
		} else {
			err = poll(ctx, patience, "the clock is wrong", func() (bool, error) { return h.wrongBy(ctx, parts[r], by) })
		}
		if err := errors.Join(err, h.w.orders.release()); err != nil {
			return err
		}
	}
	out, reruns, err := h.w.finish(ctx, o, to)
	if err != nil {
		return err
	}
	if out != "committed" || reruns > 0 {
		return fmt.Errorf("the move ended otherwise than it should: %s, run again %d times", out, reruns)
	}
	what := fmt.Sprintf("clock of the %v set by %v", r, by)
	return h.ended(ctx, ending{n: n, step: s, what: what, from: from, to: to, outcome: out, begun: begun})
}
