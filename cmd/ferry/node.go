package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"ferry/cluster"
	"ferry/daemon"
	"ferry/examples/kv"
	"ferry/journal"
	"ferry/journal/boltjournal"
)

const (
	// partTimeout is how long clients have to part from their connections after
	// SIGTERM, and drainTimeout how long requests under way may then take before
	// the daemons close. Those that wait for a move are told to try again.
	partTimeout  = 300 * time.Millisecond
	drainTimeout = time.Second
	// stopTimeout is how long the rest may take; what hangs longer is cut off,
	// which the design survives as it survives kill -9. Together they stay
	// below the 5 s that are promised.
	stopTimeout = 3 * time.Second
)

type nodeOptions struct {
	cluster string
	name    string
	daemon  string
	create  bool
	fill    size
	seed    uint64
	lanes   int
	limit   byteRate
	moves   int
	bytes   size
	behind  string
	keep    size
	plain   bool
	chiefs  bool // daemon.Config.AllowPlain
	tied    bool
	verbose bool
}

func newNodeCmd() *cobra.Command {
	var opts nodeOptions
	cmd := &cobra.Command{
		Use:   "node --cluster FILE --name NAME",
		Short: "Run a node, with every daemon that it serves",
		Long: `Run a node of the cluster: it serves every daemon that its journal says it serves, over HTTP, and takes part in moves.

With --daemon X it also creates an empty kv daemon X, but only if this node has no record of X, moved away included, and
no other node of the cluster that can be reached has one. Where a node is there but does not say what it has, the command
says so and exits with 1; --create makes X all the same: use it when you know that X is nowhere.

HTTP: PUT, GET and DELETE /kv/KEY, GET /log?from=N and GET /state are the daemon of --daemon, or the only one that is known.
Any daemon has them under /daemons/NAME as well; GET /daemons lists what this node knows. A node that does not have the
daemon redirects to the one that has (308: curl -L follows).

The node's key is keys/NAME.pem beside the cluster file. A certificate of your own CA for it may lie beside it, as
keys/NAME.crt (PEM): it is then shown to the other nodes, and must be good today. Without one, nothing expires.

Ctrl-C or SIGTERM ends the node within 5 seconds. Its daemons are there again when it is started again.`,
		Example: `  ferry node --cluster cluster.toml --name a --daemon orders
  ferry node --cluster cluster.toml --name b
  curl -L -X PUT --data hello http://127.0.0.1:PORT/kv/greeting`,
		Args: cobra.NoArgs,
	}
	flags := cmd.Flags()
	clusterFlag(flags, &opts.cluster)
	flags.StringVar(&opts.name, "name", "", "which `NODE` of the cluster this is")
	flags.StringVar(&opts.daemon, "daemon", "", "create the kv daemon `X` if it is nowhere yet")
	flags.BoolVar(&opts.create, "create", false, "create the daemon without asking the other nodes")
	flags.Var(&opts.fill, "fill", "load a daemon that is created with this much seeded, incompressible state (64MiB)")
	flags.Uint64Var(&opts.seed, "fill-seed", 1, "the seed of --fill")
	flags.IntVar(&opts.lanes, "lanes", 0, "how many streams carry a snapshot away from here, and here at most; 0: as many as the path wants")
	flags.Var(&opts.limit, "limit", "send snapshots at this `RATE` at most, all moves together: 50MB/s, 20MiB/s")
	flags.IntVar(&opts.moves, "incoming", 16, "how many daemons may be on their way here at once")
	flags.Var(&opts.bytes, "incoming-bytes", "how much state may be on its way here at once (what the disk takes)")
	flags.StringVar(&opts.behind, "behind", daemon.SlowWriters.String(), "when a target replays no faster than writers write: slow them down, or end the move: `slow|give-up`")
	opts.keep = keepDefault
	flags.Var(&opts.keep, "keep", "keep so much of daemons that moved away, or did not arrive: it need not be sent when they come (again); 0: nothing")
	flags.BoolVar(&opts.chiefs, "allow-plain", false, "let orchestrators that have only net-mesh's ten messages move daemons away from here, and ask whether they have arrived")
	flags.BoolVar(&opts.plain, "no-compression", false, "send snapshots uncompressed")
	flags.BoolVarP(&opts.verbose, "verbose", "v", false, "log everything")
	flags.BoolVar(&opts.tied, "until-stdin-ends", false, "end when stdin does")
	flags.Lookup("until-stdin-ends").Hidden = true // for whoever starts nodes and may be killed
	require(cmd, "name")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		switch {
		case opts.lanes < 0 || opts.lanes > lanesMax:
			return usagef("--lanes must be from 0 to %d", lanesMax)
		case opts.moves < 1:
			return usagef("--incoming must be at least 1")
		case opts.daemon == "" && (opts.create || opts.fill > 0):
			return usagef("--create and --fill need --daemon")
		}
		ctx, stop := withSignals(cmd.Context())
		defer stop()
		if opts.tied {
			ctx = untilEnd(ctx, cmd.InOrStdin())
		}
		return runNode(ctx, cmd.ErrOrStderr(), opts)
	}
	return cmd
}

