package kv

import (
	"context"

	"ferry/daemon"
	"ferry/frame"
	"ferry/proto0500"
)

// Backend is what the handler needs of the node it runs in.
type Backend interface {
	// Write puts an event into the chain and returns its number once it is
	// durable. It waits while the daemon is frozen or not yet live here; when ctx
	// ends meanwhile the event is not accepted and the error is ctx's. Other
	// errors are those of package daemon.
	Write(ctx context.Context, payload []byte) (proto0500.Seq, error)
	// View is what this node is for the daemon now, as far as it can tell
	// before ctx ends.
	View(ctx context.Context) View
}

// View is what a node is for a daemon. The zero value: it has nothing of it.
type View struct {
	Store     *Store // nil: no state here
	Authority bool   // it accepts writes here, or will when it is thawed
	Epoch     frame.Epoch
	Peer      proto0500.NodeID // where the daemon went, if this node gave it away; or 0
}

// HostBackend is the daemon of that name at h.
func HostBackend(h *daemon.Host, name string) Backend { return hostBackend{h, name} }

type hostBackend struct {
	host *daemon.Host
	name string
}

func (b hostBackend) Write(ctx context.Context, payload []byte) (proto0500.Seq, error) {
	return b.host.Write(ctx, b.name, payload)
}

func (b hostBackend) View(ctx context.Context) View {
	st, err := b.host.Status(ctx, b.name)
	if err != nil {
		return View{} // unknown here, starting or stopping: nothing can be read
	}
	v := View{Authority: st.Authority, Epoch: st.Epoch}
	v.Store, _ = st.Daemon.(*Store)
	if !st.Authority {
		v.Peer = st.Peer
	}
	return v
}
