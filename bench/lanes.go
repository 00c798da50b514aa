package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"ferry/frame"
	"ferry/proto0500"
	"ferry/snapshot"
	"ferry/transport"
)

// chunkBytes is what a host puts into a chunk by default.
const chunkBytes = 256 << 10

// lanesEnd is what both ends of the lanes have: an endpoint that runs.
type lanesEnd struct {
	ep    *transport.Endpoint
	peers table
	stop  context.CancelFunc
	ended chan error
}

func (e *lanesEnd) run(role string, cfg Config, h transport.Handler) (self transport.Address, err error) {
	key := keyOf(role)
	e.ep, err = transport.New(transport.Config{
		Key: key, Resolver: &e.peers, Handler: h, Lanes: cfg.Lanes, Connections: cfg.Connections,
	})
	if err != nil {
		return self, err
	}
	if err := e.ep.Listen("127.0.0.1:0"); err != nil {
		return self, err
	}
	ctx, stop := context.WithCancel(context.Background())
	e.stop, e.ended = stop, make(chan error, 1)
	go func() { e.ended <- e.ep.Run(ctx) }()
	return transport.Address{ID: e.ep.ID(), Name: role, Addr: e.ep.Addr().String(), Key: key.Public()}, nil
}

func (e *lanesEnd) close() error {
	if e.stop == nil {
		return nil
	}
	e.stop()
	return <-e.ended
}

// lanesSource sends a snapshot as a host does: announced on control, its chunks over the lanes, each lane taking the next
// one; then its digest.
type lanesSource struct {
	lanesEnd
	cfg     Config
	session *transport.Session
	answers chan answer
	epoch   frame.Epoch
}

type answer struct {
	epoch frame.Epoch
	err   error
}

func (s *lanesSource) do(ctx context.Context, o order) (r reply, err error) {
	switch o.Do {
	case "dial":
		s.cfg = o.Config
		s.answers = make(chan answer, 1)
		s.peers.set(o.Peer)
		// The sink admits whom it knows: it knows this key by its role.
		if _, err := s.run("lanes/source", o.Config, s); err != nil {
			return r, err
		}
		s.session, err = s.ep.Session(ctx, o.Peer.ID)
		return r, err
	case "send":
		began := time.Now()
		err := s.send(ctx)
		r.Sample = Sample{Bytes: s.cfg.Bytes, Seconds: time.Since(began).Seconds()}
		return r, err
	}
	return r, errNoOrder
}

