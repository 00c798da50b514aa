package main

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestStatistics(t *testing.T) {
	for _, c := range []struct {
		list            []float64
		median, p99, p1 float64
	}{{nil, 0, 0, 0}, {[]float64{3}, 3, 3, 3}, {[]float64{9, 1}, 5, 9, 1}, {[]float64{9, 1, 2}, 2, 9, 1}, {[]float64{9, 1, 2, 4}, 3, 9, 1}} {
		if m, p99, p1 := median(c.list), percentile(c.list, 99), percentile(c.list, 1); m != c.median || p99 != c.p99 || p1 != c.p1 {
			t.Errorf("%v: %v, %v, %v", c.list, m, p99, p1)
		}
	}
	var hundred []float64
	for i := range 100 {
		hundred = append(hundred, float64(100-i))
	}
	if p := percentile(hundred, 99); p != 99 {
		t.Errorf("p99 of 1 … 100: %v", p)
	}
	// The machine slows down to a tenth in the last round: the ratios do not.
	if got := ratios([]float64{200, 220, 24}, []float64{100, 100, 10}); median(got) != 2.2 || len(got) != 3 {
		t.Errorf("%v", got)
	}
}

func TestVerdict(t *testing.T) {
	for _, c := range []struct {
		value float64
		bound *Bound
		miss  string
		met   bool
		want  string
	}{
		{1, nil, "", true, ""},
		{1, nil, "not here", true, ""},
		{0.85, atLeast(0.85, 0.97), "", true, "met"},
		{0.97, atLeast(0.85, 0.97), "", true, "met, aim too"},
		{0.68, atLeast(0.85, 0.97), "", false, "NOT MET by 20%"},
		{10, atMost(10), "", true, "met"},
		{15, atMost(10), "", false, "NOT MET by 50%"},
		{1, atMost(0), "", false, "NOT MET"},
		{0, atMost(10), "not here", false, "NOT MET: not here"},
	} {
		f := Figure{Value: c.value, Bound: c.bound, Missing: c.miss}
		if f.met() != c.met || f.verdict() != c.want {
			t.Errorf("%v %v: %v, %q", c.value, c.bound, f.met(), f.verdict())
		}
	}
	if f := figure("x", "", atMost(1), nil); f.met() {
		t.Error("a figure without a sample meets its bound")
	}
}

func TestNumber(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 0.0123: "0.012", 0.85: "0.850", 1.234: "1.23", 12.34: "12.3", 3: "3", 1234.5: "1234", -2.5: "-2.50"} {
		if got := number(v); got != want {
			t.Errorf("%v: %s, not %s", v, got, want)
		}
	}
	for v, want := range map[float64]float64{0: 0, 123456.7: 123460, 0.123456: 0.12346, -2: -2} {
		if got := round(v); got != want {
			t.Errorf("%v: %v, not %v", v, got, want)
		}
	}
}

// sampleDocument has one of everything.
func sampleDocument() *Document {
	return &Document{
		Machine: Machine{OS: "linux", Arch: "amd64", CPUs: 2, Go: "go1", Modules: map[string]string{"a/b": "v1"}, Command: "go run ./bench"},
		Date:    time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		Results: []Result{{
			Workload: "throughput", What: "how fast", Notes: []string{"a note"}, Error: "it broke",
			Figures: []Figure{
				figure("good", "×", atLeast(1, 0), []float64{1, 2, 3}), figure("bad", "ms", atMost(1), []float64{2}),
				missing("none", "ms", atMost(1), "not here"), figure("beside", "s", nil, []float64{7}),
			},
			Curves: []Curve{
				{Plot: "p", Name: "one", Title: "A plot", XLabel: "x", YLabel: "y", LogX: true, X: []float64{1, 10}, Y: []float64{1, 2}},
				{Plot: "p", Name: "two", X: []float64{1, 10}, Y: []float64{3, 4}},
				{Plot: "q", Name: "empty"}, {Plot: "r", Name: "single", X: []float64{5}, Y: []float64{0}, LogX: true},
			},
		}},
	}
}

