package transport

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"ferry/frame"
	"ferry/identity"
)

// A control stream begins with the prefix (from the dialer only), then from each side its preamble and its hello
// frame, the dialer's first. After that, frames in both directions.

// controlBufferBytes is the read buffer of a control stream; its frames are small.
const controlBufferBytes = 4 << 10

// hail is what opens a session, apart from what it runs over.
type hail struct {
	ch      channel
	control pipe
	carrier carrier
	name    string // of the peer, where known
	addr    string
	relay   identity.NodeID // 0: none
	accepts bool            // we take connections at the address this comes from
	// bind is called before the peer can know of the session.
	bind func(s *Session, peerAccepts bool)
	// opened is called when the handler has opened the session, or with the reason why there is none.
	opened func(s *Session, err error)

	unbound func() // set by bound
}

// dialSession makes the session in which we are the dialer; prefix and whatever stands before it have been written. It
// returns when the handler has opened it. Nil want: any peer that is admitted.
func (e *Endpoint) dialSession(ctx context.Context, h hail, want ed25519.PublicKey) (*Session, error) {
	h.bound(ctx, e.cfg.DialTimeout)
	defer h.unbound()
	tok := newToken()
	if err := e.sayHello(h, tok, identity.Dialer); err != nil {
		return nil, err
	}
	in := bufio.NewReaderSize(h.control, controlBufferBytes)
	p, err := readPreamble(in)
	if err != nil {
		return nil, err
	}
	if err := h.ch.verify(p, identity.Acceptor); err != nil {
		return nil, err
	}
	if want != nil && !want.Equal(p.key) {
		return nil, fmt.Errorf("%w: %w", ErrWrongKey, &identity.PinError{Want: want, Got: p.key})
	}
	if want == nil {
		if err := e.admit(ctx, p.key); err != nil {
			return nil, err
		}
	}
	if p.token != tok {
		return nil, fmt.Errorf("%w: the acceptor's preamble is for another session", ErrMalformed)
	}
	return e.establish(h, p, in, nil)
}

// acceptSession makes the session in which the peer is the dialer; its prefix has been read.
func (e *Endpoint) acceptSession(ctx context.Context, h hail) (*Session, error) {
	h.bound(ctx, e.cfg.DialTimeout)
	defer h.unbound()
	in := bufio.NewReaderSize(h.control, controlBufferBytes)
	p, err := readPreamble(in)
	if err != nil {
		return nil, err
	}
	if err := h.ch.verify(p, identity.Dialer); err != nil {
		return nil, err
	}
	// TLS has asked this before, except where it is the caller's. Asked again, it also sees who was struck off since.
	if err := e.admit(ctx, p.key); err != nil {
		return nil, err
	}
	return e.establish(h, p, in, func() error { return e.sayHello(h, p.token, identity.Acceptor) })
}

// establish reads the peer's hello and starts the session. answer is sent when the session can be found, because the
// peer may then use it.
func (e *Endpoint) establish(h hail, p *preamble, in *bufio.Reader, answer func() error) (*Session, error) {
	if identity.NodeIDOf(p.key) == e.id {
		return nil, fmt.Errorf("%w: the peer has our own key", ErrSelf)
	}
	s := e.newSession(p, h.carrier, h.control, in, h.name, h.addr)
	s.relay, s.relayed = h.relay, h.relay != 0
	if s.name == "" {
		s.name = e.NameOf(s.peer)
	}
	var hello []byte
	if p.hello {
		f, err := s.reader.Next()
		if err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		if f.Epoch() != 0 {
			return nil, fmt.Errorf("%w: a hello with epoch %d", ErrMalformed, f.Epoch())
		}
		hello = f.Message()
	}
	if h.bind != nil {
		h.bind(s, p.accepts)
	}
	var err error
	if answer != nil {
		err = answer()
	}
	h.unbound()
	if err = errors.Join(err, h.control.SetDeadline(time.Time{})); err != nil {
		s.cancel(s.error(err, false))
		e.withdraw(s)
		return nil, err
	}
	done := make(chan error, 1)
	s.start(hello, func(err error) {
		if h.opened != nil {
			h.opened(s, err)
		}
		done <- err
	})
	if err := <-done; err != nil {
		return nil, err
	}
	return s, nil
}

func (e *Endpoint) sayHello(h hail, tok token, role identity.ChannelRole) error {
	sig, err := identity.SignChannel(e.cfg.Key, h.ch.exporter, role)
	if err != nil {
		return err
	}
	p := preamble{key: e.cfg.Key.Public(), token: tok, accepts: h.accepts}
	copy(p.signature[:], sig)
	var hello []byte
	if e.cfg.Hello != nil {
		hello = e.cfg.Hello()
		p.hello = true
	}
	b := p.append(nil)
	if p.hello {
		if b, err = frame.Append(b, 0, hello, &e.cfg.Limits); err != nil {
			return err
		}
	}
	_, err = h.control.Write(b)
	return err
}

// bound lets the handshake last until ctx ends or timeout has passed. When unbound has returned, ctx has no effect any
// more: whoever cancels it once there is a session must not hit the session.
func (h *hail) bound(ctx context.Context, timeout time.Duration) {
	h.control.SetDeadline(time.Now().Add(timeout))
	expired := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(expired)
		h.control.SetDeadline(time.Now())
	})
	h.unbound = sync.OnceFunc(func() {
		if !stop() {
			<-expired
		}
	})
}

func readPreamble(in io.Reader) (*preamble, error) {
	var b [preambleBytes]byte
	if _, err := io.ReadFull(in, b[:]); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return parsePreamble(b[:])
}

// readPrefix reads what is missing of a prefix that begins with head.
func readPrefix(head []byte, in io.Reader) (prefix, error) {
	var b [PrefixBytes]byte
	n := copy(b[:], head)
	if n < len(head) {
		return prefix{}, errors.New("transport: more than a prefix was read from the stream")
	}
	if _, err := io.ReadFull(in, b[n:]); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return prefix{}, err
	}
	return parsePrefix(b[:])
}
