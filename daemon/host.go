package daemon

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/semaphore"

	"ferry/frame"
	"ferry/identity"
	"ferry/internal/drive"
	"ferry/internal/quiet"
	"ferry/journal"
	"ferry/migration"
	"ferry/proto0500"
	"ferry/transport"
)

// Host runs the daemons of one node: those its journal says it serves, those
// created on it, and those that move to it. Make it with New, give its Endpoint
// a way in (Listen, UseTransport or Attach), and call Run.
type Host struct {
	cfg     Config
	self    proto0500.NodeID
	boot    uint64 // tells this process from earlier ones of the node
	kinds   map[string]Kind
	log     *slog.Logger
	refused *quiet.Log
	inbox   *semaphore.Weighted // bytes of control messages that wait for stewards
	records drive.Records
	ep      *transport.Endpoint
	sender  *drive.Sender
	queries drive.Queries
	budgets budgets
	bases   bases
	pacer   *pacer // of all moves away from here
	admits  admission

	shipping atomic.Int32 // moves under way from here

	ctx    context.Context // ends when the host does
	cancel context.CancelCauseFunc
	ready  chan struct{} // closed when the recorded daemons are up

	mu       sync.RWMutex
	running  bool
	stewards map[proto0500.Origin]*steward
	byName   map[string][]*steward // never changed in place
	making   map[string]bool       // names that Create is at
	work     sync.WaitGroup        // stewards
}

// New makes a host and starts nothing.
func New(cfg Config) (*Host, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	var boot [8]byte
	if _, err := rand.Read(boot[:]); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	h := &Host{
		cfg: cfg, self: proto0500.NodeID(cfg.Key.NodeID()), boot: binary.LittleEndian.Uint64(boot[:]),
		kinds: make(map[string]Kind), log: cfg.Log, refused: quiet.New(cfg.Log), inbox: semaphore.NewWeighted(inboxBytesMax), records: drive.Records{J: cfg.Journal},
		bases: bases{dir: cfg.Dir, bytesMax: cfg.BaseBytesMax}, pacer: newPacer(cfg.RateLimit), ctx: ctx, cancel: cancel, ready: make(chan struct{}),
		stewards: make(map[proto0500.Origin]*steward),
		byName:   make(map[string][]*steward), making: make(map[string]bool),
		admits: admission{
			attemptsMax: cfg.AttemptsMax, bytesMax: uint64(max(cfg.IncomingBytesMax, 0)),
			disk: func() (free, total uint64, ok bool) { return diskFree(cfg.Dir) },
		},
	}
	for _, k := range cfg.Kinds {
		if _, twice := h.kinds[k.Name]; twice {
			return nil, fmt.Errorf("daemon: kind %q twice", k.Name)
		}
		k.memoryLogBytes = cfg.MemoryLogBytes
		h.kinds[k.Name] = k
	}
	tc := transport.Config{Limits: cfg.Limits, Lanes: cfg.Lanes, Log: cfg.Log}
	if cfg.Transport != nil {
		cfg.Transport(&tc)
	}
	tc.Key, tc.Resolver, tc.Handler = cfg.Key, cfg.Resolver, handler{h}
	tc.Hello = h.hello
	if tc.RelayFrom == nil {
		tc.RelayFrom = func(relay, _ identity.NodeID) error {
			if !cfg.Orchestrators.Allows(relay) {
				return fmt.Errorf("node %v may not orchestrate here", relay)
			}
			return nil
		}
	}
	ep, err := transport.New(tc)
	if err != nil {
		return nil, err
	}
	h.ep = ep
	h.sender = drive.NewSender(ep, cfg.Limits, cfg.Log)
	h.sender.Unoffered = h.unoffered
	return h, nil
}

// Endpoint is the host's transport, for Listen, UseTransport, Accept, Attach.
func (h *Host) Endpoint() *transport.Endpoint { return h.ep }

// Node is this node's id.
func (h *Host) Node() identity.NodeID { return identity.NodeID(h.self) }

// Ready is closed when every daemon of the journal is up.
func (h *Host) Ready() <-chan struct{} { return h.ready }

