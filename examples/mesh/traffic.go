package mesh

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"

	"ferry/daemon"
	"ferry/identity"
)

// messageBytesMax bounds a message of the mesh, which is a line of JSON.
const messageBytesMax = 64 << 10

// message is everything that the mesh says.
type message struct {
	Kind   string             // "ping", "pong", "write" or "wrote"
	Seq    uint64             // ping: its number, given back in pong; wrote: the event's
	Owners []daemon.Authority // who serves what, as far as the sender knows

	Daemon  string // write
	Payload []byte // write
	Error   string // wrote: why not
}

// traffic counts what the mesh says for itself.
type traffic struct {
	mu      sync.Mutex
	quiet   bool
	end     chan struct{} // closed when quiet
	pingers sync.WaitGroup

	sent, answered, heard atomic.Uint64
	slowestNs             atomic.Int64
}

// Traffic is what a node's pings came to.
type Traffic struct {
	Sent, Answered uint64        // pings of this node
	Heard          uint64        // pings of others
	Slowest        time.Duration // from a ping to its answer, since this was last asked
}

// Traffic tells what the mesh's own messages came to so far.
func (n *Node) Traffic() Traffic {
	t := &n.traffic
	return Traffic{
		Sent: t.sent.Load(), Answered: t.answered.Load(), Heard: t.heard.Load(),
		Slowest: time.Duration(t.slowestNs.Swap(0)),
	}
}

// Quiet ends the node's pings, and returns when those under way are answered or their connections gone.
func (n *Node) Quiet() {
	t := &n.traffic
	t.mu.Lock()
	if !t.quiet {
		t.quiet = true
		close(t.end)
	}
	t.mu.Unlock()
	t.pingers.Wait()
}

// enter counts a pinger; false after Quiet.
func (t *traffic) enter() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.quiet {
		t.pingers.Add(1)
	}
	return !t.quiet
}

// line is a stream of messages.
type line struct {
	*quic.Stream
	in *bufio.Reader
}

func newLine(str *quic.Stream) line {
	return line{str, bufio.NewReaderSize(str, messageBytesMax)}
}

func (l line) say(m message) error {
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	_, err = l.Write(append(b, '\n'))
	return err
}

// hear fails on a message over messageBytesMax.
func (l line) hear() (m message, err error) {
	b, err := l.in.ReadSlice('\n')
	if err != nil {
		return m, err
	}
	return m, json.Unmarshal(b, &m)
}

func (l line) end() {
	l.CancelRead(0)
	l.Close()
}

// ping says, over and over on one stream, what the node knows, and listens for the answers.
func (n *Node) ping(conn *quic.Conn) {
	t := &n.traffic
	if !t.enter() {
		return
	}
	defer t.pingers.Done()
	str, err := conn.OpenStreamSync(conn.Context())
	if err != nil {
		return
	}
	l := newLine(str)
	defer l.end()
	tick := time.NewTicker(n.cfg.Every)
	defer tick.Stop()
	for seq := uint64(1); ; seq++ {
		select {
		case <-tick.C:
		case <-t.end:
			return
		case <-conn.Context().Done():
			return
		}
		began := time.Now()
		t.sent.Add(1)
		if err := l.say(message{Kind: "ping", Seq: seq, Owners: n.table.all()}); err != nil {
			return
		}
		pong, err := l.hear()
		if err != nil || pong.Seq != seq {
			n.cfg.Log.Warn("ping not answered", "seq", seq, "answer", pong.Seq, "err", err)
			return
		}
		t.answered.Add(1)
		for took := int64(time.Since(began)); ; {
			slowest := t.slowestNs.Load()
			if took <= slowest || t.slowestNs.CompareAndSwap(slowest, took) {
				break
			}
		}
	}
}

// serve answers a peer's messages on one stream.
func (n *Node) serve(str *quic.Stream) {
	l := newLine(str)
	defer l.end()
	for {
		m, err := l.hear()
		if err != nil {
			return
		}
		answer := message{Kind: "pong", Seq: m.Seq}
		switch m.Kind {
		case "ping":
			n.traffic.heard.Add(1)
			for _, a := range m.Owners {
				n.table.learn(a)
			}
		case "write":
			// The stream's context ends when the peer does not want the answer any more.
			answer = n.write(str.Context(), m)
		default:
			answer.Error = fmt.Sprintf("no message of kind %q", m.Kind)
		}
		if err := l.say(answer); err != nil {
			return
		}
	}
}

// ask sends a peer one message and gives its answer.
func (n *Node) ask(ctx context.Context, peer identity.NodeID, m message) (answer message, err error) {
	conn, err := n.conn(ctx, peer)
	if err != nil {
		return answer, err
	}
	str, err := conn.OpenStreamSync(ctx)
	if err != nil {
		return answer, err
	}
	l := newLine(str)
	defer l.end()
	stop := context.AfterFunc(ctx, func() { str.SetDeadline(time.Now()) })
	defer stop()
	if err := errors.Join(l.say(m), str.Close()); err != nil {
		return answer, err
	}
	return l.hear()
}
