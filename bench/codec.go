package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// codecConfig: the micro-benchmarks of package proto0500, in turn with those of the crate net-mesh in bench/netmesh where
// cargo is installed, and one of package snapshot. Without the crate, ours stand beside the figures that were taken of it
// on another machine, which package proto0500 brings with it.
type codecConfig struct {
	Milliseconds int  `json:"milliseconds"` // of each benchmark in each round
	Rounds       int  `json:"rounds"`
	NetMesh      bool `json:"net_mesh"` // build the crate and run it: minutes, the first time
}

func newCodec(quick bool) runner {
	if quick {
		return codecConfig{20, 1, false}
	}
	return codecConfig{100, 9, true}
}

// The units that are read.
const (
	unitNs      = "ns/op"
	unitAllocs  = "allocs/op"
	unitMB      = "MB/s"
	unitNetMesh = "net-mesh-ns/op"
)

func (c codecConfig) run(ctx context.Context, out *Result, log *progress) error {
	root, err := moduleRoot(ctx)
	if err != nil {
		return err
	}
	theirs := "" // the binary
	if c.NetMesh {
		log.say("cargo build, of the crate net-mesh")
		if theirs, err = buildNetMesh(ctx, root); err != nil {
			out.Notes = append(out.Notes, "SKIPPED: net-mesh on this machine: "+err.Error()+". Its recorded figures stand instead.")
		}
	}
	ours, netMesh := benchLines{}, benchLines{}
	for n := range c.Rounds {
		log.say("encode and decode, round %d of %d", n+1, c.Rounds)
		for _, b := range []struct{ pkg, pattern string }{
			{"./proto0500", "^Benchmark(Encode|Decode)$"},
			{"./snapshot", "^BenchmarkTransfer$"},
		} {
			err := ours.run(ctx, root, "go", "test", "-run", "^$", "-bench", b.pattern, "-benchmem",
				"-benchtime", strconv.Itoa(c.Milliseconds)+"ms", b.pkg)
			if err != nil {
				return err
			}
		}
		if theirs != "" {
			if err := netMesh.run(ctx, root, theirs, strconv.Itoa(c.Milliseconds)); err != nil {
				return err
			}
		}
	}
	return ours.report(out, netMesh)
}

// moduleRoot is where the sources of this module are.
func moduleRoot(ctx context.Context) (string, error) {
	mod, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "ferry").Output()
	if err != nil {
		return "", fmt.Errorf("where the module's sources are: %w", err)
	}
	return strings.TrimSpace(string(mod)), nil
}

// buildNetMesh builds the benchmarks of the crate and gives their binary.
func buildNetMesh(ctx context.Context, root string) (string, error) {
	if _, err := exec.LookPath("cargo"); err != nil {
		return "", errors.New("cargo is not installed")
	}
	dir := filepath.Join(root, "bench", "netmesh")
	cmd := exec.CommandContext(ctx, "cargo", "build", "--quiet", "--release", "--locked")
	cmd.Dir = dir
	if said, err := cmd.CombinedOutput(); err != nil {
		last := strings.Split(strings.TrimSpace(string(said)), "\n")
		return "", fmt.Errorf("cargo build: %w: %s", err, last[len(last)-1])
	}
	return filepath.Join(dir, "target", "release", "netmesh-bench"), nil
}

// benchLines are what benchmarks said: by name, by unit, a value for each run.
type benchLines map[string]map[string][]float64

// run reads what a command says.
func (l benchLines) run(ctx context.Context, dir, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	b, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", filepath.Base(name), err, b)
	}
	return l.read(strings.NewReader(string(b)))
}

// read takes the output of go test -bench:
//
//	BenchmarkName/case-2   1000   17.5 ns/op   3 MB/s   0 B/op   0 allocs/op
func (l benchLines) read(r io.Reader) error {
	s := bufio.NewScanner(r)
	for s.Scan() {
		fields := strings.Fields(s.Text())
		if len(fields) < 4 || !strings.HasPrefix(fields[0], "Benchmark") {
			continue
		}
		name, _ := cutLast(strings.TrimPrefix(fields[0], "Benchmark"), "-") // the number of CPUs
		if l[name] == nil {
			l[name] = make(map[string][]float64)
		}
		for i := 2; i+1 < len(fields); i += 2 {
			v, err := strconv.ParseFloat(fields[i], 64)
			if err != nil {
				return fmt.Errorf("%q: %w", s.Text(), err)
			}
			l[name][fields[i+1]] = append(l[name][fields[i+1]], v)
		}
	}
	return s.Err()
}

func cutLast(s, sep string) (before, after string) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):]
	}
	return s, ""
}

var errNoBenchmark = errors.New("no benchmark ran")

// report puts our figures beside those of netMesh, of the same rounds, or where it is empty beside what was recorded.
func (l benchLines) report(out *Result, netMesh benchLines) error {
	var allocs []float64
	var figures []Figure
	for _, name := range slices.Sorted(maps.Keys(l)) {
		codec := strings.HasPrefix(name, "Encode") || strings.HasPrefix(name, "Decode")
		ns := l[name][unitNs]
		if !codec {
			figures = append(figures, figure("snapshot: "+name, "MB/s", nil, l[name][unitMB]))
			continue
		}
		allocs = append(allocs, l[name][unitAllocs]...)
		figures = append(figures, figure(name, "ns", nil, ns))
		recorded := median(l[name][unitNetMesh])
		if recorded == 0 {
			continue // not one of the ten
		}
		// The ways of our own to handle a message stand beside the crate's one way.
		message := strings.TrimSuffix(strings.TrimSuffix(name, "-passed-on"), "-all-read")
		if beside := netMesh[message][unitNs]; len(beside) > 0 {
			out.Figures = append(out.Figures, figure(name+" / net-mesh's "+number(median(beside))+" ns", "×", atMost(1), ratios(ns, beside)))
		} else {
			out.Figures = append(out.Figures, figure(name+" / net-mesh's recorded "+number(recorded)+" ns", "×", atMost(1),
				each(ns, func(v float64) float64 { return v / recorded })))
		}
	}
	if len(allocs) == 0 {
		return errNoBenchmark
	}
	out.Figures = append(out.Figures, worst("allocations per encode or decode, the most of any message", "", atMost(0), allocs))
	out.Figures = append(out.Figures, figures...)
	return nil
}