func (s *lanesSource) send(ctx context.Context) error {
	lim := frame.Default()
	s.epoch++
	header := snapshot.Header{StateLen: uint64(s.cfg.Bytes), EntityID: [32]byte(keyOf("daemon").Public())}
	header.ChainLink = proto0500.Genesis(proto0500.Origin(keyOf("daemon").Origin()))
	origin := header.ChainLink.OriginHash
	var err error
	if header.Version, err = snapshot.VersionFor(header.StateLen, true); err != nil {
		return err
	}
	src, err := snapshot.NewSource(header, pattern(s.cfg.Bytes), nil, nil)
	if err != nil {
		return err
	}
	chunker, err := snapshot.NewChunker(origin, 0, src, src.Size(), chunkBytes, lim)
	if err != nil {
		return err
	}
	announce := proto0500.Transfer{DaemonOrigin: origin, Size: uint64(src.Size()), StateSize: header.StateLen, ChunkSize: chunkBytes}
	if err := sendMessage(s.session, s.epoch, announce); err != nil {
		return err
	}
	digests := snapshot.NewDigests(chunker.Total())
	var next atomic.Uint32
	g, ctx := errgroup.WithContext(ctx)
	for lane := range s.ep.Lanes() {
		g.Go(func() error {
			st, err := s.session.OpenStream(ctx, transport.Lane, uint8(lane))
			if err != nil {
				return err
			}
			defer st.Close()
			buf := make([]byte, 0, chunker.FrameBytesMax())
			for {
				i := next.Add(1) - 1
				if i >= chunker.Total() {
					return st.CloseWrite()
				}
				f, digest, err := chunker.AppendFrame(buf[:0], s.epoch, i)
				if err != nil {
					return err
				}
				if _, err := st.Write(f); err != nil {
					return err
				}
				digests.Set(i, digest)
			}
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	announce.Final, announce.Digest = true, digests.Sum()
	if err := sendMessage(s.session, s.epoch, announce); err != nil {
		return err
	}
	select {
	case a := <-s.answers:
		if a.err == nil && a.epoch != s.epoch {
			a.err = fmt.Errorf("answer to transfer %d, not %d", a.epoch, s.epoch)
		}
		return a.err
	case <-s.session.Done():
		return s.session.Err()
	}
}

// Opened implements transport.Handler, as the three below.
func (s *lanesSource) Opened(*transport.Session, []byte) error { return nil }

// Control takes the sink's answer.
func (s *lanesSource) Control(_ *transport.Session, f frame.Frame) {
	a := answer{epoch: f.Epoch()}
	lim := frame.Default()
	switch m, err := proto0500.Decode(f.Message(), &lim); m := m.(type) {
	case proto0500.RestoreComplete:
	case proto0500.MigrationFailed:
		a.err = errors.New("the sink says: " + m.Reason.String())
	default:
		a.err = fmt.Errorf("answer %T: %w", m, err)
	}
	s.answers <- a
}

// Stream refuses.
func (s *lanesSource) Stream(_ *transport.Session, st *transport.Stream) {
	st.Cancel(transport.CodeRefused)
}

// Closed has nothing to do: send sees it.
func (s *lanesSource) Closed(*transport.Session, error) {}

// lanesSink places chunks as a host does, into memory that it does not keep.
type lanesSink struct {
	lanesEnd

	mu       sync.Mutex
	begun    chan struct{} // closed when the next transfer begins
	epoch    frame.Epoch
	placer   *snapshot.Placer
	transfer proto0500.Transfer
	answered bool
}

func (s *lanesSink) do(_ context.Context, o order) (r reply, err error) {
	if o.Do != "start" {
		return r, errNoOrder
	}
	s.begun = make(chan struct{})
	source := keyOf("lanes/source")
	s.peers.set(transport.Address{ID: source.NodeID(), Key: source.Public()})
	r.Self, err = s.run("lanes/sink", o.Config, s)
	return r, err
}

// Opened implements transport.Handler, as the three below.
func (s *lanesSink) Opened(*transport.Session, []byte) error { return nil }

// Control begins a transfer, or learns its digest.
func (s *lanesSink) Control(session *transport.Session, f frame.Frame) {
	lim := frame.Default()
	var t proto0500.Transfer
	if err := t.Decode(f.Message(), &lim); err != nil {
		session.Close(err)
		return
	}
	s.mu.Lock()
	if !t.Final {
		version, err := snapshot.VersionFor(t.StateSize, true)
		if err == nil {
			s.placer, err = snapshot.NewPlacer(snapshot.PlacerConfig{
				Origin: t.DaemonOrigin, Version: version, Size: int64(t.Size), StateSize: int64(t.StateSize),
				ChunkBytes: t.ChunkSize, State: nowhere{}, Limits: lim,
			})
		}
		if err != nil {
			s.mu.Unlock()
			session.Close(err)
			return
		}
		s.answered, s.epoch = false, f.Epoch()
		close(s.begun)
		s.begun = make(chan struct{})
	}
	s.transfer = t
	s.mu.Unlock()
	s.settle(session)
}

// nowhere takes a state.
type nowhere struct{}

func (nowhere) WriteAt(b []byte, _ int64) (int, error) { return len(b), nil }

// Stream places the chunks of a lane.
func (s *lanesSink) Stream(session *transport.Session, st *transport.Stream) {
	if err := s.lane(session, st); err != nil && err != io.EOF {
		st.Cancel(transport.CodeOf(err))
	}
}

func (s *lanesSink) lane(session *transport.Session, st *transport.Stream) error {
	lim := frame.Default()
	r := frame.NewReader(st, lim)
	for {
		f, err := r.Next()
		if err != nil {
			return err
		}
		var m proto0500.SnapshotReady
		if err := m.Decode(f.Message(), &lim); err != nil {
			return err
		}
		placer := s.placerOf(f.Epoch(), session)
		if placer == nil {
			return transport.ErrCanceled
		}
		if _, err := placer.Place(&m); err != nil {
			return err
		}
		if placer.Done() {
			s.settle(session)
		}
	}
}

// placerOf waits for the transfer that a lane has overtaken.
func (s *lanesSink) placerOf(e frame.Epoch, session *transport.Session) *snapshot.Placer {
	for {
		s.mu.Lock()
		epoch, placer, begun := s.epoch, s.placer, s.begun
		s.mu.Unlock()
		switch {
		case epoch == e:
			return placer
		case epoch > e:
			return nil
		}
		select {
		case <-begun:
		case <-session.Done():
			return nil
		}
	}
}

// settle answers a transfer that is complete, once.
func (s *lanesSink) settle(session *transport.Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.answered || !s.transfer.Final || !s.placer.Done() {
		return
	}
	s.answered = true
	var m proto0500.Message = proto0500.RestoreComplete{DaemonOrigin: s.transfer.DaemonOrigin}
	if _, err := s.placer.Finish(s.transfer.Digest); err != nil {
		m = proto0500.MigrationFailed{DaemonOrigin: s.transfer.DaemonOrigin, Reason: proto0500.NewReason(proto0500.CodeStateFailed, err.Error())}
	}
	if err := sendMessage(session, s.epoch, m); err != nil {
		session.Close(err)
	}
}

// Closed has nothing to do.
func (s *lanesSink) Closed(*transport.Session, error) {}

func sendMessage(session *transport.Session, e frame.Epoch, m proto0500.Message) error {
	lim := frame.Default()
	b, err := m.Append(nil, &lim)
	if err != nil {
		return err
	}
	return session.Send(e, b)
}