func TestRender(t *testing.T) {
	dir := t.TempDir()
	page := filepath.Join(dir, "performance.md")
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(page, "before\n"+drawnBegin+"\nold\n"+drawnEnd+"\nafter\n")
	b, err := json.Marshal(sampleDocument())
	if err != nil {
		t.Fatal(err)
	}
	document := filepath.Join(dir, "doc.json")
	write(document, string(b))
	var first string
	for range 2 { // drawn again it is the same
		if err := render(document, dir); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		if first != "" && first != string(b) {
			t.Errorf("%s\nthen\n%s", first, b)
		}
		first = string(b)
	}
	for _, want := range []string{
		"before\n", "\nafter\n", "| good | 2 × | ≥ 1 | met | 3: 1 … 3 |", "| bad | 2 ms | ≤ 1 | **NOT MET by 100%** |",
		"| none | – | ≤ 1 | **NOT MET: not here** |", "| beside | 7 s |  |  |  |", "- a note", "Ended early: it broke",
		"![A plot](plots/p.svg)", "2026-01-02 03:04 UTC", "b v1",
	} {
		if !strings.Contains(first, want) {
			t.Errorf("lacks %q:\n%s", want, first)
		}
	}
	if strings.Contains(first, "old") || strings.Contains(first, "plots/q.svg") {
		t.Errorf("has what it should not:\n%s", first)
	}
	var drawn []string
	plots, _ := filepath.Glob(filepath.Join(dir, "plots", "*"))
	for _, p := range plots {
		if b, err := os.ReadFile(p); err != nil || !strings.Contains(string(b), "<svg") {
			t.Errorf("%s: %v", p, err)
		}
		drawn = append(drawn, filepath.Base(p))
	}
	if !slices.Equal(drawn, []string{"p.svg", "r.svg"}) {
		t.Errorf("drawn: %v", drawn)
	}
	write(page, "no place for it")
	if err := render(document, dir); err == nil {
		t.Error("a page without the lines")
	}
}

func TestCheck(t *testing.T) {
	d := sampleDocument()
	d.Results[0].Error = ""
	if err := d.verdict(false); err != nil {
		t.Errorf("without -check: %v", err)
	}
	err := d.verdict(true)
	if err == nil || !strings.Contains(err.Error(), "bad") || !strings.Contains(err.Error(), "none") || strings.Contains(err.Error(), "good") {
		t.Errorf("with -check: %v", err)
	}
}

// TestWindow: what a write felt counts from when it was due, and a write counts where it was done.
func TestWindow(t *testing.T) {
	ms := int64(time.Millisecond)
	s := inWindow([]timing{{0, 1 * ms}, {999 * ms, 1500 * ms}, {1000 * ms, 1010 * ms}, {1500 * ms, 2100 * ms}}, 1000*ms, 2000*ms)
	if s.PerSecond != 2 || s.Latency.Count != 2 || s.Latency.Max < 599 || s.Latency.Max > 601 {
		t.Errorf("%+v", s)
	}
}

func TestBenchLines(t *testing.T) {
	l := benchLines{}
	err := l.read(strings.NewReader(`goos: linux
BenchmarkEncode/Ack-2     100   10.5 ns/op   21 net-mesh-ns/op   0 B/op   0 allocs/op
BenchmarkEncode/Ack-2     100   31.5 ns/op   21 net-mesh-ns/op   8 B/op   1 allocs/op
BenchmarkTransfer/16-of-7000-2   3   99 ns/op   1500 MB/s
PASS`))
	if err != nil {
		t.Fatal(err)
	}
	var out Result
	if err := l.report(&out, benchLines{"Encode/Seal": {"ns/op": {1}}}); err != nil {
		t.Fatal(err)
	}
	got := make(map[string]float64)
	for _, f := range out.Figures {
		got[f.Name] = f.Value
	}
	want := map[string]float64{
		"Encode/Ack / net-mesh's recorded 21 ns": 1, "Encode/Ack": 21, "snapshot: Transfer/16-of-7000": 1500,
		"allocations per encode or decode, the most of any message": 1,
	}
	if !maps.Equal(got, want) {
		t.Errorf("%v", got)
	}
	// What was measured in turn counts, round by round, and not what was recorded.
	var beside Result
	if err := l.report(&beside, benchLines{"Encode/Ack": {"ns/op": {5, 10}}}); err != nil {
		t.Fatal(err)
	}
	if f := beside.Figures[0]; f.Name != "Encode/Ack / net-mesh's 7.50 ns" || !slices.Equal(f.Samples, []float64{2.1, 3.15}) {
		t.Errorf("%+v", f)
	}
	if err := (benchLines{}).report(&out, nil); err == nil {
		t.Error("a figure of no benchmark")
	}
}

// TestReadDocument: runs behind each other are one document, in which the later run of a workload counts.
func TestReadDocument(t *testing.T) {
	var all bytes.Buffer
	for _, d := range []Document{
		{Seconds: 1, Results: []Result{{Workload: "a", Seconds: 1}, {Workload: "b", Seconds: 2}}},
		{Seconds: 2, Results: []Result{{Workload: "a", Seconds: 3}}},
	} {
		if err := json.NewEncoder(&all).Encode(d); err != nil {
			t.Fatal(err)
		}
	}
	d, err := readDocument(bytes.NewReader(all.Bytes()))
	if err != nil || d.Seconds != 3 || len(d.Results) != 2 || d.Results[0].Workload != "b" || d.Results[1].Seconds != 3 {
		t.Errorf("%+v, %v", d, err)
	}
	if _, err := readDocument(bytes.NewReader(nil)); err == nil {
		t.Error("nothing is a document")
	}
	if _, err := readDocument(bytes.NewReader(all.Bytes()[:all.Len()-3])); err == nil {
		t.Error("half a document is one")
	}
}
