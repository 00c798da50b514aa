package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
)

// print is for people.
func (d *Document) print(w io.Writer) error {
	m := d.Machine
	fmt.Fprintf(w, "\n%s/%s, %d CPUs (%s), Linux %s, %s; %.0f s in all\n", m.OS, m.Arch, m.CPUs, m.CPU, m.Kernel, m.Go, d.Seconds)
	missed := 0
	for _, r := range d.Results {
		fmt.Fprintf(w, "\n%s: %s (%.0f s)\n", r.Workload, r.What, r.Seconds)
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		for _, f := range r.Figures {
			fmt.Fprintf(t, "  %s\t%s\t%s\t%s\t%s\n", f.Name, f.text(), f.Bound, f.verdict(), f.spread())
			if !f.met() {
				missed++
			}
		}
		t.Flush()
		for _, n := range r.Notes {
			fmt.Fprintf(w, "  note: %s\n", n)
		}
		if r.Error != "" {
			fmt.Fprintf(w, "  ended early: %s\n", r.Error)
		}
	}
	_, err := fmt.Fprintf(w, "\n%s\n", summaryLine(missed))
	return err
}

func summaryLine(missed int) string {
	if missed == 0 {
		return "every bound is met"
	}
	return fmt.Sprintf("bounds that are NOT MET: %d", missed)
}

// text is the value with its unit.
func (f *Figure) text() string {
	if f.Missing != "" {
		return "–"
	}
	if f.Unit == "×" || f.Unit == "%" {
		return number(f.Value) + " " + f.Unit
	}
	return strings.TrimSpace(number(f.Value) + " " + f.Unit)
}

// spread says of how many samples a figure is, and how far apart they are.
func (f *Figure) spread() string {
	if len(f.Samples) < 2 {
		return ""
	}
	return fmt.Sprintf("%d: %s … %s", len(f.Samples), number(slices.Min(f.Samples)), number(slices.Max(f.Samples)))
}

// markdown is the part of docs/performance.md that is drawn.
func (d *Document) markdown() string {
	var b strings.Builder
	m := d.Machine
	fmt.Fprintf(&b, "\nTaken on %s by `%s` in %.0f s: %s/%s, %d × %s, Linux %s, %s", d.Date.Format("2006-01-02 15:04 UTC"), m.Command,
		d.Seconds, m.OS, m.Arch, m.CPUs, or(m.CPU, "unknown"), or(m.Kernel, "unknown"), m.Go)
	for _, path := range slices.Sorted(maps.Keys(m.Modules)) {
		fmt.Fprintf(&b, ", %s %s", path[strings.LastIndexByte(path, '/')+1:], m.Modules[path])
	}
	b.WriteString(".\n")
	if d.Quick {
		b.WriteString("\n**A quick run**: small sizes and few rounds, to see that everything runs.\n")
	}
	for _, r := range d.Results {
		fmt.Fprintf(&b, "\n### %s: %s\n\n", r.Workload, r.What)
		fmt.Fprintf(&b, "`go run ./bench -only %s`, %.0f s\n\n", r.Workload, r.Seconds)
		b.WriteString("| figure | value | bound | | samples: least … most |\n|---|---:|---|---|---|\n")
		for _, f := range r.Figures {
			verdict := f.verdict()
			if strings.HasPrefix(verdict, "NOT") {
				verdict = "**" + verdict + "**"
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", f.Name, f.text(), f.Bound, verdict, f.spread())
		}
		for _, n := range r.Notes {
			fmt.Fprintf(&b, "\n- %s", n)
		}
		if len(r.Notes) > 0 {
			b.WriteString("\n")
		}
		if r.Error != "" {
			fmt.Fprintf(&b, "\nEnded early: %s\n", r.Error)
		}
		for _, p := range plotsOf(r.Curves) {
			fmt.Fprintf(&b, "\n![%s](plots/%s.svg)\n", p[0].Title, p[0].Plot)
		}
	}
	return b.String()
}

func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
