package main

import (
	"context"
	"net/url"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"ferry/cluster"
	"ferry/daemon"
	"ferry/proto0500"
)

// locator finds daemons that this node does not have by asking the other nodes.
// One search answers everybody who asks while it runs and shortly after, so that
// a crowd of clients does not become a crowd of questions.
type locator struct {
	file   *cluster.File
	host   *daemon.Host
	flight singleflight.Group

	mu    sync.Mutex
	owner map[string]location // by daemon
	known knownNames
}

// location is where a daemon was found; "": nowhere.
type location struct {
	base string
	at   time.Time
}

type knownNames struct {
	list []string
	at   time.Time
}

const (
	// ownerFor and namesFor are how long a search answers for the next. A daemon
	// may be elsewhere after a moment; names seldom change.
	ownerFor = 200 * time.Millisecond
	namesFor = 5 * time.Second
	// ownersMax bounds what is remembered: names are a client's words.
	ownersMax = 1024
)

// base is the URL below which a node serves a daemon; not of this node, which
// would be a circle.
func (l *locator) base(name string, id proto0500.NodeID) (string, bool) {
	for _, n := range l.file.Nodes {
		if proto0500.NodeID(n.ID()) == id && n.HTTP != "" && n.ID() != l.host.Node() {
			return "http://" + n.HTTP + daemonsPrefix + url.PathEscape(name), true
		}
	}
	return "", false
}

// find is the URL of the node that has the daemon: the one that it was given to,
// or what the nodes say.
func (l *locator) find(ctx context.Context, name string, hint proto0500.NodeID) (string, bool) {
	if base, ok := l.base(name, hint); ok {
		return base, true
	}
	l.mu.Lock()
	loc, ok := l.owner[name]
	l.mu.Unlock()
	if ok && time.Since(loc.at) < ownerFor {
		return loc.base, loc.base != ""
	}
	v, _, _ := l.flight.Do("owner "+name, func() (any, error) {
		// Others wait for it too: not the first one's context.
		return l.search(context.WithoutCancel(ctx), name), nil
	})
	base := v.(string)
	return base, base != ""
}

// search asks until a node says that it has the daemon. It remembers what it
// found.
func (l *locator) search(ctx context.Context, name string) (base string) {
	for a := range answers(ctx, l.file, l.host) {
		has := func(r proto0500.Report) bool { return r.Name.String() == name && authority(r) }
		if slices.ContainsFunc(a.reports, has) {
			base, _ = l.base(name, proto0500.NodeID(a.node.ID()))
			break
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.owner == nil || len(l.owner) >= ownersMax {
		l.owner = make(map[string]location)
	}
	l.owner[name] = location{base, time.Now()}
	return base
}

// names is every daemon that another node knows, sorted.
func (l *locator) names(ctx context.Context) []string {
	l.mu.Lock()
	known := l.known
	l.mu.Unlock()
	if !known.at.IsZero() && time.Since(known.at) < namesFor {
		return known.list
	}
	v, _, _ := l.flight.Do("names", func() (any, error) {
		var list []string
		for _, a := range askAll(context.WithoutCancel(ctx), l.file, l.host) {
			for _, r := range a.reports {
				if len(r.Name) > 0 {
					list = append(list, r.Name.String())
				}
			}
		}
		slices.Sort(list)
		list = slices.Compact(list)
		l.mu.Lock()
		defer l.mu.Unlock()
		l.known = knownNames{list, time.Now()}
		return list, nil
	})
	return v.([]string)
}
