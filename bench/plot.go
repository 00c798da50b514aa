package main

import (
	"fmt"
	"image/color"
	"math"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// plotsOf groups curves by their plot, in the order in which they come. Curves without a point are left out.
func plotsOf(curves []Curve) (plots [][]Curve) {
	for _, c := range curves {
		if len(c.X) == 0 || len(c.X) != len(c.Y) {
			continue
		}
		i := slices.IndexFunc(plots, func(p []Curve) bool { return p[0].Plot == c.Plot })
		if i < 0 {
			plots = append(plots, nil)
			i = len(plots) - 1
		}
		plots[i] = append(plots[i], c)
	}
	return plots
}

// ink are colours that can be told apart, also by those who do not see all of them.
var ink = []color.RGBA{
	{0x00, 0x72, 0xb2, 0xff}, {0xd5, 0x5e, 0x00, 0xff}, {0x00, 0x9e, 0x73, 0xff}, {0xcc, 0x79, 0xa7, 0xff},
	{0xe6, 0x9f, 0x00, 0xff}, {0x56, 0xb4, 0xe9, 0xff}, {0x00, 0x00, 0x00, 0xff},
}

// drawPlot draws the curves of one plot as an SVG.
func drawPlot(curves []Curve, file string) error {
	p := plot.New()
	first := curves[0]
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = first.Title, first.XLabel, first.YLabel
	p.Title.Padding = vg.Points(6)
	p.Legend.Top, p.Legend.Left = true, true
	p.Legend.Padding = vg.Points(2)
	p.BackgroundColor = color.White
	top := 0.0
	for i, c := range curves {
		points := make(plotter.XYs, len(c.X))
		for j := range c.X {
			points[j] = plotter.XY{X: c.X[j], Y: c.Y[j]}
			top = max(top, c.Y[j])
		}
		line, dots, err := plotter.NewLinePoints(points)
		if err != nil {
			return fmt.Errorf("%s: %w", c.Name, err)
		}
		line.Color, dots.Color = ink[i%len(ink)], ink[i%len(ink)]
		line.Width = vg.Points(1.5)
		dots.Shape, dots.Radius = draw.CircleGlyph{}, vg.Points(2.5)
		p.Add(line, dots)
		if c.Name != "" {
			p.Legend.Add(c.Name, line, dots)
		}
	}
	p.Add(plotter.NewGrid())
	if first.LogX {
		p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, atPoints(curves)
		// A scale that begins where it ends has no width.
		if p.X.Min == p.X.Max {
			p.X.Min, p.X.Max = p.X.Min/2, p.X.Max*2
		}
	}
	// From 0, so that a small difference does not look like a large one; with room for the legend.
	p.Y.Min, p.Y.Max = 0, max(top*(1.1+0.09*float64(len(curves))), math.SmallestNonzeroFloat64)
	return p.Save(16*vg.Centimeter, 9*vg.Centimeter, file)
}

// atPoints puts the ticks where values are.
func atPoints(curves []Curve) plot.ConstantTicks {
	var at []float64
	for _, c := range curves {
		at = append(at, c.X...)
	}
	slices.Sort(at)
	var ticks []plot.Tick
	for _, v := range slices.Compact(at) {
		ticks = append(ticks, plot.Tick{Value: v, Label: number(v)})
	}
	return ticks
}
