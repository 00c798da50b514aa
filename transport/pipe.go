package transport

import (
	"io"
	"time"

	"github.com/quic-go/quic-go"
)

// pipe is a bidirectional byte stream: a QUIC stream, or TLS inside one that a relay splices.
type pipe interface {
	io.Reader
	io.Writer
	// CloseWrite ends what we write, in good order. Not concurrently with Write.
	CloseWrite() error
	// cancelRead refuses what is still to come, cancelWrite gives up what was not delivered yet. Nothing happens to a
	// direction that has ended already.
	cancelRead(Code)
	cancelWrite(Code)
	SetDeadline(time.Time) error
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
}

func cancelBoth(p pipe, code Code) {
	p.cancelRead(code)
	p.cancelWrite(code)
}

type quicPipe struct{ *quic.Stream }

func (p quicPipe) CloseWrite() error     { return p.Stream.Close() }
func (p quicPipe) cancelRead(code Code)  { p.Stream.CancelRead(quic.StreamErrorCode(code)) }
func (p quicPipe) cancelWrite(code Code) { p.Stream.CancelWrite(quic.StreamErrorCode(code)) }

// prioritize orders what we send on one connection: control first, then events. Lanes keep the default, so that on a
// connection that is the caller's they share alike with the caller's own streams.
func prioritize(str *quic.Stream, kind Kind) {
	switch kind {
	case Control:
		str.SetPriority(0, true)
	case Events:
		str.SetPriority(2, true)
	}
}
