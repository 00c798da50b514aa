package daemon

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"ferry/frame"
	"ferry/identity"
	"ferry/proto0500"
	"ferry/snapshot"
	"ferry/transport"
)

// inbound is the target's data plane of one attempt. Chunks are placed in the
// state's file as the lanes bring them; the event stream is not read before the
// daemon is restored, so that the flow control of its stream, and not our
// memory, holds what the source ships meanwhile.
type inbound struct {
	h      *Host
	s      *steward
	origin proto0500.Origin
	epoch  frame.Epoch
	source proto0500.NodeID
	orch   proto0500.NodeID
	dir    string
	room   *room
	stats  *moveStats

	recipient *identity.Recipient // for whom the daemon's key is sealed
	entity    ed25519.PublicKey   // whose key that must be

	ctx    context.Context
	cancel context.CancelCauseFunc
	work   sync.WaitGroup // streams being served, restore, progress

	restored chan struct{} // closed when events may be replayed
	flush    flusher       // the steward's
	born     time.Time     // its monotonic time counts: the wall clock may be set meanwhile
	begun    atomic.Int64  // when the restore began, ns since born; 0: it has not, or is over

	mu       sync.Mutex
	transfer proto0500.Transfer // as announced; Size 0: not yet
	final    bool
	placer   *snapshot.Placer
	state    *stateFile
	ready    chan struct{} // closed when placer is there
	finished bool
	sess     *transport.Session // of the last Transfer
	asked    bool               // it was a final one, and is not answered yet
	broken   bool               // a lane of it has broken since the source was told what is here
	lanes    map[*transport.Stream]struct{}
	rep      *replica // restored and not taken yet

	turn      turn // at the base
	searching bool // for what is here already
	waiting   bool // a Transfer is answered when it is found
	base      *snapshot.Base
	opened    *openedBase        // what base reads
	told      *transport.Session // the source knows of the base by it
}

// incomingFile is where the state lies while its chunks come in.
const incomingFile = "incoming"

// errDropped ends the streams of an attempt that is over.
var errDropped = errors.New("the attempt is over")

func newInbound(s *steward, epoch frame.Epoch, source, orchestrator proto0500.NodeID, dir string, recipient *identity.Recipient) (*inbound, error) {
	state, err := createStateFile(filepath.Join(dir, incomingFile))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(s.h.ctx)
	in := &inbound{
		h: s.h, s: s, origin: s.origin, epoch: epoch, source: source, orch: orchestrator,
		dir: dir, turn: s.nextTurn(), room: s.room, state: state, stats: new(moveStats), ctx: ctx, cancel: cancel,
		recipient: recipient, entity: s.desc.PublicKey, flush: newFlusher(dir),
		born: time.Now(), lanes: make(map[*transport.Stream]struct{}), restored: make(chan struct{}), ready: make(chan struct{}),
	}
	in.work.Go(in.tellProgress)
	return in, nil
}

// announce takes the source's Transfer: the first opens the snapshot, further
// ones ask what has arrived, and the final one brings the digest of all chunks.
// Each is answered over the session that it came over.
func (in *inbound) announce(t proto0500.Transfer, sess *transport.Session) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.placer == nil {
		if t.Final {
			return errors.New("the final transfer came before the first")
		}
		if err := in.open(t); err != nil {
			return err
		}
		in.transfer = t
		close(in.ready)
		if kind, ok := in.h.kinds[in.s.desc.Kind]; ok && wantsBase(sess.Value()) {
			in.searching = true
			in.work.Go(func() { in.search(kind, in.s.env()) })
		}
	}
	same := t
	same.Final, same.Digest = in.transfer.Final, in.transfer.Digest
	if same != in.transfer {
		return errors.New("a second, different transfer in one epoch")
	}
	in.sess = sess
	if t.Final {
		in.transfer.Digest, in.final, in.asked = t.Digest, true, true
		in.settle()
	} else {
		in.asked, in.broken = false, false
		if in.waiting = in.searching; !in.waiting {
			in.answer()
		}
	}
	return nil
}

// answer tells the source what has arrived. The caller holds mu.
func (in *inbound) answer() {
	status := proto0500.TransferStatus{
		DaemonOrigin: in.origin, SeqThrough: in.transfer.SeqThrough,
		Ranges: proto0500.RangesOf(slices.Collect(in.placer.Held())...),
	}
	if in.rep != nil {
		status.EventsThrough = in.rep.head.Load().Seq
	}
	if in.told != in.sess && !in.placer.Done() {
		in.told = in.sess
		for m := range in.base.Haves(in.origin, in.transfer.SeqThrough) {
			if err := send(in.sess, in.epoch, m); err != nil {
				return // the session has ended, and the source asks again
			}
		}
	}
	if err := send(in.sess, in.epoch, status); err != nil {
		in.s.log.Debug("transfer status not sent", "err", err)
	}
}

