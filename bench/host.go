package main

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"ferry/daemon"
	"ferry/examples/kv"
	"ferry/identity"
	"ferry/journal/boltjournal"
	"ferry/proto0500"
	"ferry/transport"
)

// moverRole is the part that the parent plays itself: it moves the daemons.
const moverRole = "mover"

// host is a node with its daemons, as a user would run it: on disk, with a durable journal, and writes over HTTP.
type host struct {
	name    string
	dir     string
	h       *daemon.Host
	journal *boltjournal.Journal
	book    addressBook
	files   prepared
	kv      atomic.Pointer[stateSpec] // of the next kv daemon to be created
	stop    context.CancelFunc
	ended   chan error
	http    *http.Server
	served  atomic.Pointer[string] // the daemon that HTTP means
	urls    sync.Map               // proto0500.NodeID → base URL
	pings   *pings
}

// do carries out
//
//	start   in Dir, with Lanes and Connections (0: ferry's own)
//	peers   Peers are the other nodes
//	create  a daemon Name of Kind: with the file at Dir, which it takes; one of kind kv with State
//	serve   over HTTP: the daemon Name
//	trim    makes the states here empty: of daemons that will not move again
//	ping    sends control messages to Peers[0] until
//	pinged  and tells how long their round trips were
func (p *host) do(ctx context.Context, o order) (r reply, err error) {
	switch o.Do {
	case "start":
		r.Self, err = p.start(o)
	case "peers":
		for _, a := range o.Peers {
			p.book.set(a.Address)
			p.urls.Store(proto0500.NodeID(a.ID), a.HTTP)
		}
	case "create":
		p.files.set(o.Name, o.Dir)
		p.kv.Store(&o.State)
		err = p.h.Create(ctx, o.Name, o.Kind)
	case "serve":
		p.served.Store(&o.Name)
	case "trim":
		err = trim(p.dir)
	case "ping":
		p.pings = p.ping(ctx, o.Peers[0].ID)
	case "pinged":
		r.Latency, err = p.pings.end()
	default:
		err = errNoOrder
	}
	return r, err
}

func (p *host) start(o order) (self peer, err error) {
	key := keyOf(p.name)
	p.dir = o.Dir
	if p.journal, err = boltjournal.Open(filepath.Join(o.Dir, "journal"), boltjournal.Options{}); err != nil {
		return self, err
	}
	// A kv daemon's fill is an option of its kind: it is read when one is opened.
	kvKind := kv.Kind(kv.Options{})
	kvKind.Open = func(env daemon.Env) (daemon.Daemon, error) {
		var opts kv.Options
		if spec := p.kv.Load(); spec != nil && env.Created {
			opts.FillBytes, opts.FillSeed = spec.Bytes, spec.Seed
		}
		return kv.Kind(opts).Open(env)
	}
	p.h, err = daemon.New(daemon.Config{
		Key: key, Dir: filepath.Join(o.Dir, "daemons"), Journal: p.journal,
		Kinds:    []daemon.Kind{newFileKind(fileKind, &p.files), newFileKind(loggedKind, &p.files), kvKind},
		Resolver: &p.book, Orchestrators: identity.NewAllowList(keyOf(moverRole).NodeID()), Askers: identity.AllowAll(), Lanes: o.Lanes,
		Transport: func(c *transport.Config) {
			if o.Connections != 0 { // so many, and no more
				c.Connections, c.ConnectionsMax = o.Connections, max(o.Connections, 0)
			}
		},
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
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return self, err
	}
	p.http = &http.Server{Handler: kv.Handler(served{p}, kv.HandlerOptions{Owner: p.owner}), ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = p.http.Serve(listener) }() // until close
	return peer{
		Address: transport.Address{ID: p.h.Node(), Name: p.name, Addr: p.h.Endpoint().Addr().String(), Key: key.Public()},
		HTTP:    "http://" + listener.Addr().String(),
	}, nil
}

// served is the daemon that HTTP means.
type served struct{ p *host }

func (s served) backend() kv.Backend {
	name := ""
	if n := s.p.served.Load(); n != nil {
		name = *n
	}
	return kv.HostBackend(s.p.h, name)
}

func (s served) Write(ctx context.Context, payload []byte) (proto0500.Seq, error) {
	return s.backend().Write(ctx, payload)
}

func (s served) View(ctx context.Context) kv.View { return s.backend().View(ctx) }

func (p *host) owner(_ context.Context, hint proto0500.NodeID) (string, bool) {
	url, ok := p.urls.Load(hint)
	if !ok {
		return "", false
	}
	return url.(string), true
}

// trimBytes are less than a state has, and more than any other file.
const trimBytes = 8 << 20

// trim empties the files of states below dir. Whoever holds them open sees them end.
func trim(dir string) error {
	return filepath.WalkDir(filepath.Join(dir, "daemons"), func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // released meanwhile
		}
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil || info.Size() < trimBytes {
			return nil
		}
		if err := os.Truncate(path, 0); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	})
}

func (p *host) close() (err error) {
	if p.http != nil {
		err = p.http.Close()
	}
	if p.stop != nil {
		p.stop()
		err = errors.Join(err, <-p.ended)
	}
	if p.journal != nil {
		err = errors.Join(err, p.journal.Close())
	}
	return err
}
