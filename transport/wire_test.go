package transport

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/quic-go/quic-go"

	"ferry/frame"
	"ferry/identity"
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestPrefix(t *testing.T) {
	for _, tc := range []struct {
		hex string
		p   prefix
	}{
		{"4652590500" + "01" + "01" + "00", prefix{kind: Control}},
		{"4652590500" + "01" + "02" + "00", prefix{kind: Events}},
		{"4652590500" + "01" + "03" + "1f", prefix{kind: Lane, lane: 31}},
		{"4652590500" + "01" + "04" + "00", prefix{kind: Relay}},
		{"4652590500" + "01" + "10" + "00", prefix{kind: join}},
		{"4652590500" + "01" + "10" + "01", prefix{kind: join, lane: 1}},
	} {
		b := unhex(t, tc.hex)
		if got := tc.p.append(nil); !bytes.Equal(got, b) || len(got) != PrefixBytes {
			t.Errorf("%v is %x, want %s", tc.p, got, tc.hex)
		}
		if got, err := parsePrefix(b); err != nil || got != tc.p {
			t.Errorf("%s: %v, %v", tc.hex, got, err)
		}
		for n := range b {
			if IsPrefix(b[:n]) {
				t.Errorf("%d bytes pass for a prefix", n)
			}
			if _, err := parsePrefix(b[:n]); !errors.Is(err, ErrMalformed) {
				t.Errorf("%d bytes: %v", n, err)
			}
			if got, err := readPrefix(b[:n], bytes.NewReader(b[n:])); err != nil || got != tc.p {
				t.Errorf("read in two parts at %d: %v, %v", n, got, err)
			}
		}
	}
	if _, err := readPrefix(nil, bytes.NewReader([]byte("FRY"))); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a stream that ends in its prefix: %v", err)
	}
}

