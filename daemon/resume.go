package daemon

import (
	"context"
	"errors"
	"fmt"
	"time"

	"ferry/identity"
	"ferry/internal/drive"
	"ferry/proto0500"
	"ferry/snapshot"
	"ferry/transport"
)

// A connection that breaks does not end an attempt: while the two processes
// live, the source takes its session with the target again, asks what has
// arrived, and sends the rest. What the target has is for the target to say:
// nothing that was written to a stream counts as arrived.
//
// The target keeps its attempt meanwhile. It ends by the source's own word, or
// when there was no progress for Config.AttemptTimeout.

// lostError is a session or stream that broke: nothing is wrong with what was
// sent over it.
type lostError struct{ err error }

func (e *lostError) Error() string { return e.err.Error() }
func (e *lostError) Unwrap() error { return e.err }

func lostBy(err error) error { return &lostError{err} }

// errTargetRestarted: what the target had of the attempt is gone.
var errTargetRestarted = errors.New("the target has restarted")

const (
	// resumeWait is between two tries, the first of several.
	resumeWait    = 20 * time.Millisecond
	resumeWaitMax = 500 * time.Millisecond
)

// overSessions ships over one session after the other.
func (o *outbound) overSessions(ctx context.Context) error {
	sess, hello, err := o.session(ctx)
	if err != nil {
		return err
	}
	var until time.Time // when we give up
	var wait time.Duration
	mark := o.mark()
	for first := true; ; first = false {
		err := o.overSession(ctx, sess, hello)
		lost, ok := errors.AsType[*lostError](err)
		if !ok || ctx.Err() != nil || o.h.cfg.ResumeFor < 0 {
			return err
		}
		if saidGoodbye(sess) {
			return fmt.Errorf("lost the target: %w", lost.err)
		}
		if now := o.mark(); first || now != mark {
			mark, wait, until = now, 0, time.Now().Add(o.patience(sess))
		}
		if sess, hello, err = o.sessionBy(ctx, until, &wait, lost.err); err != nil {
			return err
		}
		o.stats.add(proto0500.CounterResumes, 1)
		o.h.log.Info("going on over a new session", "origin", o.origin, "epoch", o.epoch, "target", sess.Peer(), "lost", lost.err)
	}
}

// mark is a number that changes when something arrives at the target.
func (o *outbound) mark() uint64 { return o.peer.Load() + o.arrived }

// patience is how long after a loss the way back may take. Through a relay it
// begins with a dial that fails, and the relay may have to come back first.
func (o *outbound) patience(sess *transport.Session) time.Duration {
	if sess.Relayed() {
		return 2 * o.h.cfg.ResumeFor
	}
	return o.h.cfg.ResumeFor
}

// saidGoodbye: the target's process has ended in good order, and all that it had
// of the attempt with it.
func saidGoodbye(sess *transport.Session) bool {
	e, ok := errors.AsType[*transport.SessionError](sess.Err())
	return ok && e.Remote && !sess.Relayed() && errors.Is(e, transport.ErrClosed)
}

// session takes a session with the target, of the process that has what was sent
// so far.
func (o *outbound) session(ctx context.Context) (*transport.Session, proto0500.Hello, error) {
	sess, err := o.h.ep.Session(ctx, identity.NodeID(o.target), identity.NodeID(o.orchestrator))
	if err != nil {
		return nil, proto0500.Hello{}, err
	}
	hello, ok := sess.Value().(proto0500.Hello)
	switch {
	case !ok:
		return nil, hello, fmt.Errorf("target: %w", drive.ErrPlainPeer)
	case o.met && hello.BootID != o.boot:
		return nil, hello, errTargetRestarted
	}
	o.met, o.boot = true, hello.BootID
	return sess, hello, nil
}

// sessionBy tries until until. wait is before the next try, and grows.
func (o *outbound) sessionBy(ctx context.Context, until time.Time, wait *time.Duration, lost error) (*transport.Session, proto0500.Hello, error) {
	trying, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	why := lost
	for {
		pause := time.NewTimer(*wait)
		select {
		case <-pause.C:
		case <-trying.Done():
			pause.Stop()
		}
		*wait = min(max(2**wait, resumeWait), resumeWaitMax)
		if trying.Err() == nil {
			sess, hello, err := o.session(trying)
			if err == nil || errors.Is(err, errTargetRestarted) {
				return sess, hello, err
			}
			if trying.Err() == nil {
				why = err
			}
		}
		switch {
		case ctx.Err() != nil:
			return nil, proto0500.Hello{}, context.Cause(ctx)
		case trying.Err() != nil && why == lost:
			return nil, proto0500.Hello{}, fmt.Errorf("lost the target: %w", lost)
		case trying.Err() != nil:
			return nil, proto0500.Hello{}, fmt.Errorf("lost the target: %w; then: %w", lost, why)
		}
	}
}

// targetStatus is an answer to Transfer, and the session it came over.
type targetStatus struct {
	sess  *transport.Session
	haves []proto0500.Have // that came before it
	proto0500.TransferStatus
}

// ask says what is being sent, and learns what has arrived.
func (o *outbound) ask(ctx context.Context, sess *transport.Session) (proto0500.TransferStatus, error) {
	if err := send(sess, o.epoch, o.announce); err != nil {
		return proto0500.TransferStatus{}, lostBy(err)
	}
	s, err := o.answer(ctx, sess, nil)
	if err != nil {
		return s, err
	}
	return s, o.take(s)
}

// answer waits for the target's answer over this session; one that was given
// over an earlier one is old. A tick of again, which may be nil, asks anew.
func (o *outbound) answer(ctx context.Context, sess *transport.Session, again <-chan time.Time) (proto0500.TransferStatus, error) {
	peer := o.peer.Load()
	for {
		select {
		case s := <-o.status:
			if s.sess == sess && s.SeqThrough == o.base.Seq {
				o.takeHaves(s.haves)
				return s.TransferStatus, nil
			}
		case <-again:
			// Chunks may be lost with the connection of their lane, and with
			// nobody's knowledge. While any come, the rest is on its way.
			if now := o.peer.Load(); now != peer {
				peer = now
			} else if err := send(sess, o.epoch, o.announce); err != nil {
				return proto0500.TransferStatus{}, lostBy(err)
			}
		case <-sess.Done():
			return proto0500.TransferStatus{}, lostBy(sess.Err())
		case <-ctx.Done():
			return proto0500.TransferStatus{}, context.Cause(ctx)
		}
	}
}

// takeHaves is what need not be sent but by its digest.
func (o *outbound) takeHaves(haves []proto0500.Have) {
	if len(haves) == 0 {
		return
	}
	o.have = snapshot.NewHaveSet(0)
	for i := range haves {
		o.have.Add(&haves[i])
	}
}

// take counts what has arrived. What arrived though its write failed is sent.
func (o *outbound) take(s proto0500.TransferStatus) error {
	o.arrived = uint64(s.EventsThrough)
	for r := range s.Ranges.All() {
		if uint64(r.First)+uint64(r.Chunks) > uint64(o.chunker.Total()) {
			return fmt.Errorf("the target has chunks through %d of %d", r.First+r.Chunks-1, o.chunker.Total())
		}
		o.arrived += uint64(r.Chunks)
		for i := r.First; i < r.First+r.Chunks; i++ {
			if !o.written[i] {
				o.written[i] = true
				o.stats.add(proto0500.CounterBytesDone, uint64(o.chunker.ChunkBytes(i)))
			}
		}
	}
	return nil
}
