package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"ferry/transport"
)

// roleEnv makes a process of this program a child, and says which part it plays.
const roleEnv = "FERRY_BENCH_ROLE"

// order is what a child is told, one line of JSON each; its reply is another. What a field means is said where the
// order is carried out.
type order struct {
	Do          string
	Dir         string
	Name        string
	Kind        string
	State       stateSpec
	Peers       []peer
	Lanes       int
	Connections int
	Writes      writesConfig
	From, To    int64
}

// peer is a node as others see it.
type peer struct {
	transport.Address
	HTTP string
}

type reply struct {
	Error   string
	Self    peer // start: who it is, and where it listens
	Usage   Usage
	Sample  Sample
	Latency latency
	Writes  writesSeen
}

// Sample is one transfer. The bytes are those that the receiver has verified.
type Sample struct {
	Bytes      int64
	Seconds    float64
	CPUSeconds float64 // of both processes, user and system; filled in by the parent
}

func (s Sample) rate() float64      { return float64(s.Bytes) / 1e6 / s.Seconds } // MB/s
func (s Sample) cpuPerGiB() float64 { return s.CPUSeconds / float64(s.Bytes) * (1 << 30) }

// part is what a child does. Its methods are called one at a time.
type part interface {
	do(ctx context.Context, o order) (reply, error)
	close() error
}

func newPart(role string) (part, error) {
	switch role {
	case "tcp/source":
		return &streamSource{dial: dialTCP}, nil
	case "tcp/sink":
		return &tcpSink{}, nil
	case "quic/source":
		return &streamSource{dial: dialQUIC}, nil
	case "quic/sink":
		return &quicSink{}, nil
	case "raw/source":
		return &rawSource{}, nil
	case "raw/sink":
		return &rawSink{}, nil
	case "host/a", "host/b":
		return &host{name: role}, nil
	case "writers":
		return &writers{}, nil
	}
	return nil, fmt.Errorf("no such part")
}

// runChild plays a part until in ends, as it does when the parent is gone.
func runChild(role string, in io.Reader, out io.Writer) (err error) {
	p, err := newPart(role)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var watch sampler
	done := make(chan struct{})
	defer close(done)
	go watch.run(done)
	dec, enc := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var o order
		if err := dec.Decode(&o); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		var r reply
		switch o.Do {
		case "watch":
			watch.reset()
		case "usage":
			r.Usage = watch.usage()
		default:
			if r, err = p.do(ctx, o); err != nil {
				r.Error = err.Error()
			}
		}
		if err := enc.Encode(r); err != nil {
			return err
		}
	}
}

var errNoOrder = errors.New("no such order for this part")

// child is a running child, as its parent sees it.
type child struct {
	role string
	cmd  *exec.Cmd
	in   io.WriteCloser
	enc  *json.Encoder
	dec  *json.Decoder
}

// startChild runs this program once more. The child ends with ctx, with stop, or when this process does.
func startChild(ctx context.Context, role string) (*child, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &child{role: role, cmd: exec.CommandContext(ctx, exe)}
	c.cmd.Env = append(os.Environ(), roleEnv+"="+role, "QUIC_GO_DISABLE_RECEIVE_BUFFER_WARNING=true")
	c.cmd.Stderr = os.Stderr
	c.cmd.WaitDelay = 5 * time.Second
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.enc, c.dec = json.NewEncoder(c.in), json.NewDecoder(out)
	return c, c.cmd.Start()
}

// ask gives an order and waits for the reply.
func (c *child) ask(o order) (r reply, err error) {
	if err := c.enc.Encode(o); err != nil {
		return r, fmt.Errorf("%s: %w", c.role, err)
	}
	if err := c.dec.Decode(&r); err != nil {
		return r, fmt.Errorf("%s has ended: %w", c.role, err)
	}
	if r.Error != "" {
		return r, fmt.Errorf("%s: %s: %s", c.role, o.Do, r.Error)
	}
	return r, nil
}

// stop ends the child and waits for it.
func (c *child) stop() error {
	if c == nil {
		return nil
	}
	c.in.Close()
	return c.cmd.Wait()
}

// cpuOf is the CPU time that children have used so far, in seconds.
func cpuOf(children ...*child) (sum float64, err error) {
	for _, c := range children {
		r, err := c.ask(order{Do: "usage"})
		if err != nil {
			return 0, err
		}
		sum += r.Usage.CPUSeconds
	}
	return sum, nil
}
