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
	"ferry/internal/path"
	"ferry/journal"
	"ferry/migration"
	"ferry/orchestrator"
	"ferry/proto0500"
	"ferry/transport"
)

// worldConfig says what stands between two hosts. The zero value is two hosts on the disk of TMPDIR, side by side.
type worldConfig struct {
	dir         string     // below which they keep everything; "" for TMPDIR
	lanes       int        // 0: ferry's default
	connections int        // 0: ferry's default
	link        *path.Link // of the path between the hosts, in both directions; nil: none but loopback
}

// world is two hosts, processes of their own, with the parent as the orchestrator.
type world struct {
	dir     string
	hosts   [2]*child
	nodes   [2]peer
	proxies []*path.Proxy
	book    addressBook
	o       *orchestrator.Orchestrator
	stopRun context.CancelFunc
	ended   chan error
}

// startWorld starts both. What it gives is to be stopped, also after an error.
func startWorld(ctx context.Context, cfg worldConfig) (w *world, err error) {
	w = &world{}
	if w.dir, err = os.MkdirTemp(cfg.dir, "ferry-bench-"); err != nil {
		return w, err
	}
	for i, role := range []string{"host/a", "host/b"} {
		if w.hosts[i], err = startChild(ctx, role); err != nil {
			return w, err
		}
		dir := filepath.Join(w.dir, filepath.Base(role))
		if err := os.Mkdir(dir, 0o700); err != nil {
			return w, err
		}
		r, err := w.hosts[i].ask(order{Do: "start", Dir: dir, Lanes: cfg.lanes, Connections: cfg.connections})
		if err != nil {
			return w, err
		}
		w.nodes[i] = r.Self
		w.book.set(r.Self.Address)
	}
	mover := keyOf(moverRole)
	for i := range w.hosts {
		other := w.nodes[1-i]
		if cfg.link != nil {
			p, err := path.Start(path.Both(other.Addr, *cfg.link, uint64(i+1)))
			if err != nil {
				return w, err
			}
			w.proxies = append(w.proxies, p)
			other.Addr = p.Addr().String()
		}
		known := []peer{other, {Address: transport.Address{ID: mover.NodeID(), Name: moverRole, Key: mover.Public()}}}
		if _, err := w.hosts[i].ask(order{Do: "peers", Peers: known}); err != nil {
			return w, err
		}
	}
	w.o, err = orchestrator.New(orchestrator.Config{Key: mover, Journal: journal.NewMemory(), Resolver: &w.book})
	if err != nil {
		return w, err
	}
	if err := w.o.Endpoint().Listen(""); err != nil {
		return w, err
	}
	runCtx, stop := context.WithCancel(context.WithoutCancel(ctx))
	w.stopRun, w.ended = stop, make(chan error, 1)
	go func() { w.ended <- w.o.Run(runCtx) }()
	return w, nil
}

func (w *world) stop() error {
	var errs []error
	if w.stopRun != nil {
		w.stopRun()
		errs = append(errs, <-w.ended)
	}
	for _, c := range w.hosts {
		errs = append(errs, c.stop())
	}
	for _, p := range w.proxies {
		errs = append(errs, p.Close())
	}
	if w.dir != "" {
		errs = append(errs, os.RemoveAll(w.dir))
	}
	return errors.Join(errs...)
}

// create makes a daemon at one of the hosts.
func (w *world) create(at int, name, kind string, state stateSpec) error {
	o := order{Do: "create", Name: name, Kind: kind, State: state}
	if kind != kvKind {
		o.Dir = filepath.Join(w.dir, name)
		if err := state.write(o.Dir); err != nil {
			return err
		}
	}
	_, err := w.hosts[at].ask(o)
	return err
}

// serve makes both hosts' HTTP mean a daemon.
func (w *world) serve(name string) error {
	for _, c := range w.hosts {
		if _, err := c.ask(order{Do: "serve", Name: name}); err != nil {
			return err
		}
	}
	return nil
}

