package transport

import (
	"slices"

	"ferry/identity"
)

// LiveAll gives every live session with the node, the newest first. A node may have several: two that dialed each other
// at once, or two processes that act under one key, as two orchestrations at a time do.
func (e *Endpoint) LiveAll(id identity.NodeID) []*Session {
	e.mu.Lock()
	defer e.mu.Unlock()
	var all []*Session
	for _, s := range slices.Backward(e.sessions[id]) {
		if s.ctx.Err() == nil && !isClosed(s.closing) {
			all = append(all, s)
		}
	}
	return all
}
