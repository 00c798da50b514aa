package transport

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"ferry/frame"
	"ferry/identity"
)

const (
	relayHeaderBytes = 10

	roleSplice  = 1 // to a relay: pass this on to node
	roleSpliced = 2 // from a relay: this comes from node
)

// relayHeader follows the prefix of a stream of kind Relay. After it come opaque bytes.
//
//	off size field
//	  0    8  node    role 1: who shall get it; role 2: who the relay says it is from, which TLS inside will prove
//	  8    1  role    1: splice this to node; 2: this is spliced from node
//	  9    1  bulk    1: it carries a lane, and belongs on a further connection; 0: it does not
type relayHeader struct {
	node identity.NodeID
	role uint8
	bulk bool
}

func (h relayHeader) append(dst []byte) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, uint64(h.node))
	var bulk byte
	if h.bulk {
		bulk = 1
	}
	return append(dst, h.role, bulk)
}

func parseRelayHeader(b [relayHeaderBytes]byte) (relayHeader, error) {
	h := relayHeader{node: identity.NodeID(binary.LittleEndian.Uint64(b[:])), role: b[8], bulk: b[9] == 1}
	if h.role != roleSplice && h.role != roleSpliced {
		return relayHeader{}, fieldError(ErrMalformed, "relay header", "role", 8, fmt.Errorf("%w: %d", frame.ErrUnknown, h.role))
	}
	if b[9] > 1 {
		return relayHeader{}, fieldError(ErrMalformed, "relay header", "bulk", 9, fmt.Errorf("%w: %d is neither 0 nor 1", frame.ErrValue, b[9]))
	}
	return h, nil
}

// openRelay opens a stream of kind Relay on a session.
func (s *Session) openRelay(ctx context.Context, h relayHeader, at place) (*Stream, error) {
	st, err := s.open(ctx, prefix{kind: Relay}, at)
	if err != nil {
		return nil, err
	}
	if _, err := st.Write(h.append(nil)); err != nil {
		st.Cancel(CodeCanceled)
		return nil, err
	}
	return st, nil
}

// serveRelay handles a stream of kind Relay that the peer of s has opened, to its end. s is a direct session: inside a
// splice there is no stream of kind Relay (takeSpliced), so relays do not chain.
func (e *Endpoint) serveRelay(s *Session, p pipe, conn uint8) error {
	st, err := s.add(&Stream{p: p, kind: Relay, conn: conn})
	if err != nil {
		return err
	}
	p.SetReadDeadline(time.Now().Add(e.cfg.DialTimeout))
	var b [relayHeaderBytes]byte
	_, err = io.ReadFull(st, b[:])
	if err == nil {
		p.SetReadDeadline(time.Time{})
		var h relayHeader
		if h, err = parseRelayHeader(b); err == nil {
			if h.role == roleSplice {
				err = e.spliceTo(st, h)
			} else {
				err = e.takeSpliced(st, h)
			}
		}
	}
	if err != nil {
		st.Cancel(refusalCode(err))
		e.cfg.Log.Warn("relayed stream refused", slog.String("from", nodeName(s.peer, s.name, s.addr)), slog.Any("cause", err))
		return nil
	}
	return nil
}

// spliceTo is the relay itself: it copies between from and a stream to the node that is asked for.
func (e *Endpoint) spliceTo(from *Stream, h relayHeader) error {
	if e.cfg.Relay == nil {
		return fmt.Errorf("%w: this node splices for nobody", ErrNoRelay)
	}
	if err := e.cfg.Relay(e.ctx, from.Peer(), h.node); err != nil {
		return fmt.Errorf("%w: %w", ErrNoRelay, err)
	}
	e.mu.Lock()
	if e.splices >= splicesMax {
		e.mu.Unlock()
		return fmt.Errorf("%w: %d streams are spliced already", ErrOverload, splicesMax)
	}
	e.splices++
	e.mu.Unlock()
	defer func() {
		e.mu.Lock()
		e.splices--
		e.mu.Unlock()
	}()
	ctx, cancel := context.WithTimeout(e.ctx, 2*e.cfg.DialTimeout)
	defer cancel()
	s, err := e.directSession(ctx, h.node)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoPath, err)
	}
	to, err := s.openRelay(ctx, relayHeader{node: from.Peer(), role: roleSpliced, bulk: h.bulk},
		place{bulk: h.bulk, slot: max(from.conn, 1) - 1})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoPath, err)
	}
	e.splice(from, to)
	return nil
}

// directSession never goes through another relay.
func (e *Endpoint) directSession(ctx context.Context, id identity.NodeID) (*Session, error) {
	s, err := e.Session(ctx, id)
	if err == nil && s.relayed {
		return nil, fmt.Errorf("%w: node %v is itself behind a relay", ErrNoRelay, id)
	}
	return s, err
}

// spliceBufferBytes is what a splice holds per direction; the windows of the two streams come to it.
const spliceBufferBytes = 32 << 10

// splice copies both ways until both have ended. An end in good order and a reset each go on to the other side, per
// direction; when either session ends, both streams do.
func splice(a, b *Stream) {
	var wg sync.WaitGroup
	ended := make(chan struct{})
	wg.Go(func() { passOn(b, a) })
	wg.Go(func() { passOn(a, b) })
	var watch sync.WaitGroup
	watch.Go(func() {
		select {
		case <-a.s.Done():
		case <-b.s.Done():
		case <-ended:
			return
		}
		a.Cancel(CodeSession)
		b.Cancel(CodeSession)
	})
	wg.Wait()
	close(ended)
	watch.Wait()
	a.Close()
	b.Close()
}

func passOn(dst, src *Stream) {
	buf := make([]byte, spliceBufferBytes)
	for {
		n, err := src.p.Read(buf)
		if n > 0 {
			if _, werr := dst.p.Write(buf[:n]); werr != nil {
				src.p.cancelRead(passedCode(werr))
				src.endRead()
				dst.endWrite()
				return
			}
		}
		if err == io.EOF {
			dst.CloseWrite()
			src.endRead()
			return
		}
		if err != nil {
			dst.p.cancelWrite(passedCode(err))
			src.endRead()
			dst.endWrite()
			return
		}
	}
}

// passedCode is the code of a reset, or that the one side's session is gone.
func passedCode(err error) Code {
	if code, _, ok := resetCode(err); ok {
		return code
	}
	return CodeSession
}
