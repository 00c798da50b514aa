package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"ferry/internal/path"
)

// pathsConfig: what connections and lanes are worth on a path with delay and loss. The proxy runs in the parent, on the
// same cores as the rest.
type pathsConfig struct {
	RTT        time.Duration `json:"rtt_ns"`
	Loss       float64       `json:"loss"`
	LossyBytes int64         `json:"lossy_bytes"`
	CleanBytes int64         `json:"clean_bytes"`
	Rounds     int           `json:"rounds"`

	// The curves.
	CurveRounds int     `json:"curve_rounds"` // of each point; 0: no curves
	NearBytes   int64   `json:"near_bytes"`   // on loopback
	FarBytes    int64   `json:"far_bytes"`    // with loss
	Sizes       []int64 `json:"sizes"`        // on loopback, in MiB
}

func newPaths(quick bool) runner {
	c := pathsConfig{
		RTT: 20 * time.Millisecond, Loss: 0.001, LossyBytes: 32 << 20, CleanBytes: 192 << 20, Rounds: 9,
		CurveRounds: 3, NearBytes: 256 << 20, FarBytes: 16 << 20, Sizes: []int64{1, 4, 16, 64, 256, 1024},
	}
	if quick {
		c.LossyBytes, c.CleanBytes, c.Rounds, c.CurveRounds = 8<<20, 32<<20, 2, 0
	}
	return c
}

// linkOf is one direction of a path; nil is loopback itself.
func linkOf(rtt time.Duration, loss float64) *path.Link {
	if rtt == 0 && loss == 0 {
		return nil
	}
	return &path.Link{Delay: rtt / 2, Loss: loss}
}

// oneConnection has ferry's lanes share a single further connection.
const oneConnection = 1

func (c pathsConfig) run(ctx context.Context, out *Result, log *progress) (err error) {
	var stops stops
	defer func() { err = errors.Join(err, stops.all()) }()
	ferry := func(link *path.Link, connections int) (func(context.Context, stateSpec) (Sample, error), error) {
		w, err := startWorld(ctx, worldConfig{dir: tmpfs(), link: link, connections: connections})
		stops.add(w.stop)
		return (&mover{w: w}).once, err
	}
	plain := func(link *path.Link) (func(context.Context, stateSpec) (Sample, error), error) {
		con, err := startContender(ctx, contenderConfig{role: "quic", link: link})
		stops.add(con.stop)
		return con.once, err
	}
	lossy, clean := linkOf(c.RTT, c.Loss), linkOf(c.RTT, 0)
	lossyDefault, err1 := ferry(lossy, 0)
	lossyOne, err2 := ferry(lossy, oneConnection)
	lossyPlain, err3 := plain(lossy)
	cleanDefault, err4 := ferry(clean, 0)
	cleanPlain, err5 := plain(clean)
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		return err
	}
	small, large := stateSpec{Bytes: c.LossyBytes}, stateSpec{Bytes: c.CleanBytes}
	samples, err := interleave(ctx, []carrier{
		{"lossy-default", small, lossyDefault},
		{"lossy-one", small, lossyOne},
		{"lossy-plain", small, lossyPlain},
		{"clean-default", large, cleanDefault},
		{"clean-plain", large, cleanPlain},
	}, c.Rounds, log)
	if err != nil {
		return err
	}
	rate := func(name string) []float64 { return each(samples[name], Sample.rate) }
	bad := fmt.Sprintf("%v RTT, %.1f%% loss", c.RTT, 100*c.Loss)
	good := fmt.Sprintf("%v RTT, no loss", c.RTT)
	out.Figures = append(out.Figures,
		figure(bad+": ferry with its default lanes / ferry on one connection", "×", atLeast(3, 0), ratios(rate("lossy-default"), rate("lossy-one"))),
		figure(good+": ferry / plain quic-go", "×", atLeast(3, 0), ratios(rate("clean-default"), rate("clean-plain"))),
		figure(bad+": ferry / plain quic-go", "×", nil, ratios(rate("lossy-default"), rate("lossy-plain"))),
		figure("throughput, "+bad+": ferry, default lanes", "MB/s", nil, rate("lossy-default")),
		figure("throughput, "+bad+": ferry, one connection", "MB/s", nil, rate("lossy-one")),
		figure("throughput, "+bad+": plain quic-go", "MB/s", nil, rate("lossy-plain")),
		figure("throughput, "+good+": ferry, default lanes", "MB/s", nil, rate("clean-default")),
		figure("throughput, "+good+": plain quic-go", "MB/s", nil, rate("clean-plain")),
	)
	if c.CurveRounds == 0 {
		return nil
	}
	return c.curves(ctx, out, log)
}

