package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/quic-go/quic-go"

	"ferry/frame"
	"ferry/identity"
)

// What went wrong, for errors.Is. The facts are in UnreachableError, SessionError and StreamError.
var (
	ErrClosed      = errors.New("session closed")                    // in good order, by either side
	ErrLost        = errors.New("connection lost")                   // silent for IdleTimeout, or the peer has restarted
	ErrRefused     = errors.New("key refused")                       // the acceptor does not admit the dialer's node key
	ErrWrongKey    = errors.New("peer does not have the node's key") // not who was dialed, or no proof
	ErrMalformed   = errors.New("malformed")                         // bytes against the protocol
	ErrVersion     = errors.New("other protocol version")
	ErrSlowPeer    = errors.New("control queue full") // the peer does not take control frames
	ErrTimeout     = errors.New("no answer in time")
	ErrCanceled    = errors.New("stream given up")  // one side does not want the rest
	ErrTampered    = errors.New("relay tampered")   // inside a spliced stream: altered, invented or cut short
	ErrNoRelay     = errors.New("relay refused")    // the relay does not splice for this pair, or the end does not take it
	ErrNoPath      = errors.New("no way to reach")  // the relay cannot reach the target either
	ErrOverload    = errors.New("too many at once") // a bound of ours or of the peer's
	ErrInternal    = errors.New("internal error of the peer")
	ErrUnknownNode = errors.New("unknown node") // for Resolver to wrap
	ErrNoSocket    = errors.New("the endpoint has no socket to dial from")
	ErrShutdown    = errors.New("the endpoint has ended")
	ErrSelf        = errors.New("this node itself")
	ErrCertificate = errors.New("certificate not good") // of the peer, today: see identity.CertificateDateError
)

// Code is what a CONNECTION_CLOSE, RESET_STREAM or STOP_SENDING of ours says. 0x00 to 0xff belong to this package; a
// user of Stream.Cancel may have more from CodeUser on. On a connection that is the caller's, codes go on streams only.
type Code uint32

// Frozen: these numbers are on the wire.
const (
	CodeNone      Code = 0x00 // in good order
	CodeInternal  Code = 0x01
	CodeMalformed Code = 0x02 // a prefix, preamble or frame against the protocol
	CodeVersion   Code = 0x03
	CodeRefused   Code = 0x04 // the node key is not admitted
	CodeWrongKey  Code = 0x05 // the peer is not the node that was wanted, or could not prove it
	CodeSlowPeer  Code = 0x06
	CodeTimeout   Code = 0x07
	CodeCanceled  Code = 0x08 // the stream is no longer wanted
	CodeSession   Code = 0x09 // the stream's session has ended
	CodeNoRelay   Code = 0x0a
	CodeNoPath    Code = 0x0b
	CodeTampered  Code = 0x0c
	CodeOverload  Code = 0x0d
	CodeUser      Code = 0x100
)

// codes pairs each code with its sentinel.
var codes = [...]struct {
	code Code
	name string
	err  error
}{
	{CodeMalformed, "malformed", ErrMalformed},
	{CodeVersion, "version", ErrVersion},
	{CodeRefused, "refused", ErrRefused},
	{CodeTampered, "tampered", ErrTampered},
	{CodeWrongKey, "wrong key", ErrWrongKey},
	{CodeSlowPeer, "slow peer", ErrSlowPeer},
	{CodeTimeout, "timeout", ErrTimeout},
	{CodeNoRelay, "no relay", ErrNoRelay},
	{CodeNoPath, "no path", ErrNoPath},
	{CodeOverload, "overload", ErrOverload},
	{CodeCanceled, "canceled", ErrCanceled},
	{CodeSession, "session ended", ErrLost},
	{CodeInternal, "internal", ErrInternal},
	{CodeNone, "none", ErrClosed},
}

func (c Code) String() string {
	for _, k := range codes {
		if k.code == c {
			return k.name
		}
	}
	return fmt.Sprintf("code %#x", uint32(c))
}

// sentinel is nil for a code of the user's.
func (c Code) sentinel() error {
	for _, k := range codes {
		if k.code == c {
			return k.err
		}
	}
	return nil
}

// CodeOf is the code to end a stream with because of err: that of the outermost sentinel that it wraps; CodeMalformed
// for frames that do not decode, CodeInternal for what has no code of its own, CodeNone for nil.
func CodeOf(err error) Code {
	if err == nil {
		return CodeNone
	}
	if code, ok := firstCode(err); ok {
		return code
	}
	return CodeInternal
}

// firstCode walks the tree of err as errors.Is does. To ask errors.Is for one sentinel after the other would find the
// cause of a cause first.
func firstCode(err error) (Code, bool) {
	for _, k := range codes {
		if err == k.err {
			return k.code, true
		}
	}
	switch e := err.(type) {
	case *frame.DecodeError:
		return CodeMalformed, true
	case interface{ Unwrap() error }:
		if inner := e.Unwrap(); inner != nil {
			return firstCode(inner)
		}
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			if inner == nil {
				continue
			}
			if code, ok := firstCode(inner); ok {
				return code, true
			}
		}
	}
	return 0, false
}

// UnreachableError says why there is no session with a node, cause by cause: the direct dial, then each relay.
type UnreachableError struct {
	Node   identity.NodeID
	Name   string // "" when the node is unknown
	Addr   string // "" when the node is unknown
	Causes []error
}

