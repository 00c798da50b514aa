package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"golang.org/x/sync/semaphore"

	"ferry/frame"
	"ferry/identity"
	"ferry/internal/drive"
	"ferry/internal/quiet"
	"ferry/migration"
	"ferry/proto0500"
	"ferry/transport"
)

// Orchestrator drives any number of moves at once. It dials out: nobody needs
// to reach it first. Make it with New, give its Endpoint a socket, call Run.
type Orchestrator struct {
	cfg     Config
	self    proto0500.NodeID
	log     *slog.Logger
	refused *quiet.Log
	inbox   *semaphore.Weighted // bytes of messages that wait for moves
	records drive.Records
	ep      *transport.Endpoint
	sender  *drive.Sender

	ctx    context.Context // ends when Run does
	cancel context.CancelCauseFunc
	work   sync.WaitGroup

	queries drive.Queries
	orders  orders

	mu    sync.Mutex
	moves map[proto0500.Origin]*Handle
}

// ErrClosed: the orchestrator has ended. Its moves are ended by source and
// target.
var ErrClosed = errors.New("orchestrator: closed")

// ErrBusy: this orchestrator already drives a move of that daemon.
var ErrBusy = errors.New("orchestrator: a move of this daemon is under way here")

// New makes an orchestrator and starts nothing.
func New(cfg Config) (*Orchestrator, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	o := &Orchestrator{
		cfg: cfg, self: proto0500.NodeID(cfg.Key.NodeID()), log: cfg.Log, refused: quiet.New(cfg.Log), inbox: semaphore.NewWeighted(inboxBytesMax), records: drive.Records{J: cfg.Journal},
		ctx: ctx, cancel: cancel,
		moves: make(map[proto0500.Origin]*Handle),
	}
	tc := transport.Config{Limits: cfg.Limits, Log: cfg.Log}
	if cfg.Transport != nil {
		cfg.Transport(&tc)
	}
	tc.Key, tc.Resolver, tc.Handler = cfg.Key, cfg.Resolver, handler{o}
	tc.Hello = func() []byte {
		b, err := proto0500.Hello{
			Version: proto0500.HelloVersion, ChunkBytesMax: cfg.Limits.ChunkBytesMax,
			EventPayloadBytesMax: cfg.Limits.EventPayloadBytesMax, MessageBytesMax: cfg.Limits.MessageBytesMax,
		}.Append(nil, &cfg.Limits)
		if err != nil {
			panic("orchestrator: hello: " + err.Error())
		}
		return b
	}
	tc.Relay = o.mayRelay
	ep, err := transport.New(tc)
	if err != nil {
		return nil, err
	}
	o.ep = ep
	o.sender = drive.NewSender(ep, cfg.Limits, cfg.Log)
	o.sender.Unoffered = o.unoffered
	return o, nil
}

// Endpoint is the orchestrator's transport, for Listen, UseTransport, Attach.
func (o *Orchestrator) Endpoint() *transport.Endpoint { return o.ep }

// Node is this node's id.
func (o *Orchestrator) Node() identity.NodeID { return identity.NodeID(o.self) }

// Run serves until ctx ends. Moves that have not ended then are left to source
// and target; their handles say so.
func (o *Orchestrator) Run(ctx context.Context) error {
	epCtx, stopEp := context.WithCancel(context.WithoutCancel(ctx))
	defer stopEp()
	epDone := make(chan error, 1)
	go func() { epDone <- o.ep.Run(epCtx) }()
	var err error
	select {
	case <-ctx.Done():
	case err = <-epDone:
		epDone <- err
	}
	o.mu.Lock() // no move is added after it
	o.cancel(ErrClosed)
	o.mu.Unlock()
	o.work.Wait()
	stopEp()
	if e := <-epDone; e != nil && !errors.Is(e, context.Canceled) {
		err = e
	}
	o.sender.Wait()
	return err
}

// mayRelay splices only between the two sides of a move that is driven here.
func (o *Orchestrator) mayRelay(_ context.Context, from, to identity.NodeID) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, h := range o.moves {
		s, t := identity.NodeID(h.req.Source), identity.NodeID(h.req.Target)
		if s == from && t == to || s == to && t == from {
			return nil
		}
	}
	return fmt.Errorf("no move between %v and %v is driven here", from, to)
}

// unoffered ends a move whose source or target has only the ten messages before
// anything is begun, or copied, there.
func (o *Orchestrator) unoffered(to proto0500.NodeID, e frame.Epoch, d proto0500.Origin, k proto0500.Kind) {
	o.mu.Lock()
	h := o.moves[d]
	o.mu.Unlock()
	if h != nil {
		h.post(migration.Frame{From: to, Orchestrator: true, Epoch: e, Message: drive.Refusal(d, k)})
	}
}

// ErrPlainPeer: the node has only the ten messages of net-mesh, and can be asked
// nothing.
var ErrPlainPeer = drive.ErrPlainPeer

// RefusedError is a node's no to a question or an order; see proto0500.Rejected.
type RefusedError = drive.RefusedError

// Query asks a node what it is for each daemon that it knows. A node that does
// not let this one ask refuses with a *RefusedError.
func (o *Orchestrator) Query(ctx context.Context, node identity.NodeID) ([]proto0500.Report, error) {
	ctx, cancel := context.WithTimeout(ctx, o.cfg.QueryTimeout)
	defer cancel()
	sess, err := o.ep.Session(ctx, node)
	if err != nil {
		return nil, err
	}
	return o.queries.Ask(ctx, sess, o.cfg.Limits)
}

// handler is the orchestrator as the transport sees it.
type handler struct{ o *Orchestrator }

// Opened keeps the peer's hello, and tells the moves that a node is back.
func (t handler) Opened(s *transport.Session, hello []byte) error {
	if hello != nil {
		var m proto0500.Hello
		if err := m.Decode(hello, &t.o.cfg.Limits); err != nil {
			return err
		}
		s.SetValue(m)
	}
	for _, h := range t.o.handles() {
		h.post(migration.Reconnected{Peer: proto0500.NodeID(s.Peer())})
	}
	return nil
}

// Closed tells the moves that a node is gone.
func (t handler) Closed(s *transport.Session, _ error) {
	if _, alive := t.o.ep.Live(s.Peer()); alive {
		return
	}
	for _, h := range t.o.handles() {
		h.post(migration.PeerLost{Peer: proto0500.NodeID(s.Peer())})
	}
}

// Control routes a control frame to the move it is about.
func (t handler) Control(s *transport.Session, f frame.Frame) {
	m, err := proto0500.Decode(slices.Clone(f.Message()), &t.o.cfg.Limits)
	if err != nil {
		t.o.refused.Warn("malformed control message", s.Peer().String(), "node", s.Peer(), "err", err)
		s.Close(err)
		return
	}
	from := proto0500.NodeID(s.Peer())
	if t.o.queries.Take(from, f.Epoch(), m) {
		return
	}
	t.o.orders.take(from, f.Epoch(), m)
	t.o.mu.Lock()
	h := t.o.moves[m.Origin()]
	t.o.mu.Unlock()
	if h == nil {
		return
	}
	t.o.tell(h, s, from, f.Epoch(), m, len(f.Message()))
}

// Stream refuses: no bulk is meant for an orchestrator.
func (t handler) Stream(_ *transport.Session, st *transport.Stream) {
	st.Cancel(transport.CodeRefused)
}

func (o *Orchestrator) handles() []*Handle {
	o.mu.Lock()
	defer o.mu.Unlock()
	list := make([]*Handle, 0, len(o.moves))
	for _, h := range o.moves {
		list = append(list, h)
	}
	return list
}
