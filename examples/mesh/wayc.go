package mesh

import (
	"context"
	"sync"
	"time"

	"github.com/quic-go/quic-go"

	"ferry/transport"
)

// ByConn is way (c): ferry has no connections. Its streams ride on those on which the mesh talks, and reach whom the
// mesh has reached.
//
// The mesh gives two things: each of its connections, on both sides, for as long as they last (Attach; the side that
// has dialed begins); and those streams of its accept loop that begin with ferry's prefix (HandleStream). All else on
// the connection is the mesh's, and so are its windows: transport.QUICConfig has some that leave either room. Who the
// peer is, ferry proves for itself over whatever TLS the connection has.
//
// Chunks share the connection's congestion window with the mesh's own traffic here, which has to wait for them at times;
// to keep them apart, see ByTransport.
func ByConn(n *Node, ferry *transport.Endpoint) error {
	n.guest = guest{
		joined: func(ctx context.Context, conn *quic.Conn, dialed bool, aboard func()) {
			// Ferry's session may end while the connection goes on: when a peer did not take its frames, say.
			again := time.NewTicker(time.Second)
			defer again.Stop()
			aboard = sync.OnceFunc(aboard)
			for ctx.Err() == nil && conn.Context().Err() == nil {
				session, err := ferry.Attach(ctx, conn, dialed)
				if err == nil {
					aboard()
					<-session.Done()
					err = session.Err()
				}
				n.cfg.Log.Debug("ferry has no session on a connection", "peer", conn.RemoteAddr(), "cause", err)
				select {
				case <-again.C:
				case <-conn.Context().Done():
				case <-ctx.Done():
				}
			}
		},
		stream: func(conn *quic.Conn, str *quic.Stream, first []byte) bool {
			if !transport.IsPrefix(first) {
				return false
			}
			// The prefix was only peeked at: nothing was consumed. On an error it has reset the stream.
			if err := ferry.HandleStream(conn, str, nil); err != nil {
				n.cfg.Log.Warn("ferry takes no stream", "err", err)
			}
			return true
		},
	}
	return nil
}
