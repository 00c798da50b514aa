// Command counter is a daemon of one's own, whole: a counter that moves. Start
// it on two nodes of a cluster, and move it with `ferry migrate` while it counts:
//
//	ferry init c
//	go run ./examples/counter -cluster c/cluster.toml -name a -create
//	go run ./examples/counter -cluster c/cluster.toml -name b
//	ferry migrate --cluster c/cluster.toml --as o --daemon hits --to b
package main

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"log"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"ferry/cluster"
	"ferry/daemon"
	"ferry/journal/boltjournal"
)

const name = "hits"

func main() {
	file := flag.String("cluster", "cluster.toml", "the cluster file")
	node := flag.String("name", "", "which node this is")
	create := flag.Bool("create", false, "create the daemon here, if this node has never had it")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *file, *node, *create, time.Second); err != nil {
		log.Fatal("counter: ", err)
	}
}

// run runs one node, which adds 1 to the counter every so often while it has it.
func run(ctx context.Context, path, node string, create bool, every time.Duration) error {
	file, err := cluster.Load(path)
	if err != nil {
		return err
	}
	me, err := file.Node(node)
	if err != nil {
		return err
	}
	key, err := file.Key(node)
	if err != nil {
		return err
	}
	dir := file.DataDir(node)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	journal, err := boltjournal.Open(filepath.Join(dir, "journal.db"), boltjournal.Options{})
	if err != nil {
		return err
	}
	defer journal.Close()
	host, err := daemon.New(daemon.Config{
		Key: key, Dir: dir, Journal: journal, Resolver: file,
		Kinds: []daemon.Kind{kind}, Orchestrators: file.Orchestrators(), Log: slog.Default(),
	})
	if err != nil {
		return err
	}
	if err := host.Endpoint().Listen(me.Addr); err != nil {
		return err
	}
	ctx, stop := context.WithCancelCause(ctx)
	ended := make(chan struct{})
	go func() { stop(host.Run(ctx)); close(ended) }()
	defer func() { stop(nil); <-ended }()
	if create {
		if err := host.Create(ctx, name, kind.Name); err != nil && !errors.Is(err, daemon.ErrExists) {
			return err
		}
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			<-ended
			return nil
		case <-tick.C:
		}
		// While a move freezes the counter, or brings it here, the write waits.
		// Elsewhere it is told where the counter went.
		seq, err := host.Write(ctx, name, binary.AppendVarint(nil, 1))
		var moved *daemon.MovedError
		switch {
		case err == nil:
			fmt.Printf("%s: event %d\n", node, seq)
		case errors.As(err, &moved):
			fmt.Printf("%s: moved to node %016x\n", node, uint64(moved.Target))
		case !errors.Is(err, daemon.ErrUnknownDaemon) && ctx.Err() == nil:
			fmt.Printf("%s: %v\n", node, err)
		}
	}
}
