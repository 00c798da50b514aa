//go:build unix

package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"time"
)

// report is what one mode has seen.
type report struct {
	Mode     string         `json:"mode"`
	Moves    int            `json:"moves"`
	Kills    table          `json:"kills"` // by step and role
	Missed   int            `json:"missed"`
	Second   int            `json:"second_kills"`     // of a node, while the first was recovered from
	Faults   map[string]int `json:"faults,omitempty"` // of other modes, by kind
	Outcomes map[string]int `json:"outcomes"`
	Reruns   int            `json:"reruns"`   // of the orchestrator's command
	Restarts int            `json:"restarts"` // of nodes whose disk had been full
	Late     int            `json:"late"`     // moves that took longer than 30 s to end
	Median   float64        `json:"end_median_s"`
	P95      float64        `json:"end_p95_s"`
	Max      float64        `json:"end_max_s"`
	Seconds  float64        `json:"seconds"`
	Verdict  verdict        `json:"verdict"`

	ends []float64
}

func (r *report) count(e ending, took time.Duration) {
	r.Moves++
	r.Outcomes[e.outcome]++
	r.Reruns += e.reruns
	if e.what != "" {
		if r.Faults == nil {
			r.Faults = make(map[string]int)
		}
		r.Faults[e.what]++
	}
	r.ends = append(r.ends, took.Seconds())
	r.Median, r.P95, r.Max = quantile(r.ends, 0.5), quantile(r.ends, 0.95), quantile(r.ends, 1)
	if took > endMax {
		r.Late++
	}
}

// ok says whether everything promised was kept.
func (r *report) ok() bool { return r.Late == 0 && r.Verdict.Fault == "" && r.Verdict.Owners == 1 }

func (r *report) write(w io.Writer) {
	fmt.Fprintf(w, "\n%s: %d moves in %.0f s: ", r.Mode, r.Moves, r.Seconds)
	sep := ""
	for _, o := range sorted(r.Outcomes) {
		fmt.Fprintf(w, "%s%d %s", sep, r.Outcomes[o], o)
		sep = ", "
	}
	fmt.Fprintf(w, "; the orchestrator was run again %d times\n", r.Reruns)
	if r.Mode == "kills" {
		fmt.Fprintf(w, "%d moves ended before their kill, and in %d a node was killed in the recovery too; kill -9 by step and role:\n", r.Missed, r.Second)
		fmt.Fprintf(w, "  %-22s %8s %8s %14s\n", "", source, target, orchestrator)
		for s := range stepCount {
			fmt.Fprintf(w, "  %-22s %8d %8d %14d\n", s, r.Kills[s][source], r.Kills[s][target], r.Kills[s][orchestrator])
		}
	}
	for _, f := range sorted(r.Faults) {
		fmt.Fprintf(w, "  %4d × %s\n", r.Faults[f], f)
	}
	if r.Restarts > 0 {
		fmt.Fprintf(w, "%d nodes were started again after their disk had been full\n", r.Restarts)
	}
	fmt.Fprintf(w, "ended and serving after the last restart or the fault's end: median %.2f s, 95%% %.2f s, max %.2f s; %d over %v\n",
		r.Median, r.P95, r.Max, r.Late, endMax)
	v := r.Verdict
	fmt.Fprintf(w, "writes: %d acknowledged, %d without an answer, of which %d are in the log\n", v.Acked, v.Unknown, v.Landed)
	fmt.Fprintf(w, "lost %d, doubled %d, reordered %d, links broken %d, never written %d\n", v.Lost, v.Doubled, v.Reordered, v.Broken, v.Strange)
	fmt.Fprintf(w, "owners at the end %d; asked %d times, seen to change %d times, never two; digest %s, twin %s\n", v.Owners, v.Samples, v.Changes, v.Digest, v.Twin)
	if r.ok() {
		fmt.Fprintln(w, "OK")
		return
	}
	fmt.Fprintf(w, "FAILED: %s\n", v.Fault)
}

func sorted(m map[string]int) []string { return slices.Sorted(maps.Keys(m)) }
