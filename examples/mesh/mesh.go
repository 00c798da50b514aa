// Package mesh is a small mesh runtime, as somebody else might have it: nodes with one UDP socket and one
// *quic.Transport each, connected each with each by a protocol of their own ("mesh/1"), over which they ping, gossip
// about who serves what, and pass writes on to whoever serves them.
//
// What it is here for is how such a program links ferry in, so that its daemons can move while it goes on talking:
//
//   - wayb.go: ferry dials connections of its own from the mesh's transport, and takes those that the mesh's one
//     listener gets for it (ByTransport);
//   - wayc.go: ferry's streams ride on the very connections that the mesh talks on (ByConn);
//   - ferry.go: the daemons' host, or the one who moves them, with the mesh's own table as Resolver and listener to
//     OnAuthority.
package mesh

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/quic-go/quic-go"

	"ferry/daemon"
	"ferry/identity"
	"ferry/journal"
	"ferry/orchestrator"
	"ferry/transport"
)

// ALPN is the mesh's own protocol.
const ALPN = "mesh/1"

// Config is what a Node needs; Every and Log have defaults.
type Config struct {
	Key     *identity.Key // the mesh pins its connections to it, and so does ferry
	Name    string
	Dir     string
	Journal journal.Journal
	Kinds   []daemon.Kind
	Mover   identity.NodeID // the node that moves daemons; it has none itself

	// Ride is how ferry is linked in: ByTransport or ByConn.
	Ride func(n *Node, ferry *transport.Endpoint) error

	Every time.Duration // between two pings to one peer; 0: 10 ms
	Log   *slog.Logger  // nil: discarded
}

// Node is one node of the mesh. Make it with New, introduce it to the others with Meet, and call Run.
type Node struct {
	cfg       Config
	id        identity.NodeID
	socket    net.PacketConn
	transport *quic.Transport
	table     table
	guest     guest

	ferry interface { // host or mover
		Endpoint() *transport.Endpoint
		Run(ctx context.Context) error
	}
	host  *daemon.Host               // nil at the mover
	mover *orchestrator.Orchestrator // nil elsewhere

	work    sync.WaitGroup
	traffic traffic

	mu      sync.Mutex
	conns   map[identity.NodeID]*quic.Conn
	changed chan struct{} // closed when conns has
}

// guest is what the mesh knows of whoever rides along: nothing but these. Each may be nil.
type guest struct {
	alpn   string
	tls    *tls.Config           // for clients that ask for alpn
	accept func(conn *quic.Conn) // takes a connection that has negotiated alpn

	// joined rides on a connection of the mesh until that or ctx ends, and calls aboard when it does for the first time.
	joined func(ctx context.Context, conn *quic.Conn, dialed bool, aboard func())
	// stream takes a stream of such a connection, which begins with first, or says that it is not the guest's.
	stream func(conn *quic.Conn, str *quic.Stream, first []byte) bool
}

// New opens the node's socket, on a free port, and links ferry in.
func New(cfg Config) (*Node, error) {
	if cfg.Every == 0 {
		cfg.Every = 10 * time.Millisecond
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	n := &Node{
		cfg: cfg, id: cfg.Key.NodeID(), conns: make(map[identity.NodeID]*quic.Conn), changed: make(chan struct{}),
	}
	n.table.init()
	n.traffic.end = make(chan struct{})
	if err := n.board(); err != nil {
		return nil, err
	}
	socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	n.socket, n.transport = socket, &quic.Transport{Conn: socket}
	if err := cfg.Ride(n, n.ferry.Endpoint()); err != nil {
		socket.Close()
		return nil, err
	}
	n.Meet(n.Address())
	return n, nil
}

// Address is what others must know of the node.
func (n *Node) Address() transport.Address {
	return transport.Address{ID: n.id, Name: n.cfg.Name, Addr: n.socket.LocalAddr().String(), Key: n.cfg.Key.Public()}
}

// Meet lets the node know another one. Call it before Run.
func (n *Node) Meet(a transport.Address) { n.table.meet(a) }

// Run is a node's life, until ctx ends. Ferry ends first, while the mesh still carries it.
func (n *Node) Run(ctx context.Context) error {
	defer n.socket.Close()
	listener, err := n.transport.Listen(n.serverTLS(), transport.QUICConfig())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	n.work.Go(func() { n.accept(ctx, listener) })
	for _, peer := range n.table.peers() {
		if peer.ID > n.id { // one connection for each pair
			n.work.Go(func() { n.keep(ctx, peer) })
		}
	}
	err = n.ferry.Run(ctx)
	cancel()
	listener.Close()
	n.mu.Lock()
	for _, conn := range n.conns {
		conn.CloseWithError(0, "") // transport.Close would not tell the peers
	}
	n.mu.Unlock()
	n.transport.Close()
	n.work.Wait()
	return err
}

// serverTLS is the mesh's, but for clients that ask for the guest.
func (n *Node) serverTLS() *tls.Config {
	own := identity.ServerTLS(n.cfg.Key, []string{ALPN}, func(key ed25519.PublicKey) error {
		_, err := n.table.Resolve(context.Background(), identity.NodeIDOf(key))
		return err
	})
	own.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if n.guest.tls != nil && slices.Contains(hello.SupportedProtos, n.guest.alpn) {
			return n.guest.tls, nil
		}
		return nil, nil // the mesh's own
	}
	return own
}

