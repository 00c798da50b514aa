package main

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/zeebo/xxh3"

	"ferry/identity"
	"ferry/internal/path"
)

// The contenders that carry a state over one stream: they digest it on both sides, as ferry does, from memory to memory
// or from file to file.

// writeBytes is how much is written, and read, at a time: what ferry has in a chunk.
const writeBytes = 256 << 10

// send brings n bytes of state over one stream, and waits for the receiver's digest of what came:
//
//	off size field
//	  0    8  n, little endian
//	  8    n  the bytes
//
// and back, 8 bytes of XXH3-64.
func send(rw io.ReadWriter, state io.ReaderAt, n int64) (s Sample, err error) {
	began := time.Now()
	var head [8]byte
	binary.LittleEndian.PutUint64(head[:], uint64(n))
	if _, err := rw.Write(head[:]); err != nil {
		return s, err
	}
	var h xxh3.Hasher
	buf := make([]byte, writeBytes)
	for off := int64(0); off < n; {
		got, err := state.ReadAt(buf[:min(n-off, writeBytes)], off)
		if err != nil && err != io.EOF {
			return s, err
		}
		h.Write(buf[:got])
		if _, err := rw.Write(buf[:got]); err != nil {
			return s, err
		}
		off += int64(got)
	}
	if _, err := io.ReadFull(rw, head[:]); err != nil {
		return s, err
	}
	if sum := binary.LittleEndian.Uint64(head[:]); sum != h.Sum64() {
		return s, fmt.Errorf("the receiver has %016x, not %016x", sum, h.Sum64())
	}
	return Sample{Bytes: n, Seconds: time.Since(began).Seconds()}, nil
}

// receive answers sends until the stream ends. What comes is written to the file at path, if that is not "".
func receive(rw io.ReadWriter, path string) error {
	buf := make([]byte, writeBytes)
	for {
		var head [8]byte
		if _, err := io.ReadFull(rw, head[:]); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		sum, err := take(rw, int64(binary.LittleEndian.Uint64(head[:])), path, buf)
		if err != nil {
			return err
		}
		binary.LittleEndian.PutUint64(head[:], sum)
		if _, err := rw.Write(head[:]); err != nil {
			return err
		}
	}
}

func take(r io.Reader, n int64, path string, buf []byte) (sum uint64, err error) {
	var h xxh3.Hasher
	out := io.Writer(&h)
	if path != "" {
		f, err := os.Create(path)
		if err != nil {
			return 0, err
		}
		defer f.Close()
		out = io.MultiWriter(&h, f)
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{out}, struct{ io.Reader }{io.LimitReader(r, n)}, buf)
	return h.Sum64(), err
}

// streamSource sends over a stream that it has dialed once.
type streamSource struct {
	dial func(ctx context.Context, to peer) (io.ReadWriteCloser, error)
	conn io.ReadWriteCloser
}

// do carries out
//
//	dial  Peers[0]: the sink
//	send  State, from the file at Dir/state if Dir is not ""
func (s *streamSource) do(ctx context.Context, o order) (r reply, err error) {
	switch o.Do {
	case "dial":
		s.conn, err = s.dial(ctx, o.Peers[0])
	case "send":
		if o.Dir == "" {
			r.Sample, err = send(s.conn, o.State, o.State.Bytes)
			break
		}
		f, err := os.Open(filepath.Join(o.Dir, stateName))
		if err != nil {
			return r, err
		}
		defer f.Close()
		r.Sample, err = send(s.conn, f, o.State.Bytes)
		return r, err
	default:
		err = errNoOrder
	}
	return r, err
}

func (s *streamSource) close() error {
	if s.conn == nil {
		return nil
	}
	return s.conn.Close()
}

// stateName is the file of a state in the directory of whoever has it.
const stateName = "state"

// sinkPath is where a sink writes to, given its order's directory.
func sinkPath(dir string) string {
	if dir == "" {
		return ""
	}
	return filepath.Join(dir, stateName)
}

// contenderConfig says who carries a state, and from where to where.
type contenderConfig struct {
	role        string
	from, to    string     // directories of the state's file; "": memory
	connections int        // of raw quic-go
	link        *path.Link // of the path, in both directions; nil: none but loopback
}

// contender is a source and a sink, in two processes.
type contender struct {
	cfg      contenderConfig
	source   *child
	sink     *child
	stopPath func() error
}

// startContender starts both. What it gives is to be stopped, also after an error.
func startContender(ctx context.Context, cfg contenderConfig) (c *contender, err error) {
	c = &contender{cfg: cfg, stopPath: func() error { return nil }}
	if c.sink, err = startChild(ctx, cfg.role+"/sink"); err != nil {
		return c, err
	}
	r, err := c.sink.ask(order{Do: "start", Dir: cfg.to})
	if err != nil {
		return c, err
	}
	if cfg.link != nil {
		p, err := path.Start(path.Both(r.Self.Addr, *cfg.link, 1))
		if err != nil {
			return c, err
		}
		c.stopPath, r.Self.Addr = p.Close, p.Addr().String()
	}
	if c.source, err = startChild(ctx, cfg.role+"/source"); err != nil {
		return c, err
	}
	_, err = c.source.ask(order{Do: "dial", Peers: []peer{r.Self}, Connections: cfg.connections})
	return c, err
}

// once brings a state over.
func (c *contender) once(_ context.Context, state stateSpec) (Sample, error) {
	before, err := cpuOf(c.source, c.sink)
	if err != nil {
		return Sample{}, err
	}
	r, err := c.source.ask(order{Do: "send", State: state, Dir: c.cfg.from})
	if err != nil {
		return Sample{}, err
	}
	after, err := cpuOf(c.source, c.sink)
	r.Sample.CPUSeconds = after - before
	return r.Sample, err
}

func (c *contender) stop() error {
	return errors.Join(c.source.stop(), c.sink.stop(), c.stopPath())
}

// keyOf is the key of a role. It keeps no secret: it is there so that every contender does the same TLS.
func keyOf(role string) *identity.Key {
	var seed [32]byte
	copy(seed[:], role)
	return identity.KeyFromSeed(seed)
}

// anyone admits every key: the bench is alone on its loopback ports.
func anyone(ed25519.PublicKey) error { return nil }
