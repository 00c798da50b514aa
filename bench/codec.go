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

// codecConfig: the micro-benchmarks of package proto0500, which bring net-mesh's figures with them, and one of package
// snapshot.
type codecConfig struct {
	BenchTime string `json:"benchtime"` // of go test
	Count     int    `json:"count"`
}

func newCodec(quick bool) runner {
	if quick {
		return codecConfig{"20ms", 1}
	}
	return codecConfig{"200ms", 5}
}

// The units that are read.
const (
	unitNs      = "ns/op"
	unitAllocs  = "allocs/op"
	unitMB      = "MB/s"
	unitNetMesh = "net-mesh-ns/op"
)

func (c codecConfig) run(ctx context.Context, out *Result, log *progress) error {
	all := benchLines{}
	for _, b := range []struct{ pkg, pattern string }{
		{"./proto0500", "^Benchmark(Encode|Decode)$"},
		{"./snapshot", "^BenchmarkTransfer$"},
	} {
		log.say("go test -bench '%s' -benchtime %s -count %d %s", b.pattern, c.BenchTime, c.Count, b.pkg)
		if err := c.goTest(ctx, b.pkg, b.pattern, all); err != nil {
			return err
		}
	}
	return all.report(out)
}

// goTest runs benchmarks of a package of this module.
func (c codecConfig) goTest(ctx context.Context, pkg, pattern string, into benchLines) error {
	mod, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.GoMod}}", "ferry").Output()
	if err != nil {
		return fmt.Errorf("where the module's sources are: %w", err)
	}
	cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", pattern, "-benchmem", "-benchtime", c.BenchTime, "-count", strconv.Itoa(c.Count), pkg)
	cmd.Dir = filepath.Dir(strings.TrimSpace(string(mod)))
	b, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("go test: %w: %s", err, b)
	}
	return into.read(strings.NewReader(string(b)))
}

// benchLines are what benchmarks said: by name, by unit, a value for each run.
type benchLines map[string]map[string][]float64

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

func (l benchLines) report(out *Result) error {
	var allocs []float64
	var figures []Figure
	for _, name := range slices.Sorted(maps.Keys(l)) {
		codec := strings.HasPrefix(name, "Encode") || strings.HasPrefix(name, "Decode")
		ns := l[name][unitNs]
		switch theirs := median(l[name][unitNetMesh]); {
		case codec && theirs > 0:
			out.Figures = append(out.Figures, figure(name+" / net-mesh's "+number(theirs)+" ns", "×", atMost(1), each(ns, func(v float64) float64 { return v / theirs })))
			figures = append(figures, figure(name, "ns", nil, ns))
		case codec:
			figures = append(figures, figure(name, "ns", nil, ns))
		default:
			figures = append(figures, figure("snapshot: "+name, "MB/s", nil, l[name][unitMB]))
		}
		if codec {
			allocs = append(allocs, l[name][unitAllocs]...)
		}
	}
	if len(allocs) == 0 {
		return errNoBenchmark
	}
	out.Figures = append(out.Figures, worst("allocations per encode or decode, the most of any message", "", atMost(0), allocs))
	out.Figures = append(out.Figures, figures...)
	return nil
}
