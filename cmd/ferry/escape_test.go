package main

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"unicode"

	"ferry/frame"
	"ferry/proto0500"
	"ferry/transport"
)

func TestEscape(t *testing.T) {
	for in, want := range map[string]string{
		"":                           "",
		"orders, gelöscht: 日本":       "orders, gelöscht: 日本",
		"a\nb\tc":                    "a\nb\tc",
		"\x1b[2J\x07":                `\x1b[2J\x07`,
		"safe\u202egpj.exe":          `safe\u202egpj.exe`,
		"\xff\xfe and \ufffd":        `\xff\xfe and \ufffd`,
		"\U000e0041 tag\u200b\u2028": `\U000e0041 tag\u200b\u2028`,
	} {
		if got := escape(in); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
	if got := oneLine("a\r\nb\tc\x1b[0m"); got != `a b c\x1b[0m` {
		t.Errorf("%s", got)
	}
}

// hostileText would clear a screen, begin a line of its own, and turn what follows around.
const hostileText = "\x1b[2J\x1b]0;owned\x07 no\r\nferry: orders moved to b\u202e\u009b31m"

// hostile is a node that says the worst of everything.
type hostile struct {
	t      *testing.T
	origin proto0500.Origin
	name   string
}

func (h hostile) Opened(*transport.Session, []byte) error { return nil }
func (h hostile) Closed(*transport.Session, error)        {}
func (h hostile) Stream(_ *transport.Session, st *transport.Stream) {
	st.Cancel(transport.CodeRefused)
}

func (h hostile) Control(s *transport.Session, f frame.Frame) {
	lim := frame.Default()
	m, err := proto0500.Decode(slices.Clone(f.Message()), &lim)
	if err != nil {
		h.t.Error(err)
		return
	}
	var answer proto0500.Message
	switch m := m.(type) {
	case proto0500.Query:
		answer = proto0500.Report{DaemonOrigin: h.origin, State: proto0500.StateServing, Copy: true, Name: proto0500.Text(h.name),
			DaemonKind: proto0500.Text(hostileText), Last: true}
	case proto0500.Begin, proto0500.Prepare:
		answer = proto0500.Rejected{DaemonOrigin: m.Origin(), Refused: m.Kind(), Reason: proto0500.RejectWrongState, Text: proto0500.Text(hostileText)}
	default:
		return
	}
	b, err := answer.Append(nil, &lim)
	if err == nil {
		err = s.Send(f.Epoch(), b)
	}
	if err != nil {
		h.t.Error(err)
	}
}

// run is the node name of the cluster until the test ends.
func (h hostile) run(w *world, name string) *transport.Endpoint {
	w.t.Helper()
	lim := frame.Default()
	hello, err := proto0500.Hello{Version: proto0500.HelloVersion, MessageBytesMax: lim.MessageBytesMax, LanesMax: 4, BootID: 7}.Append(nil, &lim)
	mustDo(w.t, err)
	ep, err := transport.New(transport.Config{Key: w.key(name), Resolver: w.file, Handler: h, Hello: func() []byte { return hello }})
	mustDo(w.t, err)
	mustDo(w.t, ep.Listen(w.find(name).Addr))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- ep.Run(ctx) }()
	w.t.Cleanup(func() {
		cancel()
		<-done
	})
	return ep
}

// What a hostile node says of itself and why it refuses, people get to read and
// their terminals do not: neither from the commands nor from a node's log.
func TestTextsOfPeersAreEscaped(t *testing.T) {
	slow(t)
	for name, of := range map[string]string{"a name that is none": hostileText, "a name that is asked for": "orders"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "a", "b", "o")
			ep := hostile{t, 77, of}.run(w, "a")
			b := w.node("b", "--verbose")
			clean := func(what, text string) {
				t.Helper()
				for _, r := range text {
					if r != '\n' && !unicode.IsPrint(r) {
						t.Fatalf("%s has %q: %q", what, r, text)
					}
				}
			}
			r := command(t, w.migrateArgs("orders", "b", "--wait", "0")...)
			if r.code == exitDone || !strings.Contains(r.stderr, `\x1b[2J`) || strings.Contains(r.stderr, "\nferry: orders moved") {
				t.Errorf("exit %d: %q", r.code, r.stderr)
			}
			clean("migrate", r.stdout+r.stderr)
			r = command(t, "status", "--cluster", w.path("o"), "--as", "o")
			clean("status", r.stdout+r.stderr)
			if n := strings.Count(r.stdout, "\n"); n != 3 { // the heading, a and b
				t.Errorf("%d lines: %q", n, r.stdout)
			}
			r = command(t, "status", "--cluster", w.path("o"), "--as", "o", "--json")
			clean("status --json", r.stdout)
			var res statusResult
			if err := json.Unmarshal([]byte(r.stdout), &res); err != nil || res.Nodes[0].Daemons[0].Kind != hostileText {
				t.Errorf("another text, %v: %q", err, r.stdout)
			}
			r = command(t, "settle", "--cluster", w.path("o"), "--as", "o", "--daemon", "orders")
			clean("settle", r.stdout+r.stderr)

			// To b it says what b did not ask.
			s, err := ep.Session(t.Context(), w.find("b").ID())
			mustDo(t, err)
			lim := frame.Default()
			for _, m := range []proto0500.Message{
				proto0500.Rejected{DaemonOrigin: 77, Refused: proto0500.KindPrepare, Text: proto0500.Text(hostileText)},
				proto0500.MigrationFailed{DaemonOrigin: 77, Reason: proto0500.NewReason(proto0500.CodeStateFailed, hostileText)},
				proto0500.Begin{DaemonOrigin: 77},
			} {
				text, err := m.Append(nil, &lim)
				mustDo(t, err)
				mustDo(t, s.Send(0, text))
			}
			bad := []byte{byte(proto0500.KindMigrationFailed), 77}
			mustDo(t, s.Send(0, bad))
			b.await("malformed control message")
			clean("b's log", b.said())
		})
	}
}
