package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Report is the outcome of a Run, with what it takes to compare it with another one.
type Report struct {
	Config  Config   `json:"config"`
	Machine Machine  `json:"machine"`
	Results []Result `json:"results"`
	// Losses are ours against theirs, where ours is the slower.
	Losses  []Loss  `json:"losses"`
	Seconds float64 `json:"seconds"` // that all took
}

// Machine says where and by what the report was made.
type Machine struct {
	OS      string    `json:"os"`
	Arch    string    `json:"arch"`
	CPUs    int       `json:"cpus"`
	Go      string    `json:"go"`
	Commit  string    `json:"commit,omitempty"` // unknown under go run
	Command string    `json:"command"`
	Date    time.Time `json:"date"`
}

// Result is what the samples of a contender come to.
type Result struct {
	Name             string   `json:"name"`
	What             string   `json:"what"`
	MBPerSecond      float64  `json:"mb_per_second"`       // 10^6 bytes; median
	CPUSecondsPerGiB float64  `json:"cpu_seconds_per_gib"` // both processes; median
	RatioToQUIC      float64  `json:"ratio_to_quic_go"`    // of throughput, within a round; median
	RatioToTCP       float64  `json:"ratio_to_tls_tcp"`
	BlackoutMS       float64  `json:"blackout_ms,omitempty"` // median
	Samples          []Sample `json:"samples"`
}

// Loss is a comparison that we lose.
type Loss struct {
	Name    string  `json:"name"`
	Against string  `json:"against"`
	Ratio   float64 `json:"ratio"`
}

func (s Sample) megabytesPerSecond() float64 { return float64(s.Bytes) / 1e6 / s.Seconds }

func newReport(cfg Config, all []entry, samples [][]Sample, took time.Duration) *Report {
	r := &Report{Config: cfg, Machine: machine(), Losses: []Loss{}, Seconds: took.Seconds()}
	baseline := func(name string) []Sample {
		return samples[slices.IndexFunc(all, func(e entry) bool { return e.name == name })]
	}
	quic, tcp := baseline(quicName), baseline(tcpName)
	for i, e := range all {
		own := samples[i]
		res := Result{
			Name: e.name, What: e.what, Samples: own,
			MBPerSecond:      median(own, Sample.megabytesPerSecond),
			CPUSecondsPerGiB: median(own, func(s Sample) float64 { return s.CPUSeconds / float64(s.Bytes) * (1 << 30) }),
			BlackoutMS:       median(own, func(s Sample) float64 { return s.BlackoutMS }),
			RatioToQUIC:      ratio(own, quic),
			RatioToTCP:       ratio(own, tcp),
		}
		r.Results = append(r.Results, res)
		if e.ours && res.RatioToQUIC < 1 {
			r.Losses = append(r.Losses, Loss{e.name, quicName, res.RatioToQUIC})
		}
		if e.ours && res.RatioToTCP < 1 {
			r.Losses = append(r.Losses, Loss{e.name, tcpName, res.RatioToTCP})
		}
	}
	return r
}

// ratio is the median of the throughputs' ratios, round by round.
func ratio(of, to []Sample) float64 {
	ratios := make([]float64, len(of))
	for i := range of {
		ratios[i] = of[i].megabytesPerSecond() / to[i].megabytesPerSecond()
	}
	return median(ratios, func(r float64) float64 { return r })
}

// median of what value gives for each; of an even number, the mean of the middle two.
func median[T any](list []T, value func(T) float64) float64 {
	values := make([]float64, len(list))
	for i, v := range list {
		values[i] = value(v)
	}
	slices.Sort(values)
	n := len(values)
	if n == 0 {
		return 0
	}
	return (values[(n-1)/2] + values[n/2]) / 2
}

func machine() Machine {
	m := Machine{
		OS: runtime.GOOS, Arch: runtime.GOARCH, CPUs: runtime.NumCPU(), Go: runtime.Version(),
		Command: "bench " + strings.Join(os.Args[1:], " "), Date: time.Now().UTC().Truncate(time.Second),
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				m.Commit = s.Value
			}
		}
	}
	return m
}

func (r *Report) print(w io.Writer) error {
	fmt.Fprintf(w, "\n%d MiB over loopback between processes, %d interleaved rounds, medians; %s/%s, %d CPUs, %s\n\n",
		r.Config.Bytes>>20, r.Config.Rounds, r.Machine.OS, r.Machine.Arch, r.Machine.CPUs, r.Machine.Go)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\tMB/s\tCPU s/GiB\t× quic-go\t× tls-tcp\tblackout\t")
	for _, res := range r.Results {
		blackout := ""
		if res.BlackoutMS > 0 {
			blackout = fmt.Sprintf("%.1f ms", res.BlackoutMS)
		}
		fmt.Fprintf(t, "%s\t%.0f\t%.1f\t%.2f\t%.2f\t%s\t%s\n", res.Name, res.MBPerSecond, res.CPUSecondsPerGiB,
			res.RatioToQUIC, res.RatioToTCP, blackout, res.What)
	}
	t.Flush()
	fmt.Fprintln(w)
	for _, l := range r.Losses {
		fmt.Fprintf(w, "we lose: %s reaches %.2f of %s\n", l.Name, l.Ratio, l.Against)
	}
	_, err := fmt.Fprintf(w, "%.0f s in all\n", r.Seconds)
	return err
}