// watch makes both hosts forget their peaks.
func (w *world) watch() error {
	for _, c := range w.hosts {
		if _, err := c.ask(order{Do: "watch"}); err != nil {
			return err
		}
	}
	return nil
}

// usage is what both hosts have used since watch.
func (w *world) usage() (u [2]Usage, err error) {
	for i, c := range w.hosts {
		r, err := c.ask(order{Do: "usage"})
		if err != nil {
			return u, err
		}
		u[i] = r.Usage
	}
	return u, nil
}

// trim gives back what daemons hold that will not move again.
func (w *world) trim() error {
	for _, c := range w.hosts {
		if _, err := c.ask(order{Do: "trim"}); err != nil {
			return err
		}
	}
	return nil
}

// origin finds a daemon by its name.
func (w *world) origin(ctx context.Context, at int, name string) (proto0500.Origin, error) {
	reports, err := w.o.Query(ctx, w.nodes[at].ID)
	if err != nil {
		return 0, err
	}
	i := slices.IndexFunc(reports, func(r proto0500.Report) bool { return r.Name.String() == name })
	if i < 0 {
		return 0, fmt.Errorf("%w: %s", daemon.ErrUnknownDaemon, name)
	}
	return reports[i].DaemonOrigin, nil
}

// begin begins a move to the other host, at no more than rate bytes a second; 0: as fast as it goes.
func (w *world) begin(ctx context.Context, name string, from int, rate uint64) (*orchestrator.Handle, error) {
	origin, err := w.origin(ctx, from, name)
	if err != nil {
		return nil, err
	}
	return w.o.Migrate(ctx, orchestrator.Move{
		Daemon: origin, Source: proto0500.NodeID(w.nodes[from].ID), Target: proto0500.NodeID(w.nodes[1-from].ID),
		RateLimit: rate,
	})
}

// moved is what a move came to.
type moved struct {
	orchestrator.Result
	CPUSeconds float64 // of both hosts, over the whole move
}

// move moves a daemon to the other host. One that was not committed is an error.
func (w *world) move(ctx context.Context, name string, from int, rate uint64) (m moved, err error) {
	before, err := cpuOf(w.hosts[:]...)
	if err != nil {
		return m, err
	}
	h, err := w.begin(ctx, name, from, rate)
	if err != nil {
		return m, err
	}
	if m.Result, err = h.Wait(ctx); err != nil {
		return m, err
	}
	after, err := cpuOf(w.hosts[:]...)
	m.CPUSeconds = after - before
	return m, errors.Join(err, m.committed())
}

func (m *moved) committed() error {
	if m.Outcome != migration.OutcomeCommitted {
		return fmt.Errorf("%v: %s %s", m.Outcome, m.Text, m.Reason)
	}
	return nil
}

// at is when a phase began; of one that was not reached, when the move ended.
func (m *moved) at(phase migration.Phase) time.Time {
	for _, p := range m.Phases {
		if p.Phase >= phase {
			return p.At
		}
	}
	return m.Ended
}

// transfer is the state's way from the source's file to the target's, synced and ready to be opened: from the order to
// take a snapshot until the target says that it is restored.
func (m *moved) transfer() Sample {
	return Sample{
		Bytes:      int64(m.Last.Target[proto0500.CounterBytesDone]),
		Seconds:    m.at(migration.PhaseReplay).Sub(m.at(migration.PhaseSnapshot)).Seconds(),
		CPUSeconds: m.CPUSeconds,
	}
}

// cut cuts the path between the hosts, and heal ends that. The orchestrator is not on it.
func (w *world) cut() {
	for _, p := range w.proxies {
		p.Cut()
	}
}

func (w *world) heal() {
	for _, p := range w.proxies {
		p.Heal()
	}
}

func (m *moved) sourceMS(c proto0500.Counter) float64 { return float64(m.Last.Source[c]) / 1e6 }
func (m *moved) targetMS(c proto0500.Counter) float64 { return float64(m.Last.Target[c]) / 1e6 }