// accept is the one accept loop of the one listener.
func (n *Node) accept(ctx context.Context, listener *quic.Listener) {
	for {
		conn, err := listener.Accept(context.Background())
		if err != nil {
			return // closed
		}
		if n.guest.accept != nil && conn.ConnectionState().TLS.NegotiatedProtocol == n.guest.alpn {
			n.guest.accept(conn)
			continue
		}
		n.work.Go(func() { n.talk(ctx, conn, false) })
	}
}

// keep keeps a connection to a peer.
func (n *Node) keep(ctx context.Context, peer transport.Address) {
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for ctx.Err() == nil {
		if conn, err := n.dial(ctx, peer); err == nil {
			n.talk(ctx, conn, true)
		}
		select {
		case <-again.C:
		case <-ctx.Done():
		}
	}
}

func (n *Node) dial(ctx context.Context, peer transport.Address) (*quic.Conn, error) {
	addr, err := net.ResolveUDPAddr("udp", peer.Addr)
	if err != nil {
		return nil, err
	}
	return n.transport.Dial(ctx, addr, identity.ClientTLS(n.cfg.Key, []string{ALPN}, peer.Key), transport.QUICConfig())
}

// talk is the life of a connection of the mesh.
func (n *Node) talk(ctx context.Context, conn *quic.Conn, dialed bool) {
	key, err := identity.PeerKey(conn.ConnectionState().TLS)
	if err != nil {
		conn.CloseWithError(1, err.Error())
		return
	}
	peer := identity.NodeIDOf(key)
	n.work.Go(func() { n.ping(conn) })
	n.work.Go(func() {
		aboard := func() { n.know(peer, conn) }
		if n.guest.joined == nil {
			aboard()
			return
		}
		n.guest.joined(ctx, conn, dialed, aboard)
	})
	for {
		str, err := conn.AcceptStream(context.Background())
		if err != nil {
			n.cfg.Log.Debug("mesh connection ended", "peer", peer, "cause", err)
			n.forget(peer, conn)
			return
		}
		n.work.Go(func() {
			// What a stream begins with says whose it is. The mesh's own messages are longer than a prefix.
			var first [transport.PrefixBytes]byte
			got, _ := str.Peek(first[:])
			if n.guest.stream != nil && n.guest.stream(conn, str, first[:got]) {
				return
			}
			n.serve(str)
		})
	}
}

func (n *Node) know(peer identity.NodeID, conn *quic.Conn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.conns[peer] = conn
	close(n.changed)
	n.changed = make(chan struct{})
}

func (n *Node) forget(peer identity.NodeID, conn *quic.Conn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.conns[peer] == conn {
		delete(n.conns, peer)
	}
}

// conn waits for a connection to a peer.
func (n *Node) conn(ctx context.Context, peer identity.NodeID) (*quic.Conn, error) {
	for {
		n.mu.Lock()
		conn, changed := n.conns[peer], n.changed
		n.mu.Unlock()
		if conn != nil && conn.Context().Err() == nil {
			return conn, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, fmt.Errorf("mesh: no connection to node %v: %w", peer, context.Cause(ctx))
		}
	}
}

// Joined waits until the node is connected to every other, with ferry aboard where it rides on connections.
func (n *Node) Joined(ctx context.Context) error {
	var errs []error
	for _, peer := range n.table.peers() {
		if peer.ID != n.id {
			_, err := n.conn(ctx, peer.ID)
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
