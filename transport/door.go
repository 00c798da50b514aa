package transport

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/quic-go/quic-go"

	"ferry/identity"
	"ferry/internal/quiet"
)

// Bounds of connections that have no session yet: handshakes under way, and what has shaken hands and said nothing. One
// costs some 50 KiB, and lives for 4 × Config.DialTimeout at most.
const (
	// strangersMax is how many there may be.
	strangersMax = 512
	// strangersPerHostMax is how many of them one address may have: a peer opens 32 further connections at once at most,
	// and a few nodes may share an address.
	strangersPerHostMax = 128
	// strangersTrusted is how many there may be before an address must answer (QUIC's Retry) to get further, so that what
	// is sent under false addresses never counts for more.
	strangersTrusted = 64
)

var errTooManyStrangers = errors.New("too many connections without a session")

// door counts the connections that have no session yet.
type door struct {
	refused *quiet.Log
	ours    bool // the socket is the endpoint's own: every handshake on it is with this node's key

	mu    sync.Mutex
	all   int
	hosts map[netip.Addr]int // none is zero
}

func newDoor(refused *quiet.Log) *door {
	return &door{refused: refused, hosts: make(map[netip.Addr]int)}
}

// GuardTransport bounds, for a quic.Transport of the caller's (way b), handshakes under way, as Listen does for one of our
// own: above 64 a dialer's address is validated, above 128 of one address or 512 in all they are refused. Call it before
// the transport's own Listen. It sets VerifySourceAddress and ConnContext; it counts the caller's connections too, until
// they end.
func (e *Endpoint) GuardTransport(t *quic.Transport) {
	t.VerifySourceAddress = e.door.validate
	t.ConnContext = e.door.knock
}

// validate says whether a new address must show that it can be answered.
func (d *door) validate(net.Addr) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.all >= strangersTrusted
}

type visitorKey struct{}

// knock takes a connection, or refuses it before anything is made for it.
func (d *door) knock(ctx context.Context, from *quic.ClientInfo) (context.Context, error) {
	host := hostOf(from.RemoteAddr)
	d.mu.Lock()
	full := d.all >= strangersMax || d.hosts[host] >= strangersPerHostMax
	if !full {
		d.all++
		d.hosts[host]++
	}
	d.mu.Unlock()
	if full {
		d.refused.Warn("connection refused before its handshake", host.String(), slog.String("addr", from.RemoteAddr.String()),
			slog.Any("cause", errTooManyStrangers), slog.Int("max", strangersMax), slog.Int("max_of_address", strangersPerHostMax))
		return nil, errTooManyStrangers
	}
	var in atomic.Bool
	leave := sync.OnceFunc(func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.all--
		if d.hosts[host]--; d.hosts[host] == 0 {
			delete(d.hosts, host)
		}
	})
	context.AfterFunc(ctx, func() { // it has failed, or is over
		leave()
		if !in.Load() {
			d.tellRefusal(from.RemoteAddr, context.Cause(ctx))
		}
	})
	return context.WithValue(ctx, visitorKey{}, func() { in.Store(true); leave() }), nil
}

// tellRefusal logs what only the handshake knew: a dialer that wanted another key than this node's, which it says with an
// alert, and never who it is; or one whose certificate is not good. A key that is not admitted, Endpoint.allow logs.
func (d *door) tellRefusal(from net.Addr, cause error) {
	e, ok := errors.AsType[*quic.TransportError](cause)
	if !ok || !d.ours || !e.ErrorCode.IsCryptoError() {
		return
	}
	what := "a dialer refuses this node's key (has it another one for this node in its cluster?)"
	if !e.Remote {
		what = "certificate refused"
		if _, date := errors.AsType[*identity.CertificateDateError](cause); !date && !errors.Is(cause, identity.ErrPeerCertificate) {
			return
		}
	}
	d.refused.Warn(what, hostOf(from).String(), slog.String("addr", from.String()), slog.Any("cause", cause))
}

// comeIn is for the connection of ctx, which has a session.
func comeIn(ctx context.Context) {
	if leave, ok := ctx.Value(visitorKey{}).(func()); ok {
		leave()
	}
}

// hostOf is whom limits by address are about: an IPv4 address, or an IPv6 network of 64 bits, of which one host may use
// all.
func hostOf(addr net.Addr) netip.Addr {
	udp, ok := addr.(*net.UDPAddr)
	if !ok {
		return netip.Addr{}
	}
	host := udp.AddrPort().Addr().Unmap().WithZone("")
	if host.Is6() {
		net64, _ := host.Prefix(64)
		return net64.Addr()
	}
	return host
}
