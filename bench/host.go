package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"ferry/daemon"
	"ferry/identity"
	"ferry/journal/boltjournal"
	"ferry/transport"
)

// moverRole is the part that the parent plays itself: it moves the daemon.
const moverRole = "mover"

// daemonName is the one daemon's.
const daemonName = "bulk"

// host is a node with its daemons, as a user would run it: on disk, with a durable journal.
type host struct {
	name    string
	h       *daemon.Host
	journal *boltjournal.Journal
	peers   table
	bytes   int64
	stop    context.CancelFunc
	ended   chan error
}

func (p *host) do(ctx context.Context, o order) (r reply, err error) {
	switch o.Do {
	case "start":
		r.Self, err = p.start(o)
	case "dial":
		for _, a := range o.Peers {
			p.peers.set(a)
		}
	case "create":
		err = p.h.Create(ctx, daemonName, p.kind().Name)
	default:
		err = errNoOrder
	}
	return r, err
}

func (p *host) start(o order) (self transport.Address, err error) {
	p.bytes = o.Config.Bytes
	key := keyOf(p.name)
	if p.journal, err = boltjournal.Open(filepath.Join(o.Dir, "journal"), boltjournal.Options{}); err != nil {
		return self, err
	}
	p.h, err = daemon.New(daemon.Config{
		Key: key, Dir: filepath.Join(o.Dir, "daemons"), Journal: p.journal, Kinds: []daemon.Kind{p.kind()},
		Resolver: &p.peers, Orchestrators: identity.NewAllowList(keyOf(moverRole).NodeID()), Lanes: o.Config.Lanes,
		Transport: func(c *transport.Config) { c.Connections = o.Config.Connections },
	})
	if err != nil {
		return self, err
	}
	if err := p.h.Endpoint().Listen("127.0.0.1:0"); err != nil {
		return self, err
	}
	ctx, stop := context.WithCancel(context.Background())
	p.stop, p.ended = stop, make(chan error, 1)
	go func() { p.ended <- p.h.Run(ctx) }()
	<-p.h.Ready()
	return transport.Address{ID: p.h.Node(), Name: p.name, Addr: p.h.Endpoint().Addr().String(), Key: key.Public()}, nil
}

func (p *host) close() (err error) {
	if p.stop != nil {
		p.stop()
		err = <-p.ended
	}
	if p.journal != nil {
		err = errors.Join(err, p.journal.Close())
	}
	return err
}

// kind is a daemon that is nothing but state: a pattern where it was created, a file where it was moved to.
func (p *host) kind() daemon.Kind {
	return daemon.Kind{
		Name: "bulk", Schema: 1,
		Open: func(env daemon.Env) (daemon.Daemon, error) {
			b := &bulk{path: filepath.Join(env.Dir, "state")}
			if env.Created {
				b.state = pattern(p.bytes)
			}
			return b, nil
		},
	}
}

type bulk struct {
	path  string
	state daemon.Snapshot
	file  *os.File // what state reads from, if it was moved here
}

func (b *bulk) Apply([]daemon.Event) error { return nil }

func (b *bulk) Snapshot() (daemon.Snapshot, error) { return open{b.state}, nil }

// open is a snapshot of a state that does not change, which Close leaves to its daemon.
type open struct{ daemon.Snapshot }

func (open) Close() error { return nil }

func (b *bulk) Restore(s daemon.State) (err error) {
	size := s.Size()
	if err := s.Take(b.path); err != nil {
		return err
	}
	if b.file, err = os.Open(b.path); err != nil {
		return err
	}
	b.state = sized{b.file, size}
	return nil
}

// sized is a file as a snapshot.
type sized struct {
	*os.File
	bytes int64
}

func (s sized) Size() int64 { return s.bytes }

func (b *bulk) Close() error {
	if b.file == nil {
		return nil
	}
	return b.file.Close()
}
