package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"ferry/cluster"
	"ferry/identity"
	"ferry/journal"
	"ferry/orchestrator"
	"ferry/proto0500"
	"ferry/transport"
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

// A daemon between two owners is at none for a moment, and a node that was just
// started may not hear yet.
const (
	findTimeout = 10 * time.Second
	findEvery   = 100 * time.Millisecond
)

// found is what the nodes say of a daemon.
type found struct {
	owner  cluster.Node // none while moving is true
	report proto0500.Report
	moving bool             // it is between two nodes, of which report is one's
	silent map[string]error // the nodes that gave no answer
}

// findDaemon asks the nodes which of them has a daemon. Where a move of it is
// just ending it asks again for a while; if that does not end, found says so.
func findDaemon(ctx context.Context, file *cluster.File, q querier, name string) (f found, err error) {
	ctx, cancel := context.WithTimeout(ctx, findTimeout)
	defer cancel()
	for {
		f, err = pickOwner(askAll(ctx, file, q), name)
		if err != nil || !f.moving {
			return f, err
		}
		select {
		case <-ctx.Done():
			return f, nil
		case <-time.After(findEvery):
		}
	}
}

// pickOwner finds the daemon's authority in what the nodes say.
func pickOwner(all []answer, name string) (f found, err error) {
	var owners, known, refused []string
	silent := make(map[string]error)
	defer func() { f.silent = silent }()
	for _, a := range all {
		if a.err != nil {
			silent[a.node.Name] = a.err
			refused = append(refused, fmt.Sprintf("%s (%s)", a.node.Name, oneLine(a.err.Error())))
		}
		for _, r := range a.reports {
			if r.State != proto0500.StateNone {
				known = append(known, oneLine(r.Name.String()))
			}
			switch {
			case r.Name.String() != name:
			case authority(r):
				owners = append(owners, a.node.Name)
				f = found{owner: a.node, report: r}
			case len(owners) == 0 && (r.State == proto0500.StateRetired || r.State == proto0500.StateSealed):
				f = found{report: r, moving: true}
			}
		}
	}
	switch {
	case len(owners) > 1:
		return f, fmt.Errorf("several nodes serve a daemon named %q: %s", name, join(owners))
	case len(owners) == 1 || f.moving:
		return f, nil
	case len(refused) == len(all):
		return f, fmt.Errorf("no node of the cluster answers: %s; %s", strings.Join(refused, ", "), remedy(silent))
	}
	text := fmt.Sprintf("no node has daemon %q", name)
	if len(known) > 0 {
		text += "; there is " + join(known)
	}
	if len(refused) > 0 {
		text += "; no answer from " + strings.Join(refused, ", ") + "; " + remedy(silent)
	}
	return f, errors.New(text)
}

// denies says that a node has answered that we may not ask it.
func denies(err error) bool {
	no, ok := errors.AsType[*orchestrator.RefusedError](err)
	return ok && no.Reason == proto0500.RejectWrongPeer
}

// remedy says what to do about nodes that gave no answer. One that refuses, or
// that is not who it should be, is there: to start it would be no help.
func remedy(silent map[string]error) string {
	is := func(kind error) bool {
		for _, err := range silent {
			if errors.Is(err, kind) {
				return true
			}
		}
		return false
	}
	switch {
	case slices.ContainsFunc(slices.Collect(maps.Values(silent)), denies):
		return "set orchestrator or asks for this node in the cluster file that they have, and start them again"
	case is(transport.ErrRefused):
		return "give the nodes a cluster file that has this node's public_key, and start them again"
	case is(transport.ErrCertificate):
		return "renew the certificate in keys/NAME.crt at that node, or correct this machine's clock"
	case is(transport.ErrWrongKey):
		return "correct addr or public_key in the cluster file: another key answers there than the one it names"
	}
	return "start the nodes with `ferry node`"
}
