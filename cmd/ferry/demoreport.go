package main

import (
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"ferry/examples/kv"
)

// demoReport is what ferry demo prints.
type demoReport struct {
	Passed bool   `json:"passed"`
	Fault  string `json:"fault,omitempty"` // the first thing that is wrong

	Pids        map[string]int `json:"pids"`
	StateBytes  uint64         `json:"state_bytes"` // asked for; bytes_moved is the file that holds it
	BytesMoved  uint64         `json:"bytes_moved"`
	BytesOnWire uint64         `json:"bytes_on_wire"`
	Lanes       []laneResult   `json:"lanes"`

	EventsAcked     int  `json:"events_acked"`
	EventsLost      int  `json:"events_lost"`
	EventsDoubled   int  `json:"events_doubled"`
	EventsReordered int  `json:"events_reordered"`
	ChainBroken     int  `json:"chain_broken"`
	HeadsEqual      bool `json:"heads_equal"`   // the log's last link is the state's head
	DigestsEqual    bool `json:"digests_equal"` // b, b counted anew, and the twin that never moved
	OneOwner        bool `json:"one_owner"`

	BlackoutMs     float64            `json:"blackout_ms"`
	Blackout       map[string]float64 `json:"blackout_parts_ms"`
	WritesOffered  float64            `json:"writes_offered"`  // per second
	WritesAchieved float64            `json:"writes_achieved"` // per second, over the whole run
	WritesBefore   float64            `json:"writes_before"`   // per second, before the move
	WritesDuring   float64            `json:"writes_during"`   // per second, while the snapshot travelled
	SlowestWriteMs float64            `json:"slowest_write_ms"`
	SlowestBefore  float64            `json:"slowest_write_before_ms"`
	MedianWriteMs  float64            `json:"median_write_ms"`
	Phases         []phaseResult      `json:"phases"`

	Move moveResult `json:"move"`
}

// time adds up what the writers felt.
func (r *demoReport) time(timings []timing, rate int) {
	m := r.Move
	r.BytesMoved, r.BytesOnWire, r.Lanes = m.BytesMoved, m.BytesWire, m.Lanes
	r.BlackoutMs, r.Blackout, r.Phases = m.BlackoutMs, m.Blackout, m.Phases
	r.WritesOffered = float64(rate)
	if len(timings) == 0 {
		return
	}
	slices.SortFunc(timings, func(a, b timing) int { return int(a.done - b.done) })
	first, last := timings[0].due, timings[len(timings)-1].done
	r.WritesAchieved = perSecond(len(timings), first, last)
	begun := m.phaseAt("begin")
	r.WritesBefore = acked(timings, first, begun)
	r.WritesDuring = acked(timings, m.phaseAt("snapshot"), m.phaseAt("replay"))
	var latencies []int64
	for _, t := range timings {
		latency := t.done - t.due
		latencies = append(latencies, latency)
		r.SlowestWriteMs = max(r.SlowestWriteMs, ms(time.Duration(latency)))
		if t.done < begun {
			r.SlowestBefore = max(r.SlowestBefore, ms(time.Duration(latency)))
		}
	}
	slices.Sort(latencies)
	r.MedianWriteMs = ms(time.Duration(latencies[len(latencies)/2]))
}

// acked is how many writes a second were acknowledged between two instants.
func acked(timings []timing, from, to int64) float64 {
	n := 0
	for _, t := range timings {
		if t.done >= from && t.done < to {
			n++
		}
	}
	return perSecond(n, from, to)
}

func perSecond(n int, from, to int64) float64 {
	if to <= from {
		return 0
	}
	return float64(n) / time.Duration(to-from).Seconds()
}

// judge says whether the move kept its promise, by what the writers and HTTP say.
func (r *demoReport) judge(v kv.Report, a, b kv.State, twin string, twinErr error) {
	r.EventsAcked, r.EventsLost, r.EventsDoubled = v.Acked, v.Lost, v.Doubled
	r.EventsReordered, r.ChainBroken = v.Reordered, v.Broken
	r.HeadsEqual = hex.EncodeToString(v.Head.Link.Append(nil)) == b.Head && v.Head.Seq == b.Seq
	r.DigestsEqual = twinErr == nil && b.Digest != "" && b.Digest == b.Recount && b.Digest == twin
	r.OneOwner = b.Authority && !a.Authority
	switch {
	case r.Move.Outcome != "committed":
		r.Fault = "the move was not committed: " + r.Move.Text
	case v.Acked == 0:
		r.Fault = "no write was acknowledged"
	case !v.OK():
		r.Fault = fmt.Sprintf("%s lost, %d doubled, %d under another number, %s in the chain; the first: %s",
			plural(v.Lost, "event"), v.Doubled, v.Reordered, plural(v.Broken, "break"), v.First)
	case v.Unacked > 0:
		r.Fault = fmt.Sprintf("%d events in the log were never acknowledged", v.Unacked)
	case !r.HeadsEqual:
		r.Fault = fmt.Sprintf("the log ends at event %d, the state of b at %d (or with another head)", v.Head.Seq, b.Seq)
	case twinErr != nil:
		r.Fault = "twin: " + twinErr.Error()
	case !r.DigestsEqual:
		r.Fault = fmt.Sprintf("digests differ: b says %s, counted anew %s, twin %s", b.Digest, b.Recount, twin)
	case !r.OneOwner:
		r.Fault = fmt.Sprintf("authority: a %v, b %v", a.Authority, b.Authority)
	default:
		r.Passed = true
	}
}