func (e *UnreachableError) Error() string {
	var b strings.Builder
	b.WriteString("cannot reach ")
	b.WriteString(nodeName(e.Node, e.Name, e.Addr))
	for i, cause := range e.Causes {
		if i == 0 {
			b.WriteString(": ")
		} else {
			b.WriteString("; ")
		}
		b.WriteString(cause.Error())
	}
	return b.String()
}

func (e *UnreachableError) Unwrap() []error { return e.Causes }

// SessionError says why a session has ended, or could not be made. Err wraps one of the sentinels.
type SessionError struct {
	Node   identity.NodeID // 0 when the peer has not said who it is
	Name   string
	Addr   string
	Remote bool // the peer ended it and says so
	Err    error
}

func (e *SessionError) Error() string {
	by := ""
	if e.Remote {
		by = "the peer says: "
	}
	return fmt.Sprintf("session with %s: %s%v", nodeName(e.Node, e.Name, e.Addr), by, e.Err)
}

func (e *SessionError) Unwrap() error { return e.Err }

// StreamError says why a stream was reset while its session lives on. Err wraps the sentinel of Code, if it has one.
type StreamError struct {
	Node   identity.NodeID
	Kind   Kind
	Lane   uint8
	Code   Code
	Remote bool // the peer has reset it, or a relay on the way
	Err    error
}

func (e *StreamError) Error() string {
	by := "here"
	if e.Remote {
		by = "by the peer"
	}
	return fmt.Sprintf("%v stream with node %v reset %s (%v): %v", e.Kind, e.Node, by, e.Code, e.Err)
}

func (e *StreamError) Unwrap() error { return e.Err }

func nodeName(id identity.NodeID, name, addr string) string {
	var b strings.Builder
	b.WriteString("node ")
	switch {
	case name != "":
		fmt.Fprintf(&b, "%s (%v)", name, id)
	case id != 0:
		b.WriteString(id.String())
	default:
		b.WriteString("of unknown key")
	}
	if addr != "" {
		fmt.Fprintf(&b, " at %s", addr)
	}
	return b.String()
}

// resetCode is the code in a stream reset.
func resetCode(err error) (code Code, remote, ok bool) {
	if e, isReset := errors.AsType[*quic.StreamError](err); isReset {
		return Code(e.ErrorCode), e.Remote, true
	}
	return 0, false, false
}

// explain puts a sentinel before what QUIC, TLS or a stream says, and says whether it is the peer's word. An error that
// has one of our sentinels stays as it is.
func explain(err error) (_ error, remote bool) {
	if err == nil {
		return ErrClosed, false
	}
	if e, ok := errors.AsType[*quic.ApplicationError](err); ok {
		sentinel := Code(e.ErrorCode).sentinel()
		if sentinel == nil {
			sentinel = ErrLost // the caller's connection, closed with a code of the caller's
		}
		if e.ErrorMessage != "" && Code(e.ErrorCode) != CodeNone {
			return fmt.Errorf("%w: %s", sentinel, e.ErrorMessage), e.Remote
		}
		return sentinel, e.Remote
	}
	if code, remote, ok := resetCode(err); ok {
		if sentinel := code.sentinel(); sentinel != nil {
			return sentinel, remote
		}
		return fmt.Errorf("%w: %v", ErrCanceled, code), remote
	}
	if known(err) {
		return err, false
	}
	if _, ok := errors.AsType[*identity.PinError](err); ok {
		return fmt.Errorf("%w: %w", ErrWrongKey, err), false
	}
	if _, ok := errors.AsType[*identity.CertificateDateError](err); ok {
		return fmt.Errorf("%w: %w", ErrCertificate, err), false
	}
	if errors.Is(err, identity.ErrNotAllowed) {
		return fmt.Errorf("%w: %w", ErrRefused, err), false
	}
	if e, ok := errors.AsType[*quic.TransportError](err); ok {
		// In TLS 1.3 the dialer is done before the acceptor has judged its key: the verdict comes as an alert later.
		if e.Remote && e.ErrorCode.IsCryptoError() {
			return fmt.Errorf("%w by the peer's TLS (is this node, with this key, in the peer's cluster?): %w", ErrRefused, err), true
		}
		if e.ErrorCode == quic.ConnectionRefused {
			return fmt.Errorf("%w: %w", ErrOverload, err), e.Remote
		}
		return fmt.Errorf("%w: %w", ErrLost, err), e.Remote
	}
	if _, ok := errors.AsType[*quic.HandshakeTimeoutError](err); ok {
		return fmt.Errorf("%w: %w", ErrTimeout, err), false
	}
	if errors.Is(err, context.DeadlineExceeded) || isTimeout(err) && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("%w: %w", ErrTimeout, err), false
	}
	if errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: %w", ErrLost, err), false
	}
	if _, ok := errors.AsType[*frame.DecodeError](err); ok {
		return fmt.Errorf("%w: %w", ErrMalformed, err), false
	}
	return err, false
}

// known says whether err wraps one of the sentinels that have a code.
func known(err error) bool {
	for _, k := range codes {
		if errors.Is(err, k.err) {
			return true
		}
	}
	return false
}

func isTimeout(err error) bool {
	t, ok := errors.AsType[net.Error](err)
	return ok && t.Timeout()
}
