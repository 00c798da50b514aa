package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// What render writes stands between these lines of performance.md; everything else there is ours to write.
const (
	drawnBegin = "<!-- drawn by go run ./bench -render: do not edit below -->"
	drawnEnd   = "<!-- drawn until here -->"
)

var errMarkers = errors.New("performance.md lacks the lines between which it is drawn")

// render draws docs/plots/*.svg and the tables of docs/performance.md from a document.
func render(document, docs string) error {
	f, err := os.Open(document)
	if err != nil {
		return err
	}
	defer f.Close()
	d, err := readDocument(f)
	if err != nil {
		return fmt.Errorf("%s: %w", document, err)
	}
	page := filepath.Join(docs, "performance.md")
	old, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	text, err := redrawn(string(old), d.markdown())
	if err != nil {
		return fmt.Errorf("%s: %w", page, err)
	}
	var curves []Curve
	for _, r := range d.Results {
		curves = append(curves, r.Curves...)
	}
	dir := filepath.Join(docs, "plots")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, p := range plotsOf(curves) {
		if err := drawPlot(p, filepath.Join(dir, p[0].Plot+".svg")); err != nil {
			return fmt.Errorf("plot %s: %w", p[0].Plot, err)
		}
	}
	return os.WriteFile(page, []byte(text), 0o644)
}

// readDocument reads what -json has written, of one run or of several behind each other, as -only makes them: of a workload
// that ran twice the later counts.
func readDocument(r io.Reader) (all Document, err error) {
	dec := json.NewDecoder(r)
	for n := 0; ; n++ {
		var d Document
		if err := dec.Decode(&d); err == io.EOF && n > 0 {
			return all, nil
		} else if err != nil {
			return all, err
		}
		for _, r := range d.Results {
			all.Results = slices.DeleteFunc(all.Results, func(old Result) bool { return old.Workload == r.Workload })
		}
		if len(all.Results) > 0 {
			d.Machine.Command = "go run ./bench -json -only …" // workload by workload; each says which
		}
		d.Results, d.Seconds = append(all.Results, d.Results...), all.Seconds+d.Seconds
		all = d
	}
}

// redrawn is a page with another drawn part.
func redrawn(page, drawn string) (string, error) {
	before, rest, ok := strings.Cut(page, drawnBegin)
	_, after, ok2 := strings.Cut(rest, drawnEnd)
	if !ok || !ok2 {
		return "", errMarkers
	}
	return before + drawnBegin + "\n" + drawn + "\n" + drawnEnd + after, nil
}
