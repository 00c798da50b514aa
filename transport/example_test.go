package transport_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"

	"github.com/quic-go/quic-go"

	"ferry/frame"
	"ferry/identity"
	"ferry/transport"
)

// cluster is a Resolver: node id to address and key.
type cluster map[identity.NodeID]transport.Address

func (c cluster) Resolve(_ context.Context, id identity.NodeID) (transport.Address, error) {
	a, ok := c[id]
	if !ok {
		return transport.Address{}, fmt.Errorf("%w: %v", transport.ErrUnknownNode, id)
	}
	return a, nil
}

// printer is a Handler that prints control messages and answers lanes with what they carry.
type printer struct{ printed chan struct{} }

func (printer) Opened(*transport.Session, []byte) error { return nil }
func (printer) Closed(*transport.Session, error)        {}

func (p printer) Control(_ *transport.Session, f frame.Frame) {
	fmt.Printf("epoch %d: %s\n", f.Epoch(), f.Message())
	p.printed <- struct{}{}
}

func (printer) Stream(_ *transport.Session, st *transport.Stream) { io.Copy(st, st) }

// Two nodes, each with a socket of its own: a control frame, then a lane.
func Example() {
	known := cluster{}
	printed := make(chan struct{})
	node := func() *transport.Endpoint {
		key, err := identity.GenerateKey(nil)
		if err != nil {
			panic(err)
		}
		e, err := transport.New(transport.Config{Key: key, Resolver: known, Handler: printer{printed}})
		if err != nil {
			panic(err)
		}
		if err := e.Listen("127.0.0.1:0"); err != nil {
			panic(err)
		}
		known[e.ID()] = transport.Address{ID: e.ID(), Addr: e.Addr().String(), Key: key.Public()}
		return e
	}
	a, b := node(), node()

	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	running.Go(func() { a.Run(ctx) })
	running.Go(func() { b.Run(ctx) })

	s, err := a.Session(ctx, b.ID())
	if err != nil {
		panic(err)
	}
	if err := s.Send(3, []byte("take this")); err != nil {
		panic(err)
	}
	<-printed

	lane, err := s.OpenStream(ctx, transport.Lane, 0)
	if err != nil {
		panic(err)
	}
	if _, err := lane.Write([]byte("bulk, on a connection of its own")); err != nil {
		panic(err)
	}
	if err := lane.CloseWrite(); err != nil {
		panic(err)
	}
	back, err := io.ReadAll(lane)
	if err != nil {
		panic(err)
	}
	fmt.Println(string(back))
	// Output:
	// epoch 3: take this
	// bulk, on a connection of its own
}

// A program with a transport of its own puts a PacketConn under it, and tells it of the connections that it makes or
// accepts. Those of an endpoint on this transport (UseTransport) it learns of by itself.
func ExampleNewPacketConn() {
	socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		panic(err)
	}
	packets := transport.NewPacketConn(socket, nil)
	defer packets.Close()
	t := &quic.Transport{Conn: packets}
	defer t.Close()

	key, err := identity.GenerateKey(nil)
	if err != nil {
		panic(err)
	}
	own := func(ctx context.Context, addr net.Addr) (*quic.Conn, error) {
		conn, err := t.Dial(ctx, addr, identity.ClientTLS(key, []string{"own/1"}, nil), transport.QUICConfig())
		if err == nil {
			packets.Watch(conn)
		}
		return conn, err
	}
	_ = own
}