const lanesMax = 32

// keepDefault is that of daemon.Config.BaseBytesMax.
const keepDefault = 16 << 30

// untilEnd gives a context that ends when r does. The reading ends with the
// process at the latest: stdin has no deadline.
func untilEnd(ctx context.Context, r io.Reader) context.Context {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		_, _ = io.Copy(io.Discard, r)
		cancel(errors.New("stdin has ended"))
	}()
	return ctx
}

// runNode runs until ctx ends.
func runNode(ctx context.Context, stderr io.Writer, opts nodeOptions) error {
	behind, err := daemon.ParseBehind(opts.behind)
	if err != nil {
		return usagef("--behind is %q: slow or give-up", opts.behind)
	}
	file, me, err := loadCluster(opts.cluster, opts.name)
	if err != nil {
		return err
	}
	key, err := file.Key(me.Name)
	if err != nil {
		return err
	}
	hook := chaosFor(me.Name)
	log := hook.log(newLog(stderr, opts.verbose))
	warnExpiry(log, file.CertificatePath(me.Name), key)
	dir := file.DataDir(me.Name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	j, err := boltjournal.Open(nodeJournal(file, me.Name), boltjournal.Options{})
	if errors.Is(err, boltjournal.ErrLocked) {
		return fmt.Errorf("node %s runs already, in another process: %w", me.Name, err)
	}
	if err != nil {
		return err
	}
	defer closeJournal(log, j)
	var listener net.Listener
	if me.HTTP != "" {
		if listener, err = net.Listen("tcp", me.HTTP); err != nil {
			return fmt.Errorf("node %s cannot serve HTTP: %w; free the port, or change http in %s", me.Name, err, file.Path())
		}
		defer listener.Close()
	}
	host, err := daemon.New(daemon.Config{
		Key: key, Dir: filepath.Join(dir, "daemons"), Journal: hook.journal(j), Resolver: file,
		Kinds: []daemon.Kind{hook.kind(kv.Kind(kv.Options{FillBytes: int64(opts.fill), FillSeed: opts.seed}))}, Orchestrators: file.Orchestrators(), Askers: file.Askers(),
		Lanes: opts.lanes, RateLimit: uint64(opts.limit), AttemptsMax: opts.moves, IncomingBytesMax: int64(opts.bytes), Behind: behind, Log: log,
		BaseBytesMax: opts.baseBytesMax(), Compression: opts.compression(), AllowPlain: opts.chiefs,
		OnAuthority: func(a daemon.Authority) {
			log.Info("authority", "daemon", a.Name, "node", nodeName(file, a.Node), "epoch", a.Epoch)
		},
	})
	if err != nil {
		return err
	}
	if err := host.Endpoint().Listen(me.Addr); err != nil {
		return fmt.Errorf("node %s cannot listen for other nodes: %w; free the port, or change addr in %s", me.Name, err, file.Path())
	}
	n := &node{file: file, me: me, opts: opts, host: host, listener: listener, log: log}
	n.server = &http.Server{
		Handler: n.parting(newFront(file, host, opts.daemon, log)), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	return n.run(ctx)
}

// nodeJournal is where a node keeps its records.
func nodeJournal(file *cluster.File, name string) string {
	return filepath.Join(file.DataDir(name), "journal.db")
}

// node is a running node.
type node struct {
	file     *cluster.File
	me       cluster.Node
	opts     nodeOptions
	host     *daemon.Host
	listener net.Listener // nil: no HTTP
	server   *http.Server
	log      *slog.Logger
	ending   atomic.Bool
}

// run serves until ctx ends, or something fails.
func (n *node) run(ctx context.Context) error {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	// The host goes on until the requests under way have been answered.
	hostCtx, endHost := context.WithCancel(context.WithoutCancel(ctx))
	defer endHost()
	var g errgroup.Group
	part := func(f func() error) {
		g.Go(func() error {
			err := f()
			if err != nil {
				end(err)
			}
			return err
		})
	}
	part(func() error { return n.host.Run(hostCtx) })
	part(func() error { return n.serve(ctx) })
	<-ctx.Done()
	n.log.Info("node is ending", "cause", context.Cause(ctx))
	return n.stop(endHost, &g)
}

// serve creates the daemon that was asked for, and then serves HTTP.
func (n *node) serve(ctx context.Context) error {
	if n.opts.daemon != "" {
		created, err := ensureDaemon(ctx, n.file, n.host, n.opts.daemon, n.opts.create)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		case created:
			n.log.Info("daemon created", "name", n.opts.daemon)
		}
	}
	select {
	case <-n.host.Ready():
	case <-ctx.Done():
		return nil
	}
	n.tellUp()
	if n.listener == nil {
		return nil
	}
	if err := n.server.Serve(n.listener); ctx.Err() == nil {
		return err
	}
	return nil
}

// parting asks clients to let go of their connections, once the node is ending.
// A connection that the server closes by itself may have a request on its way,
// whose sender would never know what became of it.
func (n *node) parting(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n.ending.Load() {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}

// tellUp says where the node and its daemons are found.
func (n *node) tellUp() {
	base := ""
	if n.listener != nil {
		base = "http://" + n.listener.Addr().String()
	}
	n.log.Info("node is up", "name", n.me.Name, "http", base, "addr", n.me.Addr, "pid", os.Getpid(), "id", n.me.ID())
	for _, st := range n.host.List() {
		if st.Authority {
			n.log.Info("daemon is here", "name", st.Name, "url", base+daemonsPrefix+url.PathEscape(st.Name), "epoch", st.Epoch, "seq", st.Head.Seq)
		} else {
			n.log.Info("daemon is known", "name", st.Name, "state", st.State, "with", nodeName(n.file, st.Peer), "epoch", st.Epoch)
		}
	}
}

// stop ends the HTTP server, then the daemons, and waits for everything.
func (n *node) stop(endHost context.CancelFunc, g *errgroup.Group) error {
	n.ending.Store(true)
	if n.listener != nil {
		_ = n.listener.Close() // Shutdown would close the idle connections with it
	}
	<-time.After(partTimeout)
	drain, cancel := context.WithTimeout(context.Background(), drainTimeout)
	err := n.server.Shutdown(drain)
	cancel()
	endHost()
	rest, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- g.Wait() }()
	if err != nil { // those that waited for a move get their answer now
		if n.server.Shutdown(rest) != nil {
			_ = n.server.Close()
		}
	}
	select {
	case err := <-done:
		return err
	case <-rest.Done():
		return errors.New("the node did not end in time and was cut off; its daemons go on from their journal at the next start")
	}
}

// newLog is for a person at a terminal: the time of day, and no level where
// nothing is wrong.
func newLog(w io.Writer, verbose bool) *slog.Logger {
	level := slog.LevelInfo
	if verbose {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{
		Level: level,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			switch {
			case len(groups) > 0:
			case a.Key == slog.TimeKey:
				return slog.String(a.Key, a.Value.Time().Format("15:04:05.000"))
			case a.Key == slog.LevelKey && a.Value.Any() == slog.LevelInfo:
				return slog.Attr{}
			}
			return a
		},
	}))
}

func closeJournal(log *slog.Logger, j journal.Journal) {
	if err := j.Close(); err != nil {
		log.Error("journal closed with an error", "err", err)
	}
}

// baseBytesMax is --keep as the host has it.
func (o *nodeOptions) baseBytesMax() int64 {
	if o.keep == 0 {
		return -1
	}
	return int64(o.keep)
}

func (o *nodeOptions) compression() daemon.Compression {
	if o.plain {
		return daemon.CompressionOff
	}
	return daemon.CompressionAuto
}
