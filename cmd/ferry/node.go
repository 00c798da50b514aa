package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"ferry/cluster"
	"ferry/daemon"
	"ferry/examples/kv"
	"ferry/journal"
	"ferry/journal/boltjournal"
)

// stopTimeout is how long a node may take to end after SIGTERM; what hangs
// longer is cut off, which the design survives as it survives kill -9.
const stopTimeout = 4 * time.Second

type nodeOptions struct {
	cluster string
	name    string
	daemon  string
	create  bool
	fill    size
	seed    uint64
	lanes   int
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

Ctrl-C or SIGTERM ends the node within 5 seconds. Its daemons are there again when it is started again.`,
		Example: `  ferry node --cluster cluster.toml --name a --daemon orders
  ferry node --cluster cluster.toml --name b
  curl -X PUT --data hello http://127.0.0.1:PORT/kv/greeting`,
		Args: cobra.NoArgs,
	}
	flags := cmd.Flags()
	clusterFlag(flags, &opts.cluster)
	flags.StringVar(&opts.name, "name", "", "which node of the cluster this is")
	flags.StringVar(&opts.daemon, "daemon", "", "create this kv daemon if it is nowhere yet")
	flags.BoolVar(&opts.create, "create", false, "create the daemon without asking the other nodes")
	flags.Var(&opts.fill, "fill", "load a daemon that is created with this much seeded, incompressible state (64MiB)")
	flags.Uint64Var(&opts.seed, "fill-seed", 1, "the seed of --fill")
	flags.IntVar(&opts.lanes, "lanes", 0, "how many streams carry a snapshot away from here (default 4)")
	flags.BoolVarP(&opts.verbose, "verbose", "v", false, "log everything")
	_ = cmd.MarkFlagRequired("name")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx, stop := withSignals(cmd.Context())
		defer stop()
		return runNode(ctx, cmd, opts)
	}
	return cmd
}

// runNode runs until ctx ends.
func runNode(ctx context.Context, cmd *cobra.Command, opts nodeOptions) error {
	file, me, err := loadCluster(opts.cluster, opts.name)
	if err != nil {
		return err
	}
	key, err := file.Key(me.Name)
	if err != nil {
		return err
	}
	level := slog.LevelInfo
	if opts.verbose {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: level}))
	dir := file.DataDir(me.Name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	j, err := boltjournal.Open(filepath.Join(dir, "journal.db"), boltjournal.Options{})
	if err != nil {
		return err
	}
	defer closeJournal(log, j)
	var listener net.Listener
	if me.HTTP != "" {
		if listener, err = net.Listen("tcp", me.HTTP); err != nil {
			return fmt.Errorf("node %s: http address: %w: free it, or change it in %s", me.Name, err, file.Path())
		}
		defer listener.Close()
	}
	host, err := daemon.New(daemon.Config{
		Key: key, Dir: filepath.Join(dir, "daemons"), Journal: j, Resolver: file,
		Kinds: []daemon.Kind{kv.Kind(kv.Options{FillBytes: int64(opts.fill), FillSeed: opts.seed})}, Orchestrators: file.Orchestrators(),
		Lanes: opts.lanes, Log: log,
		OnAuthority: func(a daemon.Authority) {
			log.Info("authority", "daemon", a.Name, "node", nodeName(file, a.Node), "epoch", a.Epoch)
		},
	})
	if err != nil {
		return err
	}
	if err := host.Endpoint().Listen(me.Addr); err != nil {
		return fmt.Errorf("node %s: addr: %w: is it running already? If not, change it in %s", me.Name, err, file.Path())
	}
	front := &front{file: file, host: host, name: opts.daemon, log: log}
	server := &http.Server{Handler: front, ReadHeaderTimeout: 10 * time.Second}

	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	g := new(errgroup.Group)
	g.Go(func() error {
		err := host.Run(ctx)
		end(err)
		return err
	})
	if opts.daemon != "" {
		if err := ensureDaemon(ctx, file, host, opts); err != nil {
			end(err)
			_ = g.Wait()
			return err
		}
	}
	select {
	case <-host.Ready():
	case <-ctx.Done():
	}
	if listener != nil {
		g.Go(func() error {
			if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
				end(err)
				return err
			}
			return nil
		})
	}
	if ctx.Err() == nil {
		log.Info("node is up", "name", me.Name, "id", me.ID(), "addr", me.Addr, "http", me.HTTP, "pid", os.Getpid())
		for _, st := range host.List() {
			log.Info("daemon", "name", st.Name, "state", st.State, "authority", st.Authority, "epoch", st.Epoch, "seq", st.Head.Seq)
		}
	}
	<-ctx.Done()
	log.Info("node is ending")
	return stopNode(server, g)
}

// stopNode ends the HTTP server while the daemons close, and waits for both.
func stopNode(server *http.Server, g *errgroup.Group) error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		_ = server.Close()
	}
	done := make(chan error, 1)
	go func() { done <- g.Wait() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return errors.New("the node did not end in time and was cut off")
	}
}

// ensureDaemon creates the daemon if it is nowhere.
func ensureDaemon(ctx context.Context, file *cluster.File, host *daemon.Host, opts nodeOptions) error {
	name := opts.daemon
	if _, err := host.Status(ctx, name); !errors.Is(err, daemon.ErrUnknownDaemon) {
		return err // here, or moved away from here: the record decides
	}
	if !opts.create {
		found, unsure, err := whoHas(ctx, file, host, name)
		switch {
		case err != nil:
			return err
		case found != "":
			// The usual restart of a node whose daemon lives elsewhere now.
			return nil
		case len(unsure) > 0:
			return fmt.Errorf("cannot tell whether daemon %q exists already: no answer from node %s; mend that, or use --create if the daemon is nowhere",
				name, join(unsure))
		}
	}
	if err := host.Create(ctx, name, "kv"); err != nil {
		return fmt.Errorf("create daemon %q: %w", name, err)
	}
	return nil
}

func closeJournal(log *slog.Logger, j journal.Journal) {
	if err := j.Close(); err != nil {
		log.Error("journal closed with an error", "err", err)
	}
}
