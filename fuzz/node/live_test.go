package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"ferry/daemon"
	"ferry/frame"
	"ferry/fuzz/internal/harness"
	"ferry/fuzz/internal/program"
	"ferry/identity"
	"ferry/journal"
	"ferry/proto0500"
	"ferry/transport"
)

// livePatience bounds what a live node is given for an answer. It is reached only when the target fails.
const livePatience = 20 * time.Second

// live is a node with a daemon, whom two attackers may talk to: one with the key of a node that may orchestrate, and one
// of a node that may not. An honest node asks it. Each attacker has a node of his own to attack, because who may
// orchestrate may have the daemon moved.
type live struct {
	hosts   [2]*daemon.Host // of the stranger, and of the orchestrator
	origins [2]proto0500.Origin
	honest  *daemon.Host
	lines   [2]*line
}

type liveNodes map[identity.NodeID]transport.Address

func (n liveNodes) Resolve(_ context.Context, id identity.NodeID) (transport.Address, error) {
	if a, ok := n[id]; ok {
		return a, nil
	}
	return transport.Address{}, fmt.Errorf("%w: %v", transport.ErrUnknownNode, id)
}

// tally is the daemon: it counts its events.
type tally struct{ n int }

func (c *tally) Apply(events []daemon.Event) error  { c.n += len(events); return nil }
func (c *tally) Snapshot() (daemon.Snapshot, error) { return daemon.Bytes([]byte{byte(c.n)}), nil }
func (c *tally) Restore(daemon.State) error         { return nil }
func (c *tally) Close() error                       { return nil }

// theLive is set up once a process, and lives as long as it: a fuzzing process has no later moment at which to end it.
var theLive = sync.OnceValues(startLive)

func startLive() (*live, error) {
	key := func(n byte) *identity.Key { return identity.KeyFromSeed([32]byte{n, 77}) }
	kind := daemon.Kind{Name: "tally", Schema: 1, InMemory: true, Open: func(daemon.Env) (daemon.Daemon, error) { return &tally{}, nil }}
	keys := []*identity.Key{key(1), key(2), key(3), key(4), key(5)} // two nodes, honest, stranger, orchestrator
	nodes := liveNodes{}
	for _, k := range keys {
		nodes[k.NodeID()] = transport.Address{ID: k.NodeID(), Key: k.Public()}
	}
	l := &live{}
	var hosts []*daemon.Host
	for _, k := range keys[:3] {
		dir, err := os.MkdirTemp("", "ferry-fuzz-*")
		if err != nil {
			return nil, err
		}
		liveDirs = append(liveDirs, dir)
		h, err := daemon.New(daemon.Config{Key: k, Dir: dir, Journal: journal.NewMemory(), Kinds: []daemon.Kind{kind},
			Resolver: nodes, Orchestrators: identity.NewAllowList(keys[4].NodeID()), Askers: identity.NewAllowList(keys[2].NodeID()), BlackoutMax: 20 * time.Millisecond})
		if err != nil {
			return nil, err
		}
		if err := h.Endpoint().Listen("127.0.0.1:0"); err != nil {
			return nil, err
		}
		nodes[k.NodeID()] = transport.Address{ID: k.NodeID(), Key: k.Public(), Addr: h.Endpoint().Addr().String()}
		hosts = append(hosts, h)
	}
	for _, h := range hosts {
		go h.Run(context.Background())
		<-h.Ready()
	}
	l.honest = hosts[2]
	for i := range l.hosts {
		l.hosts[i] = hosts[i]
		if err := hosts[i].Create(context.Background(), "d", "tally"); err != nil {
			return nil, err
		}
		st, err := hosts[i].Status(context.Background(), "d")
		if err != nil {
			return nil, err
		}
		l.origins[i] = st.Origin
		l.lines[i] = &line{key: keys[3+i], to: nodes[keys[i].NodeID()]}
	}
	return l, nil
}

var liveDirs []string

func TestMain(m *testing.M) {
	code := m.Run()
	for _, dir := range liveDirs {
		os.RemoveAll(dir)
	}
	os.Exit(code)
}

// line is an attacker's raw control stream, opened anew when the node has closed it.
type line struct {
	key  *identity.Key
	to   transport.Address
	conn *quic.Conn
	str  *quic.Stream
	in   *frame.Reader
}

func (l *line) open(ctx context.Context) error {
	if l.conn != nil {
		return nil
	}
	conn, err := quic.DialAddr(ctx, l.to.Addr, identity.ClientTLS(l.key, []string{transport.ALPN}, l.to.Key), transport.QUICConfig())
	if err != nil {
		return err
	}
	state := conn.ConnectionState().TLS
	exporter, err := identity.ChannelExporter(&state)
	if err != nil {
		return err
	}
	sig, err := identity.SignChannel(l.key, exporter, identity.Dialer)
	if err != nil {
		return err
	}
	str, err := conn.OpenStreamSync(ctx)
	if err != nil {
		return err
	}
	token := make([]byte, 16)
	for i := range token {
		token[i] = byte(rand.Uint32())
	}
	// With a hello: without one it would be answered nothing of ours.
	lim := frame.Default()
	hello, _ := proto0500.Hello{Version: proto0500.HelloVersion, MessageBytesMax: lim.MessageBytesMax}.Append(nil, &lim)
	hello, _ = frame.Append(nil, 0, hello, &lim)
	hail := slices.Concat([]byte("FRY\x05\x00\x01\x01\x00"), []byte(l.key.Public()), sig, token, []byte{2, 0, 0, 0, 0, 0, 0, 0}, hello)
	if _, err := str.Write(hail); err != nil {
		return err
	}
	answer := make([]byte, 120)
	if err := readAll(str, answer); err != nil {
		return err
	}
	l.conn, l.str, l.in = conn, str, frame.NewReader(str, frame.Default())
	return nil
}

