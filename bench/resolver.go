package main

import (
	"context"
	"fmt"
	"sync"

	"ferry/identity"
	"ferry/transport"
)

// addressBook is a transport.Resolver.
type addressBook struct {
	mu    sync.Mutex
	nodes map[identity.NodeID]transport.Address
}

func (t *addressBook) set(a transport.Address) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.nodes == nil {
		t.nodes = make(map[identity.NodeID]transport.Address)
	}
	t.nodes[a.ID] = a
}

// Resolve implements transport.Resolver.
func (t *addressBook) Resolve(_ context.Context, id identity.NodeID) (transport.Address, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a, ok := t.nodes[id]
	if !ok {
		return a, fmt.Errorf("%w: %v", transport.ErrUnknownNode, id)
	}
	return a, nil
}