// curves measures throughput against one thing at a time.
func (c pathsConfig) curves(ctx context.Context, out *Result, log *progress) error {
	axis := func(plot, name, title, label string, logX bool) Curve {
		return Curve{Plot: plot, Name: name, Title: title, XLabel: label, YLabel: "MB/s", LogX: logX}
	}
	draw := func(curve Curve, xs []float64, measure func(x float64) (float64, error)) error {
		for _, x := range xs {
			y, err := measure(x)
			if err != nil {
				return fmt.Errorf("%s, %s, at %v: %w", curve.Plot, curve.Name, x, err)
			}
			curve.add(x, y)
			log.say("%s, %s: %s → %.0f MB/s", curve.Plot, curve.Name, number(x), y)
		}
		out.Curves = append(out.Curves, curve)
		return nil
	}
	ms := func(x float64) time.Duration { return time.Duration(x * float64(time.Millisecond)) }
	ferry := func(bytes int64, cfg worldConfig) (float64, error) { return c.ferryPoint(ctx, bytes, cfg) }
	plain := func(bytes int64, link *path.Link) (float64, error) { return c.plainPoint(ctx, bytes, link) }

	const lanesTitle, lanesLabel = "Lanes on loopback", "lanes"
	connTitle, connLabel := fmt.Sprintf("Connections, %v RTT", c.RTT), "connections for lanes"
	lossTitle, lossLabel := fmt.Sprintf("Loss, %v RTT", c.RTT), "% of packets lost"
	const rttTitle, rttLabel = "RTT without loss", "ms"
	const sizeTitle, sizeLabel = "Size of the state on loopback", "MiB"
	return errors.Join(
		draw(axis("throughput-lanes", "ferry", lanesTitle, lanesLabel, true), []float64{1, 2, 4, 8, 16},
			func(x float64) (float64, error) { return ferry(c.NearBytes, worldConfig{lanes: int(x)}) }),
		draw(axis("throughput-size", "ferry", sizeTitle, sizeLabel, true), each(c.Sizes, func(mib int64) float64 { return float64(mib) }),
			func(x float64) (float64, error) { return ferry(int64(x)<<20, worldConfig{}) }),
		draw(axis("throughput-connections", "0.1 % loss", connTitle, connLabel, true), []float64{1, 2, 4, 8, 16},
			func(x float64) (float64, error) {
				return ferry(c.FarBytes, worldConfig{lanes: 16, connections: int(x), link: linkOf(c.RTT, 0.001)})
			}),
		draw(axis("throughput-connections", "1 % loss", connTitle, connLabel, true), []float64{2, 4, 8, 16},
			func(x float64) (float64, error) {
				return ferry(c.FarBytes, worldConfig{lanes: 16, connections: int(x), link: linkOf(c.RTT, 0.01)})
			}),
		draw(axis("throughput-loss", "ferry", lossTitle, lossLabel, false), []float64{0, 0.05, 0.1, 0.5, 1},
			func(x float64) (float64, error) { return ferry(c.FarBytes, worldConfig{link: linkOf(c.RTT, x/100)}) }),
		draw(axis("throughput-loss", "ferry, one connection", lossTitle, lossLabel, false), []float64{0, 0.05, 0.1, 0.5},
			func(x float64) (float64, error) {
				return ferry(c.FarBytes, worldConfig{connections: oneConnection, link: linkOf(c.RTT, x/100)})
			}),
		draw(axis("throughput-loss", "plain quic-go", lossTitle, lossLabel, false), []float64{0, 0.05, 0.1, 0.5},
			func(x float64) (float64, error) { return plain(c.FarBytes, linkOf(c.RTT, x/100)) }),
		draw(axis("throughput-rtt", "ferry", rttTitle, rttLabel, false), []float64{0, 5, 20, 50, 100},
			func(x float64) (float64, error) { return ferry(c.CleanBytes/2, worldConfig{link: linkOf(ms(x), 0)}) }),
		draw(axis("throughput-rtt", "plain quic-go", rttTitle, rttLabel, false), []float64{0, 5, 20, 50, 100},
			func(x float64) (float64, error) { return plain(c.CleanBytes/2, linkOf(ms(x), 0)) }),
	)
}

// ferryPoint is ferry's throughput between two hosts of their own, in MB/s: the median, after one that does not count.
func (c pathsConfig) ferryPoint(ctx context.Context, bytes int64, cfg worldConfig) (_ float64, err error) {
	cfg.dir = tmpfs()
	w, err := startWorld(ctx, cfg)
	defer func() { err = errors.Join(err, w.stop()) }()
	if err != nil {
		return 0, err
	}
	return c.point(ctx, bytes, (&mover{w: w}).once)
}

// plainPoint is plain quic-go's.
func (c pathsConfig) plainPoint(ctx context.Context, bytes int64, link *path.Link) (_ float64, err error) {
	con, err := startContender(ctx, contenderConfig{role: "quic", link: link})
	defer func() { err = errors.Join(err, con.stop()) }()
	if err != nil {
		return 0, err
	}
	return c.point(ctx, bytes, con.once)
}

const warmUpBytes = 2 << 20

func (c pathsConfig) point(ctx context.Context, bytes int64, once func(context.Context, stateSpec) (Sample, error)) (float64, error) {
	if _, err := once(ctx, stateSpec{Bytes: warmUpBytes, Seed: 99}); err != nil {
		return 0, err
	}
	var rates []float64
	for round := range c.CurveRounds {
		s, err := once(ctx, stateSpec{Bytes: bytes, Seed: uint64(round + 1)})
		if err != nil {
			return 0, err
		}
		rates = append(rates, s.rate())
	}
	return median(rates), nil
}