func TestPreamble(t *testing.T) {
	p := preamble{key: ed25519.PublicKey(bytes.Repeat([]byte{0xaa}, 32)), token: token(bytes.Repeat([]byte{0xcc}, 16)), accepts: true, hello: true}
	copy(p.signature[:], bytes.Repeat([]byte{0xbb}, 64))
	want := fmt.Sprintf("%x%x%x", bytes.Repeat([]byte{0xaa}, 32), bytes.Repeat([]byte{0xbb}, 64), bytes.Repeat([]byte{0xcc}, 16)) +
		"03" + "00000000000000"
	b := p.append(nil)
	if hex.EncodeToString(b) != want {
		t.Fatalf("got %x, want %s", b, want)
	}
	got, err := parsePreamble(b)
	if err != nil || !got.key.Equal(p.key) || got.signature != p.signature || got.token != p.token || !got.accepts || !got.hello {
		t.Errorf("%+v, %v", got, err)
	}
	for n := range b {
		if _, err := parsePreamble(b[:n]); !errors.Is(err, ErrMalformed) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	for at := offFlags; at < len(b); at++ {
		bad := bytes.Clone(b)
		bad[at] |= 0x80
		if _, err := parsePreamble(bad); !errors.Is(err, ErrMalformed) {
			t.Errorf("byte %d set: %v", at, err)
		}
	}
}

func TestRelayHeader(t *testing.T) {
	h := relayHeader{node: 0x1122334455667788, role: roleSpliced, bulk: true}
	b := h.append(nil)
	if hex.EncodeToString(b) != "8877665544332211"+"02"+"01" {
		t.Fatalf("got %x", b)
	}
	if got, err := parseRelayHeader([relayHeaderBytes]byte(b)); err != nil || got != h {
		t.Errorf("%+v, %v", got, err)
	}
	for at, v := range map[int]byte{8: 0, 9: 2} {
		bad := [relayHeaderBytes]byte(b)
		bad[at] = v
		if _, err := parseRelayHeader(bad); !errors.Is(err, ErrMalformed) {
			t.Errorf("byte %d is %d: %v", at, v, err)
		}
	}
}

// Every code has a name and a sentinel of its own, and comes back from an error that a peer's close is explained with.
func TestCodes(t *testing.T) {
	names := make(map[string]bool)
	for _, k := range codes {
		if names[k.name] || k.code.String() != k.name {
			t.Errorf("%v is not a name of its own", k.code)
		}
		names[k.name] = true
		if got := CodeOf(fmt.Errorf("around: %w", k.err)); got != k.code {
			t.Errorf("%v: code %v", k.err, got)
		}
		if k.code == CodeNone {
			continue
		}
		why, remote := explain(&quic.ApplicationError{Remote: true, ErrorCode: quic.ApplicationErrorCode(k.code), ErrorMessage: "text"})
		if !remote || !errors.Is(why, k.err) {
			t.Errorf("%v: explained as %v", k.code, why)
		}
	}
	for _, tc := range []struct {
		err  error
		code Code
	}{
		{nil, CodeNone},
		{errors.New("anything"), CodeInternal},
		{&frame.DecodeError{Err: frame.ErrChecksum}, CodeMalformed},
		{fmt.Errorf("%w: %w", ErrNoPath, &UnreachableError{Causes: []error{ErrTimeout, ErrRefused}}), CodeNoPath},
		{&SessionError{Err: fmt.Errorf("%w: x", ErrSlowPeer)}, CodeSlowPeer},
	} {
		if got := CodeOf(tc.err); got != tc.code {
			t.Errorf("%v: code %v, want %v", tc.err, got, tc.code)
		}
	}
}

func TestConfig(t *testing.T) {
	w := newWorld(t)
	good := Config{Key: testKey(t, "a"), Resolver: w, Handler: &node{}}
	if _, err := New(good); err != nil {
		t.Fatal(err)
	}
	for name, edit := range map[string]func(*Config){
		"no key":           func(c *Config) { c.Key = nil },
		"no resolver":      func(c *Config) { c.Resolver = nil },
		"no handler":       func(c *Config) { c.Handler = nil },
		"negative timeout": func(c *Config) { c.IdleTimeout = -1 },
		"many lanes":       func(c *Config) { c.Lanes = lanesMax + 1 },
		"many connections": func(c *Config) { c.Connections = connectionsMax + 1 },
		"more at most":     func(c *Config) { c.ConnectionsMax = connectionsMax + 1 },
		"fewer at most":    func(c *Config) { c.Connections, c.ConnectionsMax = 4, 3 },
		"negative bulk":    func(c *Config) { c.BulkWindow = -1 },
		"narrow":           func(c *Config) { c.StreamWindow, c.ConnWindow = 1<<20, 2<<20 },
		"negative queue":   func(c *Config) { c.ControlQueue = -1 },
	} {
		bad := good
		edit(&bad)
		if _, err := New(bad); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// The queue keeps order, reuses its two buffers, and is bounded in frames and in bytes.
func TestOutbox(t *testing.T) {
	lim := frame.Default()
	o := newOutbox(3, lim)
	for i := range 3 {
		if err := o.put(frame.Epoch(i), []byte{1}); err != nil {
			t.Fatal(err)
		}
	}
	if err := o.put(3, []byte{1}); !errors.Is(err, ErrSlowPeer) {
		t.Errorf("a fourth frame of three: %v", err)
	}
	buf, _ := o.take(nil)
	for i := range 3 {
		f, rest, err := frame.Parse(buf, &lim)
		if err != nil || f.Epoch() != frame.Epoch(i) {
			t.Fatalf("frame %d: %v, %v", i, f.Epoch(), err)
		}
		buf = rest
	}
	if err := o.put(0, make([]byte, lim.MessageBytesMax+1)); !errors.Is(err, frame.ErrLimit) {
		t.Errorf("a message over the limit: %v", err)
	}
	for range controlQueueBytesMax / int(lim.MessageBytesMax) {
		if err := o.put(0, make([]byte, lim.MessageBytesMax-frame.HeaderBytes)); err != nil {
			t.Fatal(err)
		}
	}
	if err := o.put(0, make([]byte, 1)); !errors.Is(err, ErrSlowPeer) {
		t.Errorf("a byte more than the queue holds: %v", err)
	}
	o.close()
	if err := o.put(0, []byte{1}); !errors.Is(err, ErrClosed) {
		t.Errorf("after the close: %v", err)
	}

	o = newOutbox(3, lim)
	msg := make([]byte, 50)
	buf = nil
	if n := testing.AllocsPerRun(100, func() {
		if err := o.put(1, msg); err != nil {
			t.Fatal(err)
		}
		buf, _ = o.take(buf)
	}); n > 0 {
		t.Errorf("%v allocations a frame", n)
	}
}

// A signature is good for one key, one channel and one end of it.
func TestChannel(t *testing.T) {
	k := testKey(t, "a")
	ch := channel{exporter: bytes.Repeat([]byte{1}, identity.ChannelExporterBytes)}
	sig, err := identity.SignChannel(k, ch.exporter, identity.Dialer)
	if err != nil {
		t.Fatal(err)
	}
	p := &preamble{key: k.Public()}
	copy(p.signature[:], sig)
	if err := ch.verify(p, identity.Dialer); err != nil {
		t.Fatal(err)
	}
	if err := ch.verify(p, identity.Acceptor); !errors.Is(err, ErrWrongKey) {
		t.Errorf("the other role: %v", err)
	}
	other := channel{exporter: bytes.Repeat([]byte{2}, identity.ChannelExporterBytes)}
	if err := other.verify(p, identity.Dialer); !errors.Is(err, ErrWrongKey) {
		t.Errorf("another channel: %v", err)
	}
	ch.tlsKey = testKey(t, "b").Public()
	if err := ch.verify(p, identity.Dialer); !errors.Is(err, ErrWrongKey) {
		t.Errorf("another key in TLS: %v", err)
	}
}