func readAll(str *quic.Stream, b []byte) error {
	str.SetReadDeadline(time.Now().Add(livePatience))
	for len(b) > 0 {
		n, err := str.Read(b)
		if b = b[n:]; err != nil && len(b) > 0 {
			return err
		}
	}
	return nil
}

// say sends bytes and then a query, and reads until its answer, or until the node closes the stream: then everything
// before it was taken.
func (l *line) say(ctx context.Context, b []byte, mark frame.Epoch) (closed error, err error) {
	if err := l.open(ctx); err != nil {
		return nil, err
	}
	lim := frame.Default()
	query, _ := proto0500.Query{}.Append(nil, &lim)
	b, err = frame.Append(b, mark, query, &lim)
	if err != nil {
		return nil, err
	}
	l.str.SetDeadline(time.Now().Add(livePatience))
	_, err = l.str.Write(b)
	for err == nil {
		var f frame.Frame
		if f, err = l.in.Next(); err == nil && f.Epoch() == mark {
			return nil, nil
		}
	}
	l.conn.CloseWithError(0, "")
	l.conn = nil
	if _, ok := errors.AsType[*quic.ApplicationError](err); ok || err == io.EOF {
		return err, nil
	}
	if _, ok := errors.AsType[*quic.StreamError](err); ok {
		return err, nil
	}
	return nil, err
}

// markEpoch is that of the attackers' own queries: no program's epoch comes near it.
const markEpoch frame.Epoch = 1 << 60

// FuzzControl: the control stream of a live node. Whatever frames it is sent, whole, damaged or mended, by a node that
// may orchestrate or one that may not: it answers or closes the stream, an honest node gets its report, and where the
// sender may not orchestrate, the daemon's record is as before and the daemon takes the next write.
func FuzzControl(f *testing.F) { fuzzControl(f) }

func fuzzControl(f harness.F) {
	harness.MessageSeeds(f, func(b []byte) { f.Add(b, []byte{9, 8, 2, 4, 0, 16}, uint64(1), false, true) })
	f.Add([]byte{0x82}, []byte{0, 2, 1, 9, 200, 2, 2, 0, 3, 2, 0, 4, 1, 5, 1}, uint64(0), true, true)
	f.Add([]byte{0x90}, []byte{0, 1, 3}, uint64(1), true, false)
	f.Add([]byte("\x81garbage"), []byte{12, 1, 10, 0}, uint64(0), true, false)
	f.Fuzz(func(t *testing.T, msg, code []byte, epoch uint64, orchestrator, mend bool) {
		l, err := theLive()
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), livePatience)
		defer cancel()
		who := 0
		if orchestrator {
			who = 1
		}
		host, origin := l.hosts[who], l.origins[who]
		before, err := host.Status(ctx, "d")
		if err != nil {
			t.Fatal(err)
		}
		said, good := liveFrames(msg, code, frame.Epoch(epoch), origin, mend)
		closed, err := l.lines[who].say(ctx, said, markEpoch)
		if err != nil {
			t.Fatalf("the node neither answers nor closes: %v", err)
		}
		if closed == nil {
			harness.Accept("frames")
		} else if good {
			t.Fatalf("all frames were good, and the node closed: %v", closed)
		}
		reports, err := l.honest.Query(ctx, host.Node())
		if err != nil || !slices.ContainsFunc(reports, func(r proto0500.Report) bool { return r.DaemonOrigin == origin }) {
			t.Fatalf("an honest query gets %d reports, %v", len(reports), err)
		}
		after, err := host.Status(ctx, "d")
		if err != nil {
			t.Fatal(err)
		}
		if after.Epoch < before.Epoch || after.Origin != origin {
			t.Fatalf("%+v after %+v", after, before)
		}
		if harness.Canary() && len(code) > 5 && closed == nil {
			after.State++
		}
		if orchestrator {
			return
		}
		if after.Epoch != before.Epoch || after.State != before.State || after.Peer != before.Peer || !after.Authority {
			t.Fatalf("a stranger has made %+v of %+v", after, before)
		}
		if _, err := host.Write(ctx, "d", []byte("still here")); err != nil {
			t.Fatalf("the daemon takes no write: %v", err)
		}
	})
}

// liveFrames is a few frames: msg in one, as it is or mended, and what code says in others. good: all are to be taken.
func liveFrames(msg, code []byte, epoch frame.Epoch, origin proto0500.Origin, mend bool) (b []byte, good bool) {
	lim, good := frame.Default(), true
	put := func(epoch frame.Epoch, m proto0500.Message) {
		raw, err := m.Append(nil, &lim)
		if err != nil {
			return // a value that has no encoding
		}
		if len(raw) > 9 && proto0500.Origin(0) != origin { // of the daemon here
			for i := range 8 {
				raw[1+i] = byte(origin >> (8 * i))
			}
		}
		if b2, err := frame.Append(b, epoch, raw, &lim); err == nil {
			b = b2
		}
	}
	p := &program.Program{Rest: code[:min(len(code), 64)]}
	for len(p.Rest) > 0 {
		f := p.Frame(epoch % (1 << 40))
		put(f.Epoch, f.Message)
	}
	if len(msg) == 0 {
		return b, good
	}
	_, err := proto0500.Decode(msg, &lim)
	good = err == nil
	framed, err := frame.Append(nil, epoch%(1<<40), msg, &lim)
	if err != nil {
		return b, true
	}
	if !mend {
		framed[int(epoch)%len(framed)] ^= byte(epoch >> 8)
		_, _, err := frame.Parse(framed, &lim)
		good = good && err == nil
	}
	return append(b, framed...), good
}