func (in *inbound) open(t proto0500.Transfer) error {
	version, err := snapshot.VersionFor(t.StateSize, true)
	if err != nil {
		return err
	}
	if t.Size > uint64(in.h.cfg.StateBytesMax) || t.StateSize > t.Size {
		return fmt.Errorf("%w: %d bytes, this node takes %d", snapshot.ErrTooLarge, t.Size, in.h.cfg.StateBytesMax)
	}
	if no := in.room.grow(t.Size); no != nil {
		return errors.New(no.text)
	}
	// What is not written is zeros, and takes no room on the disk.
	if err := in.state.f.Truncate(int64(t.StateSize)); err != nil {
		return err
	}
	in.placer, err = snapshot.NewPlacer(snapshot.PlacerConfig{
		Origin: in.origin, SeqThrough: t.SeqThrough, Version: version,
		Size: int64(t.Size), StateSize: int64(t.StateSize), ChunkBytes: t.ChunkSize,
		State: in.state, StateZeroed: true, Limits: in.h.cfg.Limits, SizeMax: in.h.cfg.StateBytesMax,
		AfterBytes: newWriteback(in.state.f).wrote,
	})
	if err != nil {
		return err
	}
	in.state.size = int64(t.StateSize)
	in.stats.set(proto0500.CounterStateBytes, t.StateSize)
	return nil
}

// serveLane places chunks until the lane ends. Its first frame has been read
// by the caller, to find this attempt by it.
func (in *inbound) serveLane(st *transport.Stream, r *frame.Reader, f frame.Frame) error {
	leave, ok := in.enter(st)
	if !ok {
		return errDropped
	}
	defer leave()
	whole := false
	defer func() { in.laneEnded(st, whole) }()
	select {
	case <-in.ready:
	case <-in.ctx.Done():
		return context.Cause(in.ctx)
	}
	unpacker := snapshot.NewUnpacker(in.placer, in.find())
	for {
		// What comes twice, over an old session and a new one, counts once.
		bytes, fresh, err := in.place(unpacker, f)
		if err != nil {
			if _, ok := errors.AsType[*snapshot.ChunkError](err); ok {
				in.s.fail(in.ctx, in.epoch, fmt.Errorf("chunk: %w", err))
			}
			return err
		}
		if fresh {
			in.stats.lane(st.Lane(), uint64(bytes))
			in.stats.add(proto0500.CounterBytesWire, uint64(frame.HeaderBytes+len(f.Message())))
		}
		if in.placer.Done() {
			in.mu.Lock()
			in.settle()
			in.mu.Unlock()
		}
		if f, err = r.Next(); err != nil {
			if err == io.EOF {
				whole = true
				return nil
			}
			return err
		}
	}
}

// place puts the chunk of a frame where it belongs; it stands for so many bytes.
func (in *inbound) place(u *snapshot.Unpacker, f frame.Frame) (bytes int, fresh bool, err error) {
	msg, lim := f.Message(), &in.h.cfg.Limits
	if len(msg) > 0 && proto0500.Kind(msg[0]) == proto0500.KindChunk {
		var m proto0500.Chunk
		if err = m.Decode(msg, lim); err == nil {
			err = in.mine(m.DaemonOrigin, f.Epoch())
		}
		if err == nil {
			fresh, err = u.Place(&m)
		}
		return int(m.RawLen), fresh, err
	}
	var m proto0500.SnapshotReady
	if err = m.Decode(msg, lim); err == nil {
		err = in.mine(m.DaemonOrigin, f.Epoch())
	}
	if err == nil {
		fresh, err = in.placer.Place(&m)
	}
	return len(m.SnapshotBytes), fresh, err
}

func (in *inbound) mine(o proto0500.Origin, e frame.Epoch) error {
	if e != in.epoch || o != in.origin {
		return fmt.Errorf("chunk of daemon %016x, epoch %d in a lane of %016x, %d", o, e, in.origin, in.epoch)
	}
	return nil
}

// find is what the source has been told of; nil: nothing.
func (in *inbound) find() snapshot.Held {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.base == nil {
		return nil
	}
	return in.base.Find
}

// laneEnded: where one has broken while its session lives, the source is told
// once the others are through.
func (in *inbound) laneEnded(st *transport.Stream, whole bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	delete(in.lanes, st)
	in.broken = in.broken || !whole && st.Session() == in.sess
	in.settle()
}

// settle answers the final Transfer once no more chunks come, and ends the
// transfer once every chunk and the digest are there. The caller holds mu.
func (in *inbound) settle() {
	if in.placer == nil {
		return
	}
	if in.asked && (in.placer.Done() || in.broken && in.idle()) {
		in.asked = false
		in.answer()
	}
	if in.finished || !in.final || !in.placer.Done() || in.ctx.Err() != nil {
		return
	}
	in.finished = true
	in.begun.Store(int64(max(time.Since(in.born), 1)))
	in.work.Go(func() {
		res, err := in.placer.Finish(in.transfer.Digest)
		if err == nil {
			err = in.takeKey(res)
		}
		if err == nil {
			err = in.state.f.Sync()
		}
		if err != nil {
			in.s.fail(in.ctx, in.epoch, err)
			return
		}
		base := Head{Seq: res.Header.ThroughSeq, Link: res.Header.ChainLink, Hash: in.transfer.HeadHash}
		in.s.snapshotComplete(in, base)
	})
}

