package transport

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"testing"

	"github.com/quic-go/quic-go"

	"ferry/identity"
)

const meshALPN = "mesh/7"

// mesh is a program with a transport and a protocol of its own, with certificates that have nothing to do with node
// keys. Its peers echo on its own streams.
type mesh struct {
	t         *testing.T
	conf      *quic.Config
	n         *node
	transport *quic.Transport
	listener  *quic.Listener
	conns     chan *quic.Conn // accepted for its own protocol
	wg        sync.WaitGroup
}

// startMesh runs node n in way (b) under a mesh.
func startMesh(t *testing.T, n *node) *mesh { return startMeshWith(t, n, QUICConfig()) }

func startMeshWith(t *testing.T, n *node, conf *quic.Config) *mesh {
	t.Helper()
	socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	m := &mesh{t: t, conf: conf, n: n, transport: &quic.Transport{Conn: socket}, conns: make(chan *quic.Conn, 8)}
	own := meshTLS(t, n.name)
	own.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if slices.Contains(hello.SupportedProtos, ALPN) {
			return n.TLSConfig(), nil
		}
		return nil, nil
	}
	if m.listener, err = m.transport.Listen(own, conf); err != nil {
		t.Fatal(err)
	}
	if err := n.UseTransport(m.transport); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		m.transport.Close()
		socket.Close()
		m.wg.Wait()
	})
	n.run(socket.LocalAddr().String())
	m.wg.Go(func() {
		for {
			conn, err := m.listener.Accept(context.Background())
			if err != nil {
				return
			}
			if conn.ConnectionState().TLS.NegotiatedProtocol == ALPN {
				if err := n.Accept(conn); err != nil {
					t.Errorf("%s: Accept: %v", n.name, err)
				}
				continue
			}
			m.serve(conn)
			m.conns <- conn
		}
	})
	return m
}

// serve is the mesh's own accept loop: our streams go to the endpoint, its own are echoed.
func (m *mesh) serve(conn *quic.Conn) {
	m.wg.Go(func() {
		for {
			str, err := conn.AcceptStream(context.Background())
			if err != nil {
				return
			}
			m.wg.Go(func() {
				var head [PrefixBytes]byte
				n, _ := str.Peek(head[:])
				if IsPrefix(head[:n]) {
					if err := m.n.HandleStream(conn, str, nil); err != nil {
						m.t.Errorf("%s: HandleStream: %v", m.n.name, err)
					}
					return
				}
				io.Copy(str, str)
				str.Close()
			})
		}
	})
}

// dial connects two meshes by their own protocol.
func (m *mesh) dial(to *mesh) *quic.Conn {
	m.t.Helper()
	conf := meshTLS(m.t, m.n.name)
	conf.InsecureSkipVerify = true
	conn, err := m.transport.Dial(m.t.Context(), to.transport.Conn.LocalAddr(), conf, m.conf)
	if err != nil {
		m.t.Fatal(err)
	}
	m.serve(conn)
	return conn
}

// chat checks that the mesh's own protocol works on conn.
func (m *mesh) chat(conn *quic.Conn) {
	m.t.Helper()
	str, err := conn.OpenStreamSync(m.t.Context())
	if err != nil {
		m.t.Fatal(err)
	}
	const text = "just mesh talk"
	_, err = str.Write([]byte(text))
	str.Close()
	if got, rerr := io.ReadAll(str); err != nil || rerr != nil || string(got) != text {
		m.t.Fatalf("mesh traffic: %v, %v, %q", err, rerr, got)
	}
}

func meshTLS(t *testing.T, name string) *tls.Config {
	// Any certificate does; the peers do not look at it.
	conf := identity.ServerTLS(testKey(t, "mesh cert of "+name), []string{meshALPN}, nil)
	conf.ClientAuth, conf.VerifyConnection = tls.NoClientCert, nil
	return conf
}

func TestCallersTransport(t *testing.T) {
	w := newWorld(t)
	a, b := w.prepare("a", nil), w.prepare("b", nil)
	ma, mb := startMesh(t, a), startMesh(t, b)
	own := ma.dial(mb)
	ma.chat(own)
	as := a.session(b)
	bs := wait(t, "session at b", b.opened)
	roundTrip(t, a, b, as, bs)
	st := open(t, bs, Lane, 0)
	if st.Conn() == 0 {
		t.Error("the lane is on the control connection")
	}
	echo(t, st, make([]byte, 2<<20))
	ma.chat(own)

	a.stop()
	if got := wait(t, "close at b", b.closed); !errors.Is(got.cause, ErrClosed) {
		t.Errorf("b was closed with %v", got.cause)
	}
	// The endpoint has gone; the caller's transport and connections have not.
	ma.chat(own)
	ma.chat(ma.dial(mb))
}

