package mesh

import (
	"github.com/quic-go/quic-go"

	"ferry/transport"
)

// ByTransport is way (b): ferry has connections of its own, on the mesh's socket.
//
// The mesh gives four things: its *quic.Transport, from which ferry dials; the TLS configuration by which its one
// listener answers clients that ask for ferry's protocol; the connections that have negotiated it; and a quic.Config
// for the listener (transport.QUICConfig in Run), by which ferry notices a dead peer in time. It keeps its listener,
// its accept loop and its transport, which ferry never closes.
//
// Ferry's bulk has windows of its own here, and may use several connections at a time: this is the faster way.
func ByTransport(n *Node, ferry *transport.Endpoint) error {
	if err := ferry.UseTransport(n.transport); err != nil {
		return err
	}
	n.guest = guest{
		alpn: transport.ALPN,
		tls:  ferry.TLSConfig(),
		accept: func(conn *quic.Conn) {
			// It waits for ferry to run, so not in the accept loop. On an error it has closed the connection.
			n.work.Go(func() {
				if err := ferry.Accept(conn); err != nil {
					n.cfg.Log.Warn("ferry takes no connection", "err", err)
				}
			})
		},
	}
	return nil
}
