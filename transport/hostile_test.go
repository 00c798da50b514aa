package transport

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"

	"github.com/quic-go/quic-go"

	"ferry/frame"
	"ferry/identity"
)

// dialRaw connects to n with the key of a node that n knows, and does nothing more.
func dialRaw(t *testing.T, w *world, n *node) *quic.Conn {
	t.Helper()
	key := testKey(t, "raw")
	w.set(Address{ID: key.NodeID(), Name: "raw", Key: key.Public()})
	socket, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	tr := &quic.Transport{Conn: socket}
	t.Cleanup(func() {
		tr.Close()
		socket.Close()
	})
	conn, err := tr.Dial(t.Context(), n.Addr(), identity.ClientTLS(key, []string{ALPN}, n.key.Public()), QUICConfig())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.CloseWithError(0, "") })
	return conn
}

// rawHello is a good beginning of a control stream on conn.
func rawHello(t *testing.T, conn *quic.Conn, edit func(*preamble)) []byte {
	t.Helper()
	key := testKey(t, "raw")
	ch, err := newChannel(conn.ConnectionState().TLS, true)
	if err != nil {
		t.Fatal(err)
	}
	p := preamble{key: key.Public(), token: newToken()}
	sig, err := identity.SignChannel(key, ch.exporter, identity.Dialer)
	if err != nil {
		t.Fatal(err)
	}
	copy(p.signature[:], sig)
	if edit != nil {
		edit(&p)
	}
	return p.append(prefix{kind: Control}.append(nil))
}

func send(t *testing.T, conn *quic.Conn, b []byte) *quic.Stream {
	t.Helper()
	str, err := conn.OpenStreamSync(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := str.Write(b); err != nil {
		t.Fatal(err)
	}
	return str
}

// closedWith is the code with which the peer closes conn.
func closedWith(t *testing.T, conn *quic.Conn) Code {
	t.Helper()
	wait(t, "close", conn.Context().Done())
	_, err := conn.AcceptStream(t.Context())
	app, ok := errors.AsType[*quic.ApplicationError](err)
	if !ok || !app.Remote {
		t.Fatalf("closed with %v", err)
	}
	return Code(app.ErrorCode)
}

func goodFrame(t *testing.T) []byte {
	t.Helper()
	lim := frame.Default()
	b, err := frame.Append(nil, 0, []byte("\x88raw"), &lim)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// What a hostile dialer may say first, and how it is told off.
func TestHostileControlStream(t *testing.T) {
	damaged := func(b []byte) []byte {
		b[len(b)-1] ^= 1
		return b
	}
	for _, tc := range []struct {
		name string
		say  func(t *testing.T, conn *quic.Conn) []byte
		code Code
	}{
		{"another's key", func(t *testing.T, c *quic.Conn) []byte {
			return rawHello(t, c, func(p *preamble) { p.key = testKey(t, "b2").Public() })
		}, CodeWrongKey},
		{"a bad signature", func(t *testing.T, c *quic.Conn) []byte {
			return rawHello(t, c, func(p *preamble) { p.signature[3] ^= 1 })
		}, CodeWrongKey},
		{"reserved bytes", func(t *testing.T, c *quic.Conn) []byte { return damaged(rawHello(t, c, nil)) }, CodeMalformed},
		{"a hello that is damaged", func(t *testing.T, c *quic.Conn) []byte {
			return append(rawHello(t, c, func(p *preamble) { p.hello = true }), damaged(goodFrame(t))...)
		}, CodeMalformed},
		{"a damaged frame later", func(t *testing.T, c *quic.Conn) []byte {
			return append(append(rawHello(t, c, nil), goodFrame(t)...), damaged(goodFrame(t))...)
		}, CodeMalformed},
		{"a length over the limit", func(t *testing.T, c *quic.Conn) []byte {
			return append(rawHello(t, c, nil), 0x00, 0x05, 1, 0, 0xff, 0xff, 0xff, 0x7f, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8)
		}, CodeMalformed},
		{"a join of no session", func(*testing.T, *quic.Conn) []byte {
			return append(prefix{kind: join}.append(nil), make([]byte, 16)...)
		}, CodeRefused},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			b := w.listening("b", nil)
			conn := dialRaw(t, w, b)
			send(t, conn, tc.say(t, conn))
			if got := closedWith(t, conn); got != tc.code {
				t.Errorf("closed with %v, want %v", got, tc.code)
			}
			// b is none the worse for it.
			good := w.listening("good", nil)
			roundTrip(t, good, b, good.session(b), sessionWith(t, b, good.ID()))
		})
	}
}