// Run starts the recorded daemons and serves until ctx ends. When it returns,
// every daemon is closed and nothing of the host runs any more. The journal
// stays open; it is the caller's.
func (h *Host) Run(ctx context.Context) error {
	h.mu.Lock()
	again := h.running
	h.running = true
	h.mu.Unlock()
	if again {
		return errors.New("daemon: Run called twice")
	}
	defer h.sender.Wait()
	booted, err := h.bootAll()
	if err != nil {
		return errors.Join(err, h.end())
	}
	select {
	case <-booted:
		close(h.ready)
	case <-ctx.Done():
		return h.end()
	}
	epCtx, stopEp := context.WithCancel(context.WithoutCancel(ctx))
	defer stopEp()
	epDone := make(chan error, 1)
	go func() { epDone <- h.ep.Run(epCtx) }()
	select {
	case <-ctx.Done():
	case err := <-epDone:
		h.stop()
		return err
	}
	h.stop() // the daemons first: their streams end before the sessions do
	stopEp()
	return <-epDone
}

// end is for a host that ends before it has served: a socket of its endpoint is
// closed all the same.
func (h *Host) end() error {
	h.stop()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return h.ep.Run(ctx)
}

// bootAll starts a steward for every record. booted is closed when all are up.
func (h *Host) bootAll() (booted <-chan struct{}, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := os.MkdirAll(h.cfg.Dir, 0o700); err != nil {
		return nil, err
	}
	if h.bases.bytesMax >= 0 {
		h.bases.evict(h.bases.bytesMax)
	}
	up := make(chan struct{})
	left := int64(1)
	done := func() {
		if atomic.AddInt64(&left, -1) == 0 {
			close(up)
		}
	}
	defer done()
	return up, h.records.Each(func(o proto0500.Origin, rec migration.Record) error {
		desc, err := h.records.Descriptor(o)
		if err != nil && !errors.Is(err, journal.ErrNotFound) {
			return err
		}
		s := newSteward(h, o, rec, desc)
		h.add(s)
		atomic.AddInt64(&left, 1)
		h.work.Go(func() { s.run(done) })
		return nil
	})
}

// add makes a steward known; the caller holds mu.
func (h *Host) add(s *steward) {
	h.stewards[s.origin] = s
	h.byName[s.name] = append(slices.Clip(h.byName[s.name]), s)
}

// stop ends the stewards, which close their daemons.
func (h *Host) stop() {
	h.mu.Lock() // no steward is added after it
	h.cancel(ErrClosed)
	h.mu.Unlock()
	h.work.Wait()
}

