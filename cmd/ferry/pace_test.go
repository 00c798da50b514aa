package main

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestByteRate(t *testing.T) {
	tests := []struct {
		text string
		want byteRate
		back string
		bad  string
	}{
		{text: "none", want: 0, back: "none"},
		{text: "50MB/s", want: 50e6, back: "50 MB/s"},
		{text: "20 MiB/s", want: 20 << 20, back: "20 MiB/s"},
		{text: "1GB", want: 1e9, back: "1.0 GB/s"},
		{text: "65536", want: 65536, back: "64 KiB/s"},
		{text: "65535", bad: "looks stuck"},
		{text: "0", bad: "none is no limit"},
		{text: "20MB/min", bad: "not a rate"},
		{text: "", bad: "not a rate"},
		{text: "-1", bad: "not a rate"},
		{text: "9e30", bad: "not a rate"},
	}
	for _, tt := range tests {
		r := byteRate(7)
		err := r.Set(tt.text)
		switch {
		case tt.bad != "":
			if err == nil || !strings.Contains(err.Error(), tt.bad) || r != 7 {
				t.Errorf("%q: %v, %v; want %q", tt.text, r, err, tt.bad)
			}
		case err != nil || r != tt.want || r.String() != tt.back:
			t.Errorf("%q: %d, %v, %v; want %d", tt.text, r, r, err, tt.want)
		}
	}
}

// TestPace: a move that begins with a limit, which is changed and lifted by
// another process while it runs.
func TestPace(t *testing.T) {
	slow(t)
	w := newWorld(t, "a", "b", "o")
	w.node("a", "--daemon", "orders", "--fill", "8MiB")
	w.node("b")
	pace := func(want int, limit string, more ...string) result {
		t.Helper()
		r := command(t, append([]string{"pace", "orders", "--cluster", w.path("o"), "--limit", limit}, more...)...)
		if r.code != want {
			t.Fatalf("pace to %s: exit %d, want %d: %s%s", limit, r.code, want, r.stdout, r.stderr)
		}
		return r
	}
	if r := pace(exitFailed, "1MB/s"); !strings.Contains(r.stderr, `no node is sending daemon "orders"`) {
		t.Errorf("without a move: %s", r.stderr)
	}
	m := w.transferring("orders", "b", "--limit", "64KiB/s") // two minutes
	m.await(", at most 64 KiB/s")
	var res paceResult
	r := pace(exitDone, "1MB/s", "--json")
	if err := json.Unmarshal([]byte(r.stdout), &res); err != nil || res.From != "a" || res.To != "b" || res.RateLimit != 1e6 || res.Epoch != "1" {
		t.Errorf("%s, %v", r.stdout, err)
	}
	m.await(", at most 1.0 MB/s")
	if r := pace(exitDone, "none"); !strings.Contains(r.stdout, "the move of orders from a to b goes on without a limit") {
		t.Errorf("%s", r.stdout)
	}
	if end := m.exit(patience); end.code != exitDone {
		t.Fatalf("exit %d: %s", end.code, end.stderr)
	}
	w.owner("orders", "b", "a")

	// A running orchestrator takes the limit of the command beside it.
	w.orchestrator()
	m = w.transferring("orders", "a", "--limit", "64KiB/s")
	m.await(", at most 64 KiB/s")
	pace(exitDone, "none")
	if end := m.exit(patience); end.code != exitDone {
		t.Fatalf("exit %d: %s", end.code, end.stderr)
	}
}

// TestNotReady: a target that has too much on its way is asked again for as long
// as the command was told, and says why.
func TestNotReady(t *testing.T) {
	slow(t)
	w := newWorld(t, "a", "b", "c", "o")
	w.node("a", "--daemon", "orders", "--fill", "8MiB")
	w.node("c", "--daemon", "users", "--fill", "1MiB")
	w.node("b", "--incoming", "1", "--incoming-bytes", "64MiB")
	first := w.transferring("orders", "b", "--limit", "64KiB/s")
	const why = "NotReady: as many daemons are on their way here as it takes at once, 1"
	if _, r := w.migrate(exitFailed, "users", "b", "--wait", "0"); !strings.Contains(r.stderr, "ferry: users: refused: "+why) {
		t.Errorf("%s", r.stderr)
	}
	second := spawn(t, w.migrateArgs("users", "b", "--wait", "60s")...)
	second.await("b does not take users now: " + why + "; asking again for 1m0s")
	if r := command(t, "pace", "orders", "--cluster", w.path("o"), "--limit", "none"); r.code != exitDone {
		t.Fatalf("pace: exit %d: %s", r.code, r.stderr)
	}
	for _, m := range []*proc{first, second} {
		if end := m.exit(patience); end.code != exitDone {
			t.Errorf("exit %d: %s", end.code, end.stderr)
		}
	}
	if n := strings.Count(second.said(), "users c → b  prepare"); n != 1 {
		t.Errorf("said %d times that it prepares: %s", n, second.said())
	}
	w.owner("orders", "b", "a")
	w.owner("users", "b", "c")
}
