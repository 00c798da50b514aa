package transport

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"syscall"

	"github.com/quic-go/quic-go"

	"ferry/identity"
)

// ALPN is the application protocol of our own connections.
const ALPN = "ferry/1"

// socketBufferBytes is what the kernel may hold of a socket of ours; quic-go wants as much. Less would shorten the queue
// that bulk makes for others' datagrams, but what overflows it are theirs as well: a control message that is lost
// waits longer than one that is queued.
const socketBufferBytes = 7 << 20

// ErrAddrInUse: another process has the port.
var ErrAddrInUse = errors.New("address in use")

// Listen is way (a): a UDP socket of the endpoint's own, to listen on and to dial from. With addr "" or ":0" it only
// dials, from any free port. Call it before Run, which accepts.
func (e *Endpoint) Listen(addr string) error {
	if e.transport != nil {
		return errors.New("transport: the endpoint has a socket already")
	}
	dialOnly := addr == "" || addr == ":0"
	var local *net.UDPAddr
	if !dialOnly {
		var err error
		if local, err = net.ResolveUDPAddr("udp", addr); err != nil {
			return fmt.Errorf("transport: listen on %s: %w", addr, err)
		}
	}
	socket, err := net.ListenUDP("udp", local)
	if err != nil {
		if errors.Is(err, syscall.EADDRINUSE) {
			err = fmt.Errorf("%w: %w", ErrAddrInUse, err)
		}
		return fmt.Errorf("transport: listen on %s: %w", addr, err)
	}
	key, err := e.resetKey()
	if err != nil {
		socket.Close()
		return err
	}
	e.socket = socket
	e.transport = &quic.Transport{Conn: socket, StatelessResetKey: key}
	e.door.ours = true
	e.GuardTransport(e.transport)
	if !e.cfg.PlainSocket {
		e.packets = NewPacketConn(socket, e.cfg.Log)
		e.transport.Conn = e.packets
	}
	if dialOnly {
		return nil
	}
	if e.listener, err = e.transport.Listen(e.listenTLS(), e.cfg.quicListen()); err != nil {
		e.transport.Close()
		socket.Close()
		e.socket, e.packets, e.transport = nil, nil, nil
		return fmt.Errorf("transport: listen on %s: %w", addr, err)
	}
	e.accepts = true
	return nil
}

// Addr is the address of the socket, also of a caller's; nil without one.
func (e *Endpoint) Addr() net.Addr {
	if e.transport == nil {
		return nil
	}
	return e.transport.Conn.LocalAddr()
}

// resetKey is the same after a restart, so that peers of before learn of it at once and not by the idle timeout. It
// comes from a signature, which only this node can make, and which is of nothing else and never sent.
func (e *Endpoint) resetKey() (*quic.StatelessResetKey, error) {
	sig, err := e.cfg.Key.Sign([]byte("ferry stateless reset key, v1\x00"))
	if err != nil {
		return nil, fmt.Errorf("transport: stateless reset key: %w", err)
	}
	key := quic.StatelessResetKey(sha256.Sum256(sig))
	return &key, nil
}

func (e *Endpoint) acceptLoop() error {
	for {
		conn, err := e.listener.Accept(e.ctx)
		if err != nil {
			if e.ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("transport: accept: %w", err)
		}
		if err := e.Accept(conn); err != nil {
			e.refused.Warn("connection refused", hostOf(conn.RemoteAddr()).String(),
				slog.String("addr", conn.RemoteAddr().String()), slog.Any("cause", err))
		}
	}
}

// TLSConfig is for connections that want ALPN: in way (b), what the caller's tls.Config.GetConfigForClient returns when
// the client offers it. It demands the key of a node that Config.Admit admits.
func (e *Endpoint) TLSConfig() *tls.Config { return e.tlsFrom("") }

// tlsFrom is TLSConfig for who dials from addr; "" is not known.
func (e *Endpoint) tlsFrom(addr string) *tls.Config {
	return identity.ServerTLS(e.cfg.Key, []string{ALPN}, func(key ed25519.PublicKey) error { return e.allow(key, addr) })
}

// listenTLS is TLSConfig where the dialers' addresses are known.
func (e *Endpoint) listenTLS() *tls.Config {
	config := e.TLSConfig()
	config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		return e.tlsFrom(hello.Conn.RemoteAddr().String()), nil
	}
	return config
}

// allow is admit for a TLS handshake, which says no more to the peer than that it failed: so we say it here.
func (e *Endpoint) allow(key ed25519.PublicKey, addr string) error {
	ctx, cancel := context.WithTimeout(e.ctx, e.cfg.DialTimeout)
	defer cancel()
	err := e.judge(ctx, key)
	if err != nil {
		node := identity.NodeIDOf(key).String()
		args := []any{slog.String("node", node), slog.Any("cause", err)}
		if addr != "" {
			args = append(args, slog.String("addr", addr))
		}
		e.refused.Warn("node key refused", node, args...)
	}
	return err
}

func timeoutOf(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
