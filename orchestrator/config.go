// Package orchestrator drives moves: the third role, which tells source and
// target what to do next and reports how it went. It decides nothing that
// counts: source and target end a move without it, and two orchestrators can do
// no harm (safety.md, section 1).
//
//	o, err := orchestrator.New(orchestrator.Config{Key: key, Journal: j, Resolver: r})
//	o.Endpoint().Listen(":0")
//	go o.Run(ctx)
//	h, err := o.Migrate(ctx, orchestrator.Move{Daemon: origin, Source: a, Target: b})
//	<-h.Done()
package orchestrator

import (
	"errors"
	"log/slog"
	"time"

	"ferry/frame"
	"ferry/identity"
	"ferry/journal"
	"ferry/migration"
	"ferry/transport"
)

// Config is what an Orchestrator needs. Key, Journal and Resolver are required;
// the zero value of the rest works.
type Config struct {
	Key      *identity.Key
	Journal  journal.Journal // intent and outcome of each move
	Resolver transport.Resolver

	// LagMax is how many events the target may be behind when the source is
	// told to freeze: they are inside the blackout. 0: 64.
	LagMax uint64
	// StepEvery is how often an unanswered request is repeated, and the target
	// asked again while it is behind. 0: 100 ms.
	StepEvery time.Duration
	// PhaseTimeout ends a phase that has made no progress for so long. 0: 30 s.
	PhaseTimeout time.Duration
	// QueryTimeout is how long a node may take to say what it has. 0: 3 s.
	QueryTimeout time.Duration

	Limits frame.Limits // of control messages; zero: frame.Default
	// Transport adjusts the endpoint's configuration before it is made; its
	// Key, Resolver, Handler and Relay are the orchestrator's. May be nil.
	Transport func(*transport.Config)
	Log       *slog.Logger // nil: discarded
}

func (c *Config) validate() error {
	switch {
	case c.Key == nil:
		return errors.New("orchestrator: Config.Key is required")
	case c.Journal == nil:
		return errors.New("orchestrator: Config.Journal is required")
	case c.Resolver == nil:
		return errors.New("orchestrator: Config.Resolver is required")
	}
	if c.LagMax == 0 {
		c.LagMax = 64
	}
	if c.StepEvery == 0 {
		c.StepEvery = 100 * time.Millisecond
	}
	if c.PhaseTimeout == 0 {
		c.PhaseTimeout = 30 * time.Second
	}
	if c.QueryTimeout == 0 {
		c.QueryTimeout = 3 * time.Second
	}
	if c.Limits == (frame.Limits{}) {
		c.Limits = frame.Default()
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}

// timer is how long each of a move's timers runs.
func (c *Config) timer(t migration.Timer) time.Duration {
	if t == migration.TimerPhase {
		return c.PhaseTimeout
	}
	return c.StepEvery
}
