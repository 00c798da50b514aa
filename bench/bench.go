package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// Config is what is measured. The zero value works.
type Config struct {
	Bytes       int64 `json:"bytes"`       // of state, in each round of each contender; 512 MiB
	Rounds      int   `json:"rounds"`      // 9
	Lanes       int   `json:"lanes"`       // of ferry; 4
	Connections int   `json:"connections"` // of ferry, beside the control connection; 2

	Progress io.Writer `json:"-"` // told of each round; may be nil
}

func (c Config) withDefaults() Config {
	setDefault(&c.Bytes, 512<<20)
	setDefault(&c.Rounds, 9)
	setDefault(&c.Lanes, 4)
	setDefault(&c.Connections, 2)
	if c.Progress == nil {
		c.Progress = io.Discard
	}
	return c
}

// quick fills in less than the defaults.
func (c Config) quick() Config {
	setDefault(&c.Bytes, 128<<20)
	setDefault(&c.Rounds, 3)
	return c
}

func setDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// Sample is one run of one contender. The bytes are those that the receiver has verified.
type Sample struct {
	Bytes      int64   `json:"bytes"`
	Seconds    float64 `json:"seconds"`
	CPUSeconds float64 `json:"cpu_seconds"` // of both processes, user and system

	// Of a move only.
	TransferSeconds float64 `json:"transfer_seconds,omitempty"` // of Seconds, in the transfer phase
	BlackoutMS      float64 `json:"blackout_ms,omitempty"`
}

// contender is one way to bring bytes from one process to another.
type contender interface {
	// start starts its processes.
	start(ctx context.Context, cfg Config) error
	// once brings cfg.Bytes over.
	once(ctx context.Context) (Sample, error)
	// stop ends the processes. It may be called after a start that failed.
	stop() error
}

// entry is a contender with what the report says of it.
type entry struct {
	name, what string
	ours       bool
	contender
}

// The names of those that ratios are taken to.
const (
	quicName = "quic-go"
	tcpName  = "tls-tcp"
)

func entries() []entry {
	return []entry{
		{tcpName, "TLS 1.3 over TCP, one connection", false, &pair{source: "tcp/source", sink: "tcp/sink"}},
		{quicName, "plain quic-go, one stream, default windows", false, &pair{source: "quic/source", sink: "quic/sink"}},
		{"ferry-lanes", "ferry's transport: chunk frames, digests, placed by index", true, &pair{source: "lanes/source", sink: "lanes/sink"}},
		{"ferry-move", "a whole move between two hosts, to a synced file", true, &move{}},
	}
}

// Run measures every contender in interleaved rounds, after one that does not count.
func Run(ctx context.Context, cfg Config) (report *Report, err error) {
	cfg = cfg.withDefaults()
	all := entries()
	samples := make([][]Sample, len(all))
	began := time.Now()
	for _, e := range all {
		defer func() { err = errors.Join(err, wrap(e.name, e.stop())) }()
		if err := e.start(ctx, cfg); err != nil {
			return nil, wrap(e.name, err)
		}
	}
	for round := range cfg.Rounds + 1 {
		for i := range all {
			// Another one begins each round: none is always the one after the slowest.
			i = (i + round) % len(all)
			s, err := all[i].once(ctx)
			if err != nil {
				return nil, wrap(all[i].name, err)
			}
			if round == 0 {
				continue // warm-up: windows, caches, page tables
			}
			samples[i] = append(samples[i], s)
			fmt.Fprintf(cfg.Progress, "round %d/%d  %-12s %6.0f MB/s\n", round, cfg.Rounds, all[i].name, s.megabytesPerSecond())
		}
	}
	return newReport(cfg, all, samples, time.Since(began)), nil
}

func wrap(name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", name, err)
}