// Write appends an event to a daemon's chain and returns its sequence number
// once it is durable. While a move freezes the daemon here, or brings it here,
// the write waits until ctx ends. At a node that has given it away it gets a
// *MovedError. A caller whose ctx ended does not know an event's fate only if
// it was being written at that very moment; it then waits for that write.
func (h *Host) Write(ctx context.Context, name string, payload []byte) (proto0500.Seq, error) {
	for {
		s, err := h.find(ctx, name)
		if err != nil {
			return 0, err
		}
		g := s.gate.Load()
		switch {
		case g.w != nil:
			seq, err := g.w.write(ctx, payload)
			if !errors.Is(err, errWriterGone) {
				return seq, err
			}
		case g.park:
		default:
			return 0, g.err
		}
		select {
		case <-g.changed:
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
}

// Status is what this node is for a daemon.
type Status struct {
	Name   string
	Kind   string
	Origin proto0500.Origin
	// State is the record's, or that of the attempt under way.
	State proto0500.State
	// Authority: this node accepts the daemon's writes, now or as soon as a
	// freeze has ended.
	Authority bool
	Epoch     frame.Epoch
	Head      Head
	// Peer is the other side of the attempt, or where the daemon moved.
	Peer proto0500.NodeID
	// Daemon is the author's daemon whose state this node holds, or nil. It may
	// be closed at any time by a move that ends.
	Daemon Daemon
}

// Status tells what this node is for a daemon, by name.
func (h *Host) Status(ctx context.Context, name string) (Status, error) {
	s, err := h.find(ctx, name)
	if err != nil {
		return Status{}, err
	}
	return s.status(), nil
}

// List tells what this node is for each daemon that it knows, by name.
func (h *Host) List() []Status {
	var list []Status
	for _, s := range h.all() {
		list = append(list, s.status())
	}
	return list
}

// Query asks another node what it is for each daemon that it knows, until ctx
// ends. A node that does not let this one ask refuses with a *RefusedError; see
// Config.Askers.
func (h *Host) Query(ctx context.Context, node identity.NodeID) ([]proto0500.Report, error) {
	sess, err := h.ep.Session(ctx, node)
	if err != nil {
		return nil, err
	}
	return h.queries.Ask(ctx, sess, h.cfg.Limits)
}

func (h *Host) waitReady(ctx context.Context) error {
	select {
	case <-h.ready:
		if h.ctx.Err() != nil {
			return ErrClosed
		}
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-h.ctx.Done():
		return ErrClosed
	}
}

// find is the steward of a name: the one with most to say where an old record
// has the name too.
func (h *Host) find(ctx context.Context, name string) (*steward, error) {
	if err := h.waitReady(ctx); err != nil {
		return nil, err
	}
	named := h.named(name)
	if len(named) == 0 {
		return nil, fmt.Errorf("%w: %q", ErrUnknownDaemon, name)
	}
	rank := func(s *steward) int {
		g := s.gate.Load()
		switch {
		case g.w != nil:
			return 0
		case g.park:
			return 1
		}
		return 2
	}
	return slices.MinFunc(named, func(a, b *steward) int { return rank(a) - rank(b) }), nil
}

func (h *Host) named(name string) []*steward {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.byName[name]
}

func (h *Host) creating(name string) bool {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.making[name]
}

// each gives the stewards in any order, all by name.
func (h *Host) each() []*steward {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return slices.Collect(maps.Values(h.stewards))
}

func (h *Host) all() []*steward {
	list := h.each()
	slices.SortFunc(list, func(a, b *steward) int {
		return cmp.Or(strings.Compare(a.name, b.name), cmp.Compare(a.origin, b.origin))
	})
	return list
}

func (h *Host) steward(o proto0500.Origin) *steward {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.stewards[o]
}

func (h *Host) daemonDir(o proto0500.Origin) string {
	return filepath.Join(h.cfg.Dir, fmt.Sprintf("%016x", uint64(o)))
}

func (h *Host) authority(name string, o proto0500.Origin, node proto0500.NodeID, e frame.Epoch) {
	if h.cfg.OnAuthority != nil {
		h.cfg.OnAuthority(Authority{Name: name, Origin: o, Node: node, Epoch: e})
	}
}

// hello is what this node offers on every control stream.
func (h *Host) hello() []byte {
	b, err := proto0500.Hello{
		Version: proto0500.HelloVersion, Features: proto0500.FeatureCDS1v3 | proto0500.FeaturePace | proto0500.FeatureChunk,
		ChunkBytesMax: h.cfg.Limits.ChunkBytesMax, EventPayloadBytesMax: h.cfg.Limits.EventPayloadBytesMax,
		MessageBytesMax: h.cfg.Limits.MessageBytesMax, LanesMax: uint8(h.cfg.lanesMax()), BootID: h.boot,
	}.Append(nil, &h.cfg.Limits)
	if err != nil {
		panic("daemon: hello: " + err.Error())
	}
	return b
}

// agreed is what both this node and the peer of a hello take.
func (h *Host) agreed(hello proto0500.Hello) frame.Limits {
	lim := h.cfg.Limits
	lim.ChunkBytesMax = min(lim.ChunkBytesMax, hello.ChunkBytesMax)
	lim.EventPayloadBytesMax = min(lim.EventPayloadBytesMax, hello.EventPayloadBytesMax)
	lim.MessageBytesMax = min(lim.MessageBytesMax, hello.MessageBytesMax)
	return lim
}

// prepared is this node's yes to a Prepare.
func (s *steward) prepared() proto0500.Prepared {
	cfg := &s.h.cfg
	m := proto0500.Prepared{
		DaemonOrigin: s.origin, ChunkBytes: cfg.Limits.ChunkBytesMax,
		EventPayloadBytes: cfg.Limits.EventPayloadBytesMax,
		CreditBytes:       uint64(cfg.StateBytesMax), Lanes: uint8(cfg.lanesMax()),
	}
	if s.in != nil {
		m.SealingKey, m.Signature = s.in.recipient.Public, s.in.recipient.Signature
	}
	return m
}

// live: there is a session with the node.
func (h *Host) live(node proto0500.NodeID) bool {
	_, ok := h.ep.Live(identity.NodeID(node))
	return ok
}

// sendProgress tells a node that there is a session with how far a move is.
func (h *Host) sendProgress(to proto0500.NodeID, o proto0500.Origin, e frame.Epoch, stats *moveStats) {
	if to == h.self {
		h.ownProgress(o, e, stats)
		return
	}
	for _, sess := range h.ep.LiveAll(identity.NodeID(to)) {
		if err := send(sess, e, proto0500.Progress{DaemonOrigin: o, Counters: stats.values()}); err != nil {
			h.log.Debug("progress not sent", "err", err)
		}
	}
}