// hold fails a move that was right, and slower than was asked for.
func (r *demoReport) hold(blackoutMax time.Duration, writesMin float64) {
	switch percent := 100 * r.WritesDuring / max(r.WritesBefore, 1); {
	case !r.Passed:
	case blackoutMax > 0 && r.BlackoutMs > ms(blackoutMax):
		r.Fault = fmt.Sprintf("the blackout of %.1f ms was over --max-blackout %v", r.BlackoutMs, blackoutMax)
	case percent < writesMin:
		r.Fault = fmt.Sprintf("%.0f%% of the writes were acknowledged while the snapshot travelled, under --min-writes %.0f", percent, writesMin)
	default:
		return
	}
	r.Passed = false
}

// verdict is the command's error.
func (r *demoReport) verdict() error {
	if r.Passed {
		return nil
	}
	return fmt.Errorf("the check failed: %s", r.Fault)
}

func (r *demoReport) write(w io.Writer) error {
	var out strings.Builder
	m := r.Move
	fmt.Fprintf(&out, "\n%s moved from %s to %s in epoch %s, at event %s, in %.2f s\n\n", m.Daemon, m.From, m.To, m.Epoch, m.Seq, m.Seconds)
	t := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "processes\tsource %d, target %d, orchestrator %d, writers %d\n",
		r.Pids["source"], r.Pids["target"], r.Pids["orchestrator"], r.Pids["writers"])
	var phases []string
	for _, p := range r.Phases {
		phases = append(phases, fmt.Sprintf("%s %.1f", p.Phase, p.Ms))
	}
	fmt.Fprintf(t, "phases, ms\t%s\n", strings.Join(phases, " · "))
	fmt.Fprintf(t, "state\t%s in place at %s, %s on the wire\n", size(r.BytesMoved), m.To, size(r.BytesOnWire))
	for _, l := range r.Lanes {
		fmt.Fprintf(t, "  lane %d\t%s in %d chunks\n", l.Lane, size(l.Bytes), l.Chunks)
	}
	fmt.Fprintf(t, "events\t%d shipped beside the snapshot\n", m.Events)
	fmt.Fprintf(t, "blackout\t%.1f ms: %s\n", r.BlackoutMs, blackoutParts(r.Blackout))
	fmt.Fprintf(t, "writes\t%.0f/s offered, %.0f/s achieved; %.0f/s before the move, %.0f/s while the snapshot travelled\n",
		r.WritesOffered, r.WritesAchieved, r.WritesBefore, r.WritesDuring)
	fmt.Fprintf(t, "slowest write\t%.1f ms (before the move %.1f ms, median %.1f ms)\n", r.SlowestWriteMs, r.SlowestBefore, r.MedianWriteMs)
	if err := t.Flush(); err != nil {
		return err
	}
	yes := map[bool]string{true: "yes", false: "NO"}
	fmt.Fprintf(&out, "\ncheck, by the writers' own records and HTTP only\n")
	t = tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "  acknowledged writes\t%d: %d lost, %d doubled, %d reordered\n", r.EventsAcked, r.EventsLost, r.EventsDoubled, r.EventsReordered)
	fmt.Fprintf(t, "  chain unbroken\t%s\n", yes[r.ChainBroken == 0])
	fmt.Fprintf(t, "  heads equal\t%s\n", yes[r.HeadsEqual])
	fmt.Fprintf(t, "  state digest equal to a twin that never moved\t%s\n", yes[r.DigestsEqual])
	fmt.Fprintf(t, "  one owner\t%s\n", yes[r.OneOwner])
	if err := t.Flush(); err != nil {
		return err
	}
	verdict := "PASSED"
	if !r.Passed {
		verdict = "FAILED: " + r.Fault
	}
	fmt.Fprintf(&out, "\n%s\n", verdict)
	_, err := io.WriteString(w, out.String())
	return err
}

// blackoutParts splits the blackout, in the order in which the parts follow.
func blackoutParts(parts map[string]float64) string {
	var list []string
	for _, p := range []struct{ key, text string }{
		{"freeze", "freeze"}, {"tail", "tail"}, {"ack", "ack"}, {"source_retire", "retired on disk"}, {"activate", "activate"},
	} {
		list = append(list, fmt.Sprintf("%s %.1f", p.text, parts[p.key]))
	}
	return fmt.Sprintf("%s (of these fsync at the target %.1f + %.1f)", strings.Join(list, " + "), parts["target_flush"], parts["target_live"])
}
