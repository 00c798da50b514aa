package transport

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/quic-go/quic-go"

	"ferry/frame"
	"ferry/identity"
)

// Address is what a Resolver knows of a node.
type Address struct {
	ID   identity.NodeID
	Name string            // for errors and logs; may be empty
	Addr string            // host:port of its QUIC socket; empty: it cannot be dialed
	Key  ed25519.PublicKey // pinned
}

// Resolver finds nodes. It is called from many goroutines and should answer quickly.
type Resolver interface {
	// Resolve gives the address and the key of a node. An error for a node that is not known wraps ErrUnknownNode.
	Resolve(ctx context.Context, id identity.NodeID) (Address, error)
}

// Handler is told of sessions, frames and streams.
//
// For one session, Opened, Control and Closed are called in this order from one goroutine, which reads the control
// stream: while they run no further frame arrives, and to wait in them for another answer of the same peer is a
// deadlock. Stream runs on goroutines of its own, after Opened. Endpoint.Run waits for all of them.
type Handler interface {
	// Opened announces a session with a proven peer, and should return quickly. hello is the peer's hello message, borrowed until return; nil when
	// it sent none. An error ends the session: the peer sees its text as ErrRefused, and Closed is not called.
	Opened(s *Session, hello []byte) error
	// Control is called for each frame of the control stream, which is borrowed until return.
	Control(s *Session, f frame.Frame)
	// Stream is called for each stream of kind Events or Lane that the peer opens. When it returns, what was written is
	// finished, and what was not read is refused. After bytes that do not decode, say so with Cancel(CodeOf(err)): this
	// harms only the stream.
	Stream(s *Session, st *Stream)
	// Closed is called once for each session for which Opened returned nil, with what ended it. Streams may still be
	// on their way out.
	Closed(s *Session, cause error)
}

// Defaults and bounds.
const (
	keepAliveDefault    = time.Second
	idleTimeoutDefault  = 5 * time.Second
	dialTimeoutDefault  = 3 * time.Second
	lanesDefault        = 4
	lanesFarDefault     = 8
	connectionsDefault  = 2
	streamWindowDefault = 768 << 10
	bulkWindowDefault   = 96 << 20
	controlQueueDefault = 1024

	// farRTT is a round trip in which lanesDefault full windows are 300 MB/s, about what two cores carry. On a longer one
	// a transfer begins with twice as many, and does not lose a second to finding that out.
	farRTT = 10 * time.Millisecond

	// What is recommended to callers for a connection of theirs, on which lanes run too.
	sharedStreamWindow = 1 << 20
	sharedConnWindow   = 16 << 20

	lanesMax           = 32
	connectionsMax     = 32
	connectionsMaxMost = 16 // the default of ConnectionsMax

	// streamsMax bounds the streams that a peer may have open on one connection of ours.
	streamsMax = 64
	// sessionsPerNodeMax bounds the sessions that one node key may hold at a time, each with its own connections.
	sessionsPerNodeMax = 16
	// linksMax bounds the connections of all peers together; it is beyond what a large cluster has.
	linksMax = 4096
	// splicesMax bounds the streams spliced here for others.
	splicesMax = 256
	// drainTimeout bounds how long a clean Close waits for the peer to take what was sent.
	drainTimeout = time.Second
	// controlQueueBytesMax bounds the control queue where its frames are large.
	controlQueueBytesMax = 16 << 20
)

// Config is what an Endpoint needs. Key, Resolver and Handler are required; the zero value of the rest works.
type Config struct {
	Key      *identity.Key
	Resolver Resolver
	Handler  Handler

	// Admit judges the proven key of whoever dials us. Nil admits the keys of nodes that Resolver knows with that very
	// key.
	Admit func(ctx context.Context, key ed25519.PublicKey) error
	// Hello gives the message (not the frame) that is sent first on every control stream, with epoch 0. Nil: none.
	Hello func() []byte
	// Relay is asked before this node splices a stream from one node to another. Nil: it splices for nobody.
	Relay func(ctx context.Context, from, to identity.NodeID) error
	// RelayFrom is asked before this node takes a stream of origin that relay has spliced. origin is proven after it,
	// by the TLS inside. Nil: such streams are refused, but for those of a session that this node has opened.
	RelayFrom func(relay, origin identity.NodeID) error

	// Limits of control frames, both ways. Zero: frame.Default.
	Limits frame.Limits

	KeepAlive   time.Duration // between packets on an idle connection; 1 s
	IdleTimeout time.Duration // of silence, after which a peer is lost; 5 s
	DialTimeout time.Duration // for a dial and its handshake, or for what a peer must say first; 3 s

	// Lanes is how many lanes a transfer begins with, by Lanes() and in Spread; at most 32. 0: 4, and in Spread 8 where
	// the peer is more than 10 ms away.
	Lanes int
	// Connections is how many further connections a session keeps for lanes; 2, at most 32; negative: none, and lanes
	// share the control connection. ConnectionsMax is how many there may be while lanes are spread over more of them
	// (Session.Spread); 16, or Connections where that is more.
	Connections    int
	ConnectionsMax int

	// StreamWindow and ConnWindow are how many bytes a peer may have sent that nobody has read, per stream and per
	// connection; 768 KiB, and four times that, which is the least allowed: on the control connection a peer that keeps
	// to the rules has the control stream, one stream of its own beside it and one of ours to answer on, or instead of a
	// further connection one lane. So streams that nobody reads cannot use up the connection and stop control. Neither
	// window grows. A grown one follows how quickly streams are read, and would be small exactly where one is not
	// read; and while a connection shakes hands nobody knows yet which streams it will carry.
	StreamWindow int
	ConnWindow   int

	// BulkWindow bounds the sum of ConnWindow over the further connections of all sessions, whatever their number, but
	// that each session may have one; 96 MiB. More are refused with ErrOverload. What may really lie unread is a
	// quarter of it, as long as each connection carries one lane.
	BulkWindow int

	// ControlQueue is how many frames may wait for a peer before it counts as too slow and its session is closed; 1024.
	ControlQueue int

	// PlainSocket leaves reading from a socket of our own to quic-go, as on systems other than Linux: for comparison, and
	// for trouble with PacketConn.
	PlainSocket bool

	Log *slog.Logger // nil: discarded

	lanesFar int // where the peer is far away
}

