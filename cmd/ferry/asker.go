package main

import (
	"context"
	"log/slog"

	"ferry/cluster"
	"ferry/identity"
	"ferry/journal"
	"ferry/orchestrator"
)

// asker is an orchestrator that only asks: it moves nothing, so that a journal
// in memory does.
type asker struct {
	*orchestrator.Orchestrator
	cancel context.CancelFunc
	done   chan error
}

func newAsker(file *cluster.File, key *identity.Key, log *slog.Logger) (*asker, error) {
	o, err := orchestrator.New(orchestrator.Config{
		Key: key, Journal: journal.NewMemory(), Resolver: file, QueryTimeout: askTimeout, Log: log,
	})
	if err != nil {
		return nil, err
	}
	if err := o.Endpoint().Listen(""); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	a := &asker{Orchestrator: o, cancel: cancel, done: make(chan error, 1)}
	go func() { a.done <- o.Run(ctx) }()
	return a, nil
}

func (a *asker) close() {
	a.cancel()
	<-a.done
}
