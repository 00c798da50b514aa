package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// workload is a Config with a Run, one file each. A workload prints its figures as far as it came: what ends it early is
// in the result's Error.
type workload struct {
	name, what string
	// config gives the workload's configuration: the full run's, or the quick one's.
	config func(quick bool) runner
}

// runner is a workload's configuration.
type runner interface {
	run(ctx context.Context, out *Result, log *progress) error
}

// workloads are in the order in which they run.
var workloads = []workload{
	{"throughput", "a whole transfer against raw quic-go, plain quic-go, TLS over TCP and rsync", newThroughput},
	{"paths", "lanes and connections on paths with delay and loss", newPaths},
	{"memory", "memory of source and target, by the size of the state", newMemory},
	{"blackout", "how long writes wait for a move, and what each write felt", newBlackout},
	{"resume", "what travels again after a cut, and on the way back", newResume},
	{"neighbour", "control and writers beside a transfer, and the rate limit", newNeighbour},
	{"codec", "encode and decode of each message, beside net-mesh's", newCodec},
}

// pick gives the workloads of a comma-separated list of names; all of them for "".
func pick(names string) ([]workload, error) {
	if names == "" {
		return workloads, nil
	}
	var list []workload
	for name := range strings.SplitSeq(names, ",") {
		i := slices.IndexFunc(workloads, func(w workload) bool { return w.name == strings.TrimSpace(name) })
		if i < 0 {
			var known []string
			for _, w := range workloads {
				known = append(known, w.name)
			}
			return nil, fmt.Errorf("no workload %q; there are %s", name, strings.Join(known, ", "))
		}
		list = append(list, workloads[i])
	}
	return list, nil
}

// A run begins no workload after so long: the longest one then ends within 45 minutes, or 3 where it is quick.
const (
	lastBegin      = 36 * time.Minute
	lastBeginQuick = 140 * time.Second
)

// runAll runs workloads one after the other. One that fails is in the document with its error; only ctx ends the run.
func runAll(ctx context.Context, list []workload, quick bool, w io.Writer) *Document {
	began := time.Now()
	last := lastBegin
	if quick {
		last = lastBeginQuick
	}
	doc := &Document{Machine: machine(), Quick: quick, Date: began.UTC().Truncate(time.Second)}
	for _, wl := range list {
		if ctx.Err() != nil {
			break
		}
		if spent := time.Since(began); spent > last {
			doc.Results = append(doc.Results, Result{Workload: wl.name, What: wl.what,
				Notes: []string{fmt.Sprintf("not begun: the run had taken %v", spent.Round(time.Second))}})
			continue
		}
		doc.Results = append(doc.Results, wl.do(ctx, wl.config(quick), &progress{w: w, name: wl.name, began: began}))
	}
	doc.Seconds = time.Since(began).Seconds()
	return doc
}

func (wl workload) do(ctx context.Context, r runner, log *progress) Result {
	began := time.Now()
	res := Result{Workload: wl.name, What: wl.what, Config: r}
	log.say("%s", wl.what)
	if err := r.run(ctx, &res, log); err != nil {
		res.Error = err.Error()
		log.say("ended early: %v", err)
	}
	res.Seconds = time.Since(began).Seconds()
	for i := range res.Figures {
		if f := &res.Figures[i]; f.Bound != nil {
			log.say("%s: %s", f.Name, f.verdict())
		}
	}
	return res
}

// progress tells whoever waits how far a run is.
type progress struct {
	w     io.Writer
	name  string
	began time.Time
}

func (p *progress) say(format string, args ...any) {
	fmt.Fprintf(p.w, "%4.0fs %-10s %s\n", time.Since(p.began).Seconds(), p.name, fmt.Sprintf(format, args...))
}
