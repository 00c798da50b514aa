package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"ferry/daemon"
	"ferry/identity"
	"ferry/journal"
	"ferry/migration"
	"ferry/orchestrator"
	"ferry/proto0500"
	"ferry/transport"
)

// move is the contender of whole moves, to and fro between two hosts. The parent is the orchestrator.
type move struct {
	dir      string
	children []*child // source and target in turn
	nodes    []transport.Address
	peers    table
	o        *orchestrator.Orchestrator
	daemon   proto0500.Origin
	stopRun  context.CancelFunc
	ended    chan error
	bytes    int64
}

func (m *move) start(ctx context.Context, cfg Config) (err error) {
	m.bytes = cfg.Bytes
	if m.dir, err = os.MkdirTemp("", "ferry-bench-"); err != nil {
		return err
	}
	mover := keyOf(moverRole)
	all := []transport.Address{{ID: mover.NodeID(), Name: moverRole, Key: mover.Public()}}
	for _, role := range []string{"host/a", "host/b"} {
		c, err := startChild(ctx, role)
		if err != nil {
			return err
		}
		m.children = append(m.children, c)
		dir := filepath.Join(m.dir, filepath.Base(role))
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
		r, err := c.ask(order{Do: "start", Config: cfg, Dir: dir})
		if err != nil {
			return err
		}
		m.nodes = append(m.nodes, r.Self)
		m.peers.set(r.Self)
		all = append(all, r.Self)
	}
	for _, c := range m.children {
		if _, err := c.ask(order{Do: "dial", Peers: all}); err != nil {
			return err
		}
	}
	if _, err := m.children[0].ask(order{Do: "create"}); err != nil {
		return err
	}
	return m.lead(ctx, mover)
}

// lead starts the orchestrator and finds the daemon.
func (m *move) lead(ctx context.Context, key *identity.Key) (err error) {
	m.o, err = orchestrator.New(orchestrator.Config{Key: key, Journal: journal.NewMemory(), Resolver: &m.peers})
	if err != nil {
		return err
	}
	if err := m.o.Endpoint().Listen(""); err != nil {
		return err
	}
	runCtx, stop := context.WithCancel(context.WithoutCancel(ctx))
	m.stopRun, m.ended = stop, make(chan error, 1)
	go func() { m.ended <- m.o.Run(runCtx) }()
	reports, err := m.o.Query(ctx, m.nodes[0].ID)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(reports, func(r proto0500.Report) bool { return r.Name.String() == daemonName })
	if i < 0 {
		return fmt.Errorf("%w: %s", daemon.ErrUnknownDaemon, daemonName)
	}
	m.daemon = reports[i].DaemonOrigin
	return nil
}

// once moves the daemon to the other host.
func (m *move) once(ctx context.Context) (s Sample, err error) {
	before, err := cpuOf(m.children...)
	if err != nil {
		return s, err
	}
	began := time.Now()
	h, err := m.o.Migrate(ctx, orchestrator.Move{
		Daemon: m.daemon, Source: proto0500.NodeID(m.nodes[0].ID), Target: proto0500.NodeID(m.nodes[1].ID),
	})
	if err != nil {
		return s, err
	}
	res, err := h.Wait(ctx)
	if err != nil {
		return s, err
	}
	if res.Outcome != migration.OutcomeCommitted {
		return s, fmt.Errorf("%v: %s", res.Outcome, res.Text)
	}
	s.Seconds = time.Since(began).Seconds()
	after, err := cpuOf(m.children...)
	if err != nil {
		return s, err
	}
	s.CPUSeconds = after - before
	s.Bytes = int64(res.Last.Target[proto0500.CounterBytesDone])
	if s.Bytes < m.bytes {
		return s, fmt.Errorf("%d bytes were moved, not %d", s.Bytes, m.bytes)
	}
	s.BlackoutMS = float64(res.Last.Source[proto0500.CounterBlackoutNs]) / 1e6
	s.TransferSeconds = phaseTime(res, migration.PhaseTransfer)
	slices.Reverse(m.nodes)
	return s, nil
}

// phaseTime is how long a phase lasted, in seconds.
func phaseTime(res orchestrator.Result, phase migration.Phase) float64 {
	for i, p := range res.Phases[:len(res.Phases)-1] {
		if p.Phase == phase {
			return res.Phases[i+1].At.Sub(p.At).Seconds()
		}
	}
	return 0
}

func (m *move) stop() error {
	var errs []error
	if m.stopRun != nil {
		m.stopRun()
		errs = append(errs, <-m.ended)
	}
	for _, c := range m.children {
		errs = append(errs, c.stop())
	}
	if m.dir != "" {
		errs = append(errs, os.RemoveAll(m.dir))
	}
	return errors.Join(errs...)
}