// validate fills in the defaults.
func (c *Config) validate() error {
	switch {
	case c.Key == nil:
		return errors.New("transport: Config.Key is required")
	case c.Resolver == nil:
		return errors.New("transport: Config.Resolver is required")
	case c.Handler == nil:
		return errors.New("transport: Config.Handler is required")
	}
	if c.Limits == (frame.Limits{}) {
		c.Limits = frame.Default()
	}
	setDefault(&c.KeepAlive, keepAliveDefault)
	setDefault(&c.IdleTimeout, idleTimeoutDefault)
	setDefault(&c.DialTimeout, dialTimeoutDefault)
	if c.lanesFar = c.Lanes; c.Lanes == 0 {
		c.Lanes, c.lanesFar = lanesDefault, lanesFarDefault
	}
	setDefault(&c.Connections, connectionsDefault)
	setDefault(&c.StreamWindow, streamWindowDefault)
	setDefault(&c.ConnWindow, 4*c.StreamWindow)
	setDefault(&c.BulkWindow, bulkWindowDefault)
	setDefault(&c.ControlQueue, controlQueueDefault)
	c.Connections = max(c.Connections, 0)
	setDefault(&c.ConnectionsMax, max(c.Connections, connectionsMaxMost))
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	switch {
	case c.KeepAlive < 0 || c.IdleTimeout < 0 || c.DialTimeout < 0:
		return errors.New("transport: a Config timeout is negative")
	case c.Lanes < 0 || c.Lanes > lanesMax:
		return fmt.Errorf("transport: Config.Lanes is %d, allowed are 1 to %d", c.Lanes, lanesMax)
	case c.Connections > connectionsMax:
		return fmt.Errorf("transport: Config.Connections is %d, allowed are at most %d", c.Connections, connectionsMax)
	case c.ConnectionsMax < c.Connections || c.ConnectionsMax > connectionsMax:
		return fmt.Errorf("transport: Config.ConnectionsMax is %d, allowed are Connections, which is %d, to %d",
			c.ConnectionsMax, c.Connections, connectionsMax)
	case c.BulkWindow < 0:
		return fmt.Errorf("transport: Config.BulkWindow is %d", c.BulkWindow)
	case c.StreamWindow < 0 || c.ConnWindow < 4*c.StreamWindow:
		return fmt.Errorf("transport: Config.ConnWindow is %d, less than four times StreamWindow, which is %d",
			c.ConnWindow, c.StreamWindow)
	case c.ControlQueue < 0:
		return fmt.Errorf("transport: Config.ControlQueue is %d", c.ControlQueue)
	}
	return nil
}

// bulkMax is how many further connections BulkWindow allows.
func (c *Config) bulkMax() int64 { return int64(c.BulkWindow / c.ConnWindow) }

func setDefault[T int | time.Duration](v *T, d T) {
	if *v == 0 {
		*v = d
	}
}

// QUICConfig is what a caller is recommended to use on its own Listener and connections in the ways (b) and (c), where
// these settings are the caller's: a dead peer is noticed within 5 s, windows are bounded and leave the control stream
// room, and 64 streams of ours fit beside the caller's own. What it sends on its own connections is its own affair.
func QUICConfig() *quic.Config {
	c := Config{}
	setDefault(&c.KeepAlive, keepAliveDefault)
	setDefault(&c.IdleTimeout, idleTimeoutDefault)
	setDefault(&c.DialTimeout, dialTimeoutDefault)
	setDefault(&c.StreamWindow, sharedStreamWindow)
	setDefault(&c.ConnWindow, sharedConnWindow)
	q := c.quic()
	q.MaxIncomingStreams = 2 * streamsMax
	q.MaxIncomingUniStreams = 0 // quic-go's default
	return q
}

// quicListen also gives up on a handshake as soon as its dialer does.
func (c *Config) quicListen() *quic.Config {
	q := c.quic()
	q.HandshakeIdleTimeout = c.DialTimeout
	return q
}

func (c *Config) quic() *quic.Config {
	return &quic.Config{
		// A dial ends at DialTimeout by its context, which knows better what to say.
		HandshakeIdleTimeout: 2 * c.DialTimeout,

		MaxIdleTimeout:                 c.IdleTimeout,
		KeepAlivePeriod:                c.KeepAlive,
		InitialStreamReceiveWindow:     uint64(c.StreamWindow),
		MaxStreamReceiveWindow:         uint64(c.StreamWindow),
		InitialConnectionReceiveWindow: uint64(c.ConnWindow),
		MaxConnectionReceiveWindow:     uint64(c.ConnWindow),
		MaxIncomingStreams:             streamsMax,
		MaxIncomingUniStreams:          -1,
		// No 0-RTT: what it carries can be replayed.
		Allow0RTT:       false,
		EnableDatagrams: false,
	}
}
