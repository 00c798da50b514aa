package cluster

import (
	"context"
	"fmt"

	"ferry/identity"
	"ferry/transport"
)

var _ transport.Resolver = (*File)(nil)

// Resolve is the file as a transport.Resolver. A node that is not in it is transport.ErrUnknownNode.
func (f *File) Resolve(_ context.Context, id identity.NodeID) (transport.Address, error) {
	n, ok := f.ByID(id)
	if !ok {
		return transport.Address{}, fmt.Errorf("%w: %s is not in %s", transport.ErrUnknownNode, id, f.path)
	}
	return transport.Address{ID: id, Name: n.Name, Addr: n.Addr, Key: n.PublicKey}, nil
}
