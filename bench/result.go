package main

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"
)

// Document is one run of the bench, with what it takes to compare it with another one. The tables and plots of docs are
// drawn from it alone.
type Document struct {
	Machine Machine   `json:"machine"`
	Quick   bool      `json:"quick"`
	Date    time.Time `json:"date"`
	Seconds float64   `json:"seconds"`
	Results []Result  `json:"results"`
}

// Result is what a workload has found.
type Result struct {
	Workload string   `json:"workload"`
	What     string   `json:"what"`
	Config   any      `json:"config"` // the workload's own, with its defaults filled in
	Figures  []Figure `json:"figures"`
	Curves   []Curve  `json:"curves,omitempty"`
	Notes    []string `json:"notes,omitempty"` // what was skipped, and why
	Error    string   `json:"error,omitempty"` // what ended the workload early
	Seconds  float64  `json:"seconds"`
}

// Figure is one number with what it was taken from.
type Figure struct {
	Name    string    `json:"name"`
	Unit    string    `json:"unit"` // "×" for a ratio
	Value   float64   `json:"value"`
	Bound   *Bound    `json:"bound,omitempty"` // nil: printed beside the others
	Samples []float64 `json:"samples,omitempty"`
	// Missing says why there is no value; a bound is then not met.
	Missing string `json:"missing,omitempty"`
}

// Bound is what a figure must be for us to be content.
type Bound struct {
	AtMost bool    `json:"at_most"` // otherwise at least
	Limit  float64 `json:"limit"`
	Aim    float64 `json:"aim,omitempty"` // beyond the limit; 0: none
}

func atLeast(limit, aim float64) *Bound { return &Bound{Limit: limit, Aim: aim} }
func atMost(limit float64) *Bound       { return &Bound{AtMost: true, Limit: limit} }

// Curve is one line of a plot.
type Curve struct {
	Plot string `json:"plot"` // file name without its ending
	Name string `json:"name"` // in the legend
	// Of the plot: the same in all its curves.
	Title  string `json:"title"`
	XLabel string `json:"x_label"`
	YLabel string `json:"y_label"`
	LogX   bool   `json:"log_x,omitempty"`

	X []float64 `json:"x"`
	Y []float64 `json:"y"`
}

func (c *Curve) add(x, y float64) { c.X, c.Y = append(c.X, x), append(c.Y, y) }

// figure is one whose value is the median of its samples.
func figure(name, unit string, bound *Bound, samples []float64) Figure {
	f := Figure{Name: name, Unit: unit, Bound: bound, Samples: samples, Value: median(samples)}
	if len(samples) == 0 {
		f.Missing = "no sample"
	}
	return f
}

// worst is a figure whose value is its largest sample.
func worst(name, unit string, bound *Bound, samples []float64) Figure {
	f := figure(name, unit, bound, samples)
	for _, s := range samples {
		f.Value = max(f.Value, s)
	}
	return f
}

// missing is a figure that could not be had.
func missing(name, unit string, bound *Bound, why string) Figure {
	return Figure{Name: name, Unit: unit, Bound: bound, Missing: strings.ReplaceAll(why, "\n", "; ")}
}

func (f *Figure) met() bool {
	switch {
	case f.Bound == nil:
		return true
	case f.Missing != "":
		return false
	case f.Bound.AtMost:
		return f.Value <= f.Bound.Limit
	}
	return f.Value >= f.Bound.Limit
}

// verdict says whether the bound is met, and else by how much it is missed.
func (f *Figure) verdict() string {
	switch {
	case f.Bound == nil:
		return ""
	case f.Missing != "":
		return "NOT MET: " + f.Missing
	case !f.met() && f.Bound.Limit == 0:
		return "NOT MET"
	case !f.met():
		return fmt.Sprintf("NOT MET by %.0f%%", 100*math.Abs(f.Value-f.Bound.Limit)/f.Bound.Limit)
	case f.Bound.Aim > 0 && f.Value >= f.Bound.Aim:
		return "met, aim too"
	}
	return "met"
}

func (b *Bound) String() string {
	if b == nil {
		return ""
	}
	sign := "≥"
	if b.AtMost {
		sign = "≤"
	}
	s := fmt.Sprintf("%s %s", sign, number(b.Limit))
	if b.Aim > 0 {
		s += ", aim " + number(b.Aim)
	}
	return s
}

// number has three significant digits and no exponent.
func number(v float64) string {
	digits := 0
	for a := math.Abs(v); digits < 3 && a < 100 && v != math.Trunc(v); digits++ {
		a *= 10
	}
	return fmt.Sprintf("%.*f", digits, v)
}

// MarshalJSON drops digits that mean nothing, so that the committed document stays small.
func (f Figure) MarshalJSON() ([]byte, error) {
	type plain Figure
	p := plain(f)
	p.Value = round(p.Value)
	p.Samples = rounded(p.Samples)
	return json.Marshal(p)
}

// MarshalJSON is as Figure's.
func (c Curve) MarshalJSON() ([]byte, error) {
	type plain Curve
	p := plain(c)
	p.X, p.Y = rounded(c.X), rounded(c.Y)
	return json.Marshal(p)
}

func rounded(list []float64) []float64 {
	var out []float64
	for _, v := range list {
		out = append(out, round(v))
	}
	return out
}

// round keeps five significant digits.
func round(v float64) float64 {
	if v == 0 || math.IsInf(v, 0) || math.IsNaN(v) {
		return 0
	}
	unit := math.Pow(10, 4-math.Floor(math.Log10(math.Abs(v))))
	return math.Round(v*unit) / unit
}