// idle: no lane of the source's session is being read.
func (in *inbound) idle() bool {
	for st := range in.lanes {
		if st.Session() == in.sess {
			return false
		}
	}
	return true
}

// restore opens the daemon on the state that came.
func (in *inbound) restore(kind Kind, env Env, base Head) {
	in.work.Go(func() {
		rep, err := restoreReplica(kind, in.dir, env, in.state, base)
		if err != nil {
			in.s.fail(in.ctx, in.epoch, err)
			return
		}
		in.mu.Lock()
		in.rep = rep
		in.mu.Unlock()
		in.stats.took(proto0500.CounterRestoreNs, time.Since(in.born)-time.Duration(in.begun.Swap(0)))
		in.s.restoredReplica(in, rep)
	})
}

// take gives the restored daemon away.
func (in *inbound) take() *replica {
	in.mu.Lock()
	defer in.mu.Unlock()
	rep := in.rep
	in.rep = nil
	return rep
}

// serveEvents replays the source's events in order, each frame wholly before
// the next is read.
func (in *inbound) serveEvents(st *transport.Stream, r *frame.Reader, f frame.Frame) error {
	leave, ok := in.enter(st)
	if !ok {
		return errDropped
	}
	defer leave()
	select {
	case <-in.restored:
	case <-in.ctx.Done():
		return context.Cause(in.ctx)
	}
	for {
		if f.Epoch() != in.epoch {
			return fmt.Errorf("epoch %d on the event stream of %d", f.Epoch(), in.epoch)
		}
		m, err := proto0500.Decode(f.Message(), &in.h.cfg.Limits)
		if err != nil {
			return err
		}
		if m.Origin() != in.origin {
			return fmt.Errorf("daemon %016x on the event stream of %016x", m.Origin(), in.origin)
		}
		switch m := m.(type) {
		case proto0500.BufferedEvents, proto0500.Seal:
			if err := in.s.replay(in, m); err != nil {
				return err
			}
		default:
			return fmt.Errorf("%v on an event stream", m.Kind())
		}
		if f, err = r.Next(); err != nil {
			if err == io.EOF {
				return nil
			}
			return err // the source comes back over another session, or ends the attempt
		}
	}
}

// tellProgress tells the orchestrator, and the source, which sees nothing of a
// long restore itself.
func (in *inbound) tellProgress() {
	t := time.NewTicker(progressEvery)
	defer t.Stop()
	for {
		select {
		case <-in.ctx.Done():
			return
		case <-t.C:
			in.count()
			in.h.sendProgress(in.orch, in.origin, in.epoch, in.stats)
			in.h.sendProgress(in.source, in.origin, in.epoch, in.stats)
		}
	}
}

// restoresMax is for how many times the attempt's timeout a restore counts as
// progress: only the author's code could tell whether it is.
const restoresMax = 10

func (in *inbound) count() {
	if begun := in.begun.Load(); begun != 0 {
		took := time.Since(in.born) - time.Duration(begun)
		in.stats.took(proto0500.CounterRestoreNs, min(took, restoresMax*in.h.cfg.AttemptTimeout))
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.placer != nil {
		in.stats.set(proto0500.CounterBytesDone, uint64(in.placer.BytesPlaced()))
		in.room.wrote(uint64(in.placer.BytesPlaced()))
		in.stats.set(proto0500.CounterChunksDone, uint64(in.placer.ChunksPlaced()))
	}
}

// enter counts a stream in, so that end waits for it, and ends its reads when
// the attempt ends.
func (in *inbound) enter(st *transport.Stream) (leave func(), ok bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.ctx.Err() != nil {
		return nil, false
	}
	if st.Kind() == transport.Lane {
		in.lanes[st] = struct{}{}
	}
	in.work.Add(1)
	stop := context.AfterFunc(in.ctx, func() { st.Cancel(transport.CodeCanceled) })
	return func() { stop(); in.work.Done() }, true
}

// stop ends the data plane: nobody enters after it.
func (in *inbound) stop(cause error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.cancel(cause)
}

// end waits until the data plane has stopped. It gives the restored daemon, if
// there is one that nobody took.
func (in *inbound) end() *replica {
	in.work.Wait()
	_ = in.state.close()
	if in.opened != nil {
		if err := in.opened.close(); err != nil {
			in.s.log.Warn("what was here before closed with an error", "err", err)
		}
	}
	return in.take()
}
