package mesh

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"ferry/daemon"
	"ferry/identity"
	"ferry/transport"
)

// table is what a node knows of the mesh: who is where, and who serves what. To ferry it is a transport.Resolver; its
// OnAuthority learns here, and gossip tells the others.
type table struct {
	mu     sync.Mutex
	nodes  map[identity.NodeID]transport.Address
	owners map[string]daemon.Authority
	news   chan struct{} // closed when owners has changed
}

func (t *table) init() {
	t.nodes = make(map[identity.NodeID]transport.Address)
	t.owners = make(map[string]daemon.Authority)
	t.news = make(chan struct{})
}

func (t *table) meet(a transport.Address) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.nodes[a.ID] = a
}

func (t *table) peers() []transport.Address {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Collect(maps.Values(t.nodes))
}

// Resolve implements transport.Resolver.
func (t *table) Resolve(_ context.Context, id identity.NodeID) (transport.Address, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a, ok := t.nodes[id]
	if !ok {
		return a, fmt.Errorf("%w: %v is not of this mesh", transport.ErrUnknownNode, id)
	}
	return a, nil
}

// learn keeps the news of the highest epoch: authority moves only forward, so old gossip is known by its epoch.
func (t *table) learn(a daemon.Authority) {
	t.mu.Lock()
	defer t.mu.Unlock()
	known, ok := t.owners[a.Name]
	if ok && a.Epoch <= known.Epoch {
		return
	}
	if a.Origin == 0 {
		a.Origin = known.Origin // a hint from a refused write
	}
	t.owners[a.Name] = a
	close(t.news)
	t.news = make(chan struct{})
}

// owner waits until the mesh knows who serves a daemon, or ctx ends.
func (t *table) owner(ctx context.Context, name string) (daemon.Authority, error) {
	for {
		t.mu.Lock()
		a, ok := t.owners[name]
		news := t.news
		t.mu.Unlock()
		if ok {
			return a, nil
		}
		select {
		case <-news:
		case <-ctx.Done():
			return a, fmt.Errorf("mesh: nobody is known to serve %q: %w", name, context.Cause(ctx))
		}
	}
}

func (t *table) all() []daemon.Authority {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Collect(maps.Values(t.owners))
}
