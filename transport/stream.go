package transport

import (
	"errors"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"

	"ferry/identity"
)

// Stream is one stream of a session. One goroutine may read while another writes; Cancel and the deadlines may be
// called from any.
//
// Write returns when the bytes are handed to the connection, and blocks while the peer's windows are full: that is the
// back-pressure. Read and Write end when the stream is reset, which gives a *StreamError, when the session ends, which
// gives its *SessionError, or at a deadline. The context of OpenStream ends neither.
type Stream struct {
	s    *Session
	p    pipe
	kind Kind
	lane uint8
	conn uint8

	// halves counts the directions that have not ended; at zero the session forgets the stream.
	halves    atomic.Int32
	readDone  atomic.Bool
	writeDone atomic.Bool
	onEnd     func() // may be nil
}

// Kind is what the stream was opened as: Events or Lane.
func (st *Stream) Kind() Kind { return st.kind }

// Lane is the number the lane was opened with; 0 for another kind.
func (st *Stream) Lane() uint8 { return st.lane }

// Peer is the node at the other end, also where a relay is between.
func (st *Stream) Peer() identity.NodeID { return st.s.peer }

// Session is the session that the stream belongs to.
func (st *Stream) Session() *Session { return st.s }

// Conn numbers the connection under the stream, for statistics: 0 is the control connection, or a relay.
func (st *Stream) Conn() uint8 { return st.conn }

// Read reads what the peer has written, and gives io.EOF where the peer has finished in good order.
func (st *Stream) Read(b []byte) (int, error) {
	n, err := st.p.Read(b)
	if err == nil {
		return n, nil
	}
	if err == io.EOF {
		st.endRead()
		return n, io.EOF
	}
	return n, st.explain(err)
}

// Write writes all of b or returns an error. It keeps no reference to b.
func (st *Stream) Write(b []byte) (int, error) {
	n, err := st.p.Write(b)
	if err != nil {
		return n, st.explain(err)
	}
	return n, nil
}

// CloseWrite finishes what we write: the peer reads io.EOF after it. To know that the peer has taken everything, read
// to io.EOF. A stream counts against the peer's limits until both directions have ended: read to io.EOF too, or Close.
func (st *Stream) CloseWrite() error {
	err := st.p.CloseWrite()
	st.endWrite()
	if err != nil {
		return st.explain(err)
	}
	return nil
}

// Close finishes what we write and refuses what was not read. What was written still arrives, if the session lives
// long enough.
func (st *Stream) Close() error {
	var err error
	if !st.writeDone.Load() {
		err = st.CloseWrite()
	}
	if !st.readDone.Load() {
		st.p.cancelRead(CodeCanceled)
		st.endRead()
	}
	return err
}

// Cancel resets both directions: the peer's reads and writes fail with code. What has not been delivered is lost.
func (st *Stream) Cancel(code Code) {
	cancelBoth(st.p, code)
	st.endRead()
	st.endWrite()
}

// SetDeadline bounds Read and Write, also such as are under way; zero is no bound.
func (st *Stream) SetDeadline(t time.Time) error { return st.p.SetDeadline(t) }

// SetReadDeadline bounds Read.
func (st *Stream) SetReadDeadline(t time.Time) error { return st.p.SetReadDeadline(t) }

// SetWriteDeadline bounds Write. On a relayed stream, a Write that was cut short ends the writing for good.
func (st *Stream) SetWriteDeadline(t time.Time) error { return st.p.SetWriteDeadline(t) }

func (st *Stream) endRead() {
	if !st.readDone.Swap(true) {
		st.endHalf()
	}
}

func (st *Stream) endWrite() {
	if !st.writeDone.Swap(true) {
		st.endHalf()
	}
}

func (st *Stream) endHalf() {
	if st.halves.Add(-1) == 0 {
		st.s.forget(st)
	}
}

func (st *Stream) explain(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	// The session's end resets its streams: then that is the reason, and not the reset.
	if cause := st.s.Err(); cause != nil {
		return cause
	}
	code, remote, ok := resetCode(err)
	if ok && code == CodeSession {
		ok = false // its session has ended at the peer, which we shall hear of ourselves
	}
	// A passing connection is closed when its streams have ended; this one was reset.
	if e, closed := errors.AsType[*quic.ApplicationError](err); closed && e.Remote && Code(e.ErrorCode) == CodeCanceled && st.conn != 0 {
		code, remote, ok = CodeCanceled, true, true
	}
	why, said := explain(err)
	if ok || errors.Is(why, ErrTampered) {
		if !ok {
			code, remote = CodeTampered, said
			cancelBoth(st.p, CodeTampered)
		}
		return &StreamError{Node: st.s.peer, Kind: st.kind, Lane: st.lane, Code: code, Remote: remote, Err: why}
	}
	return &SessionError{Node: st.s.peer, Name: st.s.name, Addr: st.s.addr, Remote: said, Err: why}
}
