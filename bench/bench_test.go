package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestMain lets the test's own binary be the children.
func TestMain(m *testing.M) {
	if role := os.Getenv(roleEnv); role != "" {
		if err := runChild(role, os.Stdin, os.Stdout); err != nil {
			os.Stderr.WriteString(role + ": " + err.Error() + "\n")
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// TestRun runs every contender for real, with little to carry.
func TestRun(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	report, err := Run(t.Context(), Config{Bytes: 1<<20 + 5, Rounds: 2})
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Results) != 4 {
		t.Fatalf("%d results", len(report.Results))
	}
	for _, res := range report.Results {
		if len(res.Samples) != 2 || res.MBPerSecond <= 0 || res.RatioToQUIC <= 0 || res.RatioToTCP <= 0 {
			t.Errorf("%+v", res)
		}
		for _, s := range res.Samples {
			if s.Bytes < report.Config.Bytes || s.Seconds <= 0 {
				t.Errorf("%s: %+v", res.Name, s)
			}
		}
		if moved := res.Name == "ferry-move"; moved != (res.BlackoutMS > 0) {
			t.Errorf("%s: blackout %v ms", res.Name, res.BlackoutMS)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(os.TempDir(), "ferry-bench-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	var text bytes.Buffer
	if err := report.print(&text); err != nil || !strings.Contains(text.String(), "ferry-lanes") {
		t.Errorf("%v: %s", err, text.String())
	}
	b, err := json.Marshal(report)
	if err != nil || !bytes.Contains(b, []byte(`"ratio_to_tls_tcp"`)) {
		t.Errorf("%v: %s", err, b)
	}
}

// TestUnknownRole: a child that cannot play its part says so, and its parent too.
func TestUnknownRole(t *testing.T) {
	c, err := startChild(t.Context(), "tcp/sink")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.ask(order{Do: "dance"}); err == nil || !strings.Contains(err.Error(), errNoOrder.Error()) {
		t.Errorf("an order that is none: %v", err)
	}
	if err := c.stop(); err != nil {
		t.Error(err)
	}
	if err := runChild("nobody", strings.NewReader(""), io.Discard); err == nil {
		t.Error("a role that is none")
	}
}

// TestDamageShows: a byte that arrives otherwise is no sample.
func TestDamageShows(t *testing.T) {
	for name, at := range map[string]int64{"intact": -1, "first": 8, "last": 1<<20 + 7} {
		t.Run(name, func(t *testing.T) {
			near, far := net.Pipe()
			deadline := time.Now().Add(20 * time.Second)
			near.SetDeadline(deadline)
			far.SetDeadline(deadline)
			done := make(chan error, 1)
			go func() { done <- receive(&damaged{Conn: far, at: at}) }()
			s, err := send(near, 1<<20)
			near.Close()
			if rerr := <-done; rerr != nil && !errors.Is(rerr, io.EOF) {
				t.Fatal(rerr)
			}
			if (err == nil) != (at < 0) || err == nil && s.Bytes != 1<<20 {
				t.Errorf("%+v, %v", s, err)
			}
		})
	}
}

// damaged flips a bit of the byte at.
type damaged struct {
	net.Conn
	at, off int64
}

func (d *damaged) Read(b []byte) (int, error) {
	n, err := d.Conn.Read(b)
	if i := d.at - d.off; i >= 0 && i < int64(n) {
		b[i] ^= 1
	}
	d.off += int64(n)
	return n, err
}

func TestPattern(t *testing.T) {
	const size = patternBytes + 1000
	whole, err := io.ReadAll(io.NewSectionReader(pattern(size), 0, size+5))
	if err != nil || len(whole) != size {
		t.Fatalf("%d bytes, %v", len(whole), err)
	}
	if !bytes.Equal(whole[patternBytes:], whole[:1000]) || bytes.Equal(whole[:1000], whole[1000:2000]) {
		t.Error("does not repeat where it should")
	}
	part := make([]byte, 2000)
	if n, err := pattern(size).ReadAt(part, size-1500); n != 1500 || err != io.EOF || !bytes.Equal(part[:n], whole[size-1500:]) {
		t.Errorf("at the end: %d, %v", n, err)
	}
}

func TestReport(t *testing.T) {
	rate := func(mbs ...float64) (list []Sample) {
		for _, mb := range mbs {
			list = append(list, Sample{Bytes: 1e6, Seconds: 1 / mb})
		}
		return list
	}
	all := []entry{{name: tcpName}, {name: quicName}, {name: "x", ours: true}}
	// The machine slows down to a tenth in the last round: the ratios do not.
	r := newReport(Config{}, all, [][]Sample{rate(1000, 1000, 100), rate(100, 100, 10), rate(200, 220, 24)}, time.Second)
	x := r.Results[2]
	if near(x.MBPerSecond, 200) && near(x.RatioToQUIC, 2.2) && near(x.RatioToTCP, 0.22) &&
		len(r.Losses) == 1 && r.Losses[0].Against == tcpName {
		return
	}
	t.Errorf("%+v, losses %+v", x, r.Losses)
}

func TestMedian(t *testing.T) {
	same := func(v float64) float64 { return v }
	for _, c := range []struct {
		list []float64
		want float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{9, 1}, 5}, {[]float64{9, 1, 2}, 2}, {[]float64{9, 1, 2, 4}, 3}} {
		if got := median(c.list, same); got != c.want {
			t.Errorf("%v: %v", c.list, got)
		}
	}
}

func near(a, b float64) bool { return math.Abs(a-b) < 1e-9*b }