func TestCallersConnection(t *testing.T) {
	w := newWorld(t)
	a, b := w.prepare("a", nil), w.prepare("b", nil)
	ma, mb := startMesh(t, a), startMesh(t, b)
	conn := ma.dial(mb)
	ma.chat(conn)
	as, err := a.Attach(t.Context(), conn, true)
	if err != nil {
		t.Fatal(err)
	}
	bs, err := b.Attach(t.Context(), wait(t, "connection", mb.conns), false)
	if err != nil {
		t.Fatal(err)
	}
	if as.Peer() != b.ID() || bs.Peer() != a.ID() {
		t.Fatalf("a sees %v, b sees %v", as.Peer(), bs.Peer())
	}
	if got := a.session(b); got != as {
		t.Error("Session does not find the attached one")
	}
	roundTrip(t, a, b, as, bs)
	for _, s := range []*Session{as, bs} {
		echo(t, open(t, s, Events, 0), []byte("events"))
		st := open(t, s, Lane, 3)
		if st.Conn() != 0 {
			t.Error("a lane has left the connection")
		}
		echo(t, st, make([]byte, 2<<20))
	}
	ma.chat(conn)

	unfinished := open(t, as, Lane, 1)
	bs.Close(nil)
	if got := wait(t, "close at a", a.closed); got.s != as || !errors.Is(got.cause, ErrClosed) {
		t.Errorf("a was closed with %v", got.cause)
	}
	if _, err := unfinished.Read(make([]byte, 1)); !errors.Is(err, ErrClosed) {
		t.Errorf("a stream of the ended session: %v", err)
	}
	wait(t, "close at b", b.closed)
	// The connection lives on, and takes another session.
	ma.chat(conn)
	again, err := a.Attach(t.Context(), conn, true)
	if err != nil {
		t.Fatal(err)
	}
	echo(t, open(t, again, Lane, 0), []byte("again"))
	b.stop()
	wait(t, "close at a", a.closed)
	ma.chat(conn)
}

// In the middle sits a mesh that both trust to carry their own protocol, and that passes on to b what a has said to it.
// TLS does not show it, as its certificates are not ours; the signature does.
func TestCallersConnectionInTheMiddle(t *testing.T) {
	w := newWorld(t)
	a, b, mid := w.prepare("a", nil), w.prepare("b", nil), w.prepare("mid", nil)
	ma, mb, mm := startMesh(t, a), startMesh(t, b), startMesh(t, mid)
	ch, err := newChannel(ma.dial(mm).ConnectionState().TLS, false)
	if err != nil {
		t.Fatal(err)
	}
	p := preamble{key: a.key.Public(), token: newToken()}
	sig, err := identity.SignChannel(a.key, ch.exporter, identity.Dialer)
	if err != nil {
		t.Fatal(err)
	}
	copy(p.signature[:], sig)
	onward, err := mm.dial(mb).OpenStreamSync(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := onward.Write(p.append(prefix{kind: Control}.append(nil))); err != nil {
		t.Fatal(err)
	}
	_, err = io.ReadAll(onward)
	if code, remote, ok := resetCode(err); !ok || !remote || code != CodeWrongKey {
		t.Errorf("b has answered a preamble from another connection with %v", err)
	}
	if _, ok := b.Live(a.ID()); ok {
		t.Error("b believes that it talks with a")
	}
}

// A caller that releases stream credit by hand need not do so for ours.
func TestCallersStreamCredit(t *testing.T) {
	w := newWorld(t)
	a, b := w.prepare("a", nil), w.prepare("b", nil)
	conf := QUICConfig()
	conf.RequireStreamCreditRelease, conf.MaxIncomingStreams = true, 3
	ma, mb := startMeshWith(t, a, conf), startMeshWith(t, b, conf)
	s, err := a.Attach(t.Context(), ma.dial(mb), true)
	if err != nil {
		t.Fatal(err)
	}
	for range 12 {
		echo(t, open(t, s, Lane, 0), []byte("one after another"))
	}
}

// On a caller's connection TLS says nothing of node keys, so both sides judge the proven key themselves.
func TestCallersConnectionRefused(t *testing.T) {
	for _, refuser := range []string{"a", "b"} {
		t.Run(refuser, func(t *testing.T) {
			w := newWorld(t)
			admit := func(name string) func(*Config) {
				return func(c *Config) {
					if name == refuser {
						c.Admit = func(context.Context, ed25519.PublicKey) error { return errors.New("not in the cluster") }
					}
				}
			}
			a, b := w.prepare("a", admit("a")), w.prepare("b", admit("b"))
			ma, mb := startMesh(t, a), startMesh(t, b)
			conn := ma.dial(mb)
			if _, err := a.Attach(t.Context(), conn, true); !errors.Is(err, ErrRefused) {
				t.Errorf("got %v, want %v", err, ErrRefused)
			}
			if refuser == "a" { // b has opened it before it hears
				if got := wait(t, "close at b", b.closed); !errors.Is(got.cause, ErrRefused) {
					t.Errorf("b was closed with %v", got.cause)
				}
			} else if len(b.opened) > 0 {
				t.Error("b has opened a session")
			}
			ma.chat(conn)
		})
	}
}