// A bad prefix is refused before there is a session, and a good control stream may still follow.
func TestHostileFirstStream(t *testing.T) {
	w := newWorld(t)
	b := w.listening("b", nil)
	conn := dialRaw(t, w, b)
	for text, code := range map[string]Code{"GET / HTTP/1.1": CodeMalformed, "FRY\x05\x00\x02\x01\x00": CodeVersion} {
		_, err := io.ReadAll(send(t, conn, []byte(text)))
		if got, remote, ok := resetCode(err); !ok || !remote || got != code {
			t.Errorf("%q has ended with %v, want a reset with %v", text, err, code)
		}
	}
	send(t, conn, rawHello(t, conn, nil))
	wait(t, "session", b.opened)
}

// sessionWith waits for the session of n with peer, past others.
func sessionWith(t *testing.T, n *node, peer identity.NodeID) *Session {
	t.Helper()
	for {
		if s := wait(t, "session at "+n.name, n.opened); s.Peer() == peer {
			for len(n.frames) > 0 {
				<-n.frames
			}
			return s
		}
	}
}

// Beside a good control stream, a bad stream harms only itself.
func TestHostileStream(t *testing.T) {
	w := newWorld(t)
	b := w.prepare("b", nil)
	b.onStream = func(_ *Session, st *Stream) {
		in := frame.NewReader(st, frame.Default())
		for {
			if _, err := in.Next(); err != nil {
				if err != io.EOF {
					st.Cancel(CodeOf(err))
				}
				return
			}
		}
	}
	if err := b.Listen("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	b.run(b.Addr().String())
	conn := dialRaw(t, w, b)
	control := send(t, conn, rawHello(t, conn, nil))
	s := wait(t, "session", b.opened)
	events := prefix{kind: Events}.append(nil)
	for _, tc := range []struct {
		name string
		say  []byte
		code Code
	}{
		{"garbage", []byte("GET / HTTP/1.1"), CodeMalformed},
		{"another version", []byte("FRY\x05\x00\x02\x02\x00"), CodeVersion},
		{"unknown kind", []byte("FRY\x05\x00\x01\x77\x00"), CodeMalformed},
		{"events with a lane", []byte("FRY\x05\x00\x01\x02\x01"), CodeMalformed},
		{"a second control stream", rawHello(t, conn, nil), CodeMalformed},
		{"a damaged frame", append(append([]byte(nil), events...), bytes.Repeat([]byte{7}, 30)...), CodeMalformed},
		{"a relay header of no role", append(prefix{kind: Relay}.append(nil), make([]byte, relayHeaderBytes)...), CodeMalformed},
		{"an unwanted splice", relayHeader{node: 5, role: roleSplice}.append(prefix{kind: Relay}.append(nil)), CodeNoRelay},
		{"an unwanted spliced stream", relayHeader{node: 5, role: roleSpliced}.append(prefix{kind: Relay}.append(nil)), CodeNoRelay},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := io.ReadAll(send(t, conn, tc.say))
			if code, remote, ok := resetCode(err); !ok || !remote || code != tc.code {
				t.Errorf("ended with %v, want a reset with %v", err, tc.code)
			}
			if _, err := control.Write(goodFrame(t)); err != nil {
				t.Fatal(err)
			}
			if got := wait(t, "frame", b.frames); got.s != s || got.msg != "\x88raw" {
				t.Errorf("got %+v", got)
			}
		})
	}
}

// A key may hold so many sessions and no more.
func TestTooManySessions(t *testing.T) {
	w := newWorld(t)
	b := w.listening("b", nil)
	for range sessionsPerNodeMax + 1 {
		conn := dialRaw(t, w, b)
		send(t, conn, rawHello(t, conn, nil))
		wait(t, "session", b.opened)
	}
	if got := wait(t, "close", b.closed); !errors.Is(got.cause, ErrOverload) {
		t.Errorf("closed with %v", got.cause)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if n := len(b.sessions[testKey(t, "raw").NodeID()]); n > sessionsPerNodeMax {
		t.Errorf("%d sessions", n)
	}
}

// A token is not enough to join: the key must fit too.
func TestJoinWithAnothersToken(t *testing.T) {
	w := newWorld(t)
	a, b := w.listening("a", nil), w.listening("b", nil)
	s := a.session(b)
	wait(t, "session", b.opened)
	conn := dialRaw(t, w, b)
	send(t, conn, append(prefix{kind: join}.append(nil), s.token[:]...))
	if got := closedWith(t, conn); got != CodeRefused {
		t.Errorf("closed with %v, want %v", got, CodeRefused)
	}
}
