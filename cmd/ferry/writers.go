package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"ferry/examples/kv"
	"ferry/proto0500"
)

// writersOptions are those of the demo's fourth process: clients that offer
// writes at a fixed rate, whatever the answers take (an open loop), and keep
// their own record of every acknowledged one.
type writersOptions struct {
	nodes   []string
	rate    int
	clients int
	bytes   int
	records string // file of kv.Record
	timings string // file of timing
}

func newWritersCmd() *cobra.Command {
	var opts writersOptions
	cmd := &cobra.Command{
		Use:     "demo-writers --nodes URL,URL --records FILE --timings FILE",
		Short:   "The writers of ferry demo",
		Long:    "Offer writes at a fixed rate until stdin ends, and keep a record of every acknowledged one. ferry demo runs it.",
		Hidden:  true,
		Example: `  ferry demo-writers --nodes http://127.0.0.1:7502 --rate 2000 --records /tmp/records --timings /tmp/timings`,
		Args:    cobra.NoArgs,
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&opts.nodes, "nodes", nil, "base URLs of the nodes")
	flags.IntVar(&opts.rate, "rate", 2000, "writes offered per second")
	flags.IntVar(&opts.clients, "clients", 64, "writes under way at once")
	flags.IntVar(&opts.bytes, "bytes", 100, "bytes of a value")
	flags.StringVar(&opts.records, "records", "", "file for the records")
	flags.StringVar(&opts.timings, "timings", "", "file for the times")
	require(cmd, "nodes", "records", "timings")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		switch {
		case opts.rate < 1 || opts.clients < 1:
			return usagef("--rate and --clients must be above 0")
		}
		return runWriters(untilEnd(cmd.Context(), cmd.InOrStdin()), opts)
	}
	return cmd
}

// timing is one acknowledged write as its writer saw it, in nanoseconds since
// 1970: due when it was to be sent, done when the answer was there.
type timing struct {
	due, done int64
	seq       proto0500.Seq
}

const timingBytes = 24

func (t timing) append(b []byte) []byte {
	b = binary.LittleEndian.AppendUint64(b, uint64(t.due))
	b = binary.LittleEndian.AppendUint64(b, uint64(t.done))
	return binary.LittleEndian.AppendUint64(b, uint64(t.seq))
}

func readTimings(path string) ([]timing, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if len(b)%timingBytes != 0 {
		return nil, fmt.Errorf("%s: %d bytes are no whole number of timings", path, len(b))
	}
	list := make([]timing, 0, len(b)/timingBytes)
	for ; len(b) > 0; b = b[timingBytes:] {
		list = append(list, timing{
			due: int64(binary.LittleEndian.Uint64(b)), done: int64(binary.LittleEndian.Uint64(b[8:])),
			seq: proto0500.Seq(binary.LittleEndian.Uint64(b[16:])),
		})
	}
	return list, nil
}

const (
	// writeDeadline is how long a client goes on with one write.
	writeDeadline = 60 * time.Second
	// dueMax bounds the writes that are due and not sent: an open loop that is
	// a minute behind has nothing left to show.
	dueMax = 1 << 20
)

// runWriters writes until ctx ends, then waits for the answers still due.
func runWriters(ctx context.Context, opts writersOptions) (err error) {
	client, err := kv.NewClient(nil, opts.nodes...)
	if err != nil {
		return err
	}
	defer client.CloseIdle()
	out, err := createRecorder(opts.records, opts.timings)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.close()) }()

	type write struct {
		n   int
		due time.Time
	}
	due := make(chan write, dueMax)
	g, ctx := errgroup.WithContext(ctx) // the first failure ends the writing
	for range opts.clients {
		g.Go(func() error {
			value := make([]byte, max(opts.bytes, 8))
			for w := range due {
				key := fmt.Appendf(nil, "w/%09d", w.n)
				binary.LittleEndian.PutUint64(value, uint64(w.n)) // no two are the same
				wctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeDeadline)
				seq, err := client.Put(wctx, key, value)
				cancel()
				if err != nil {
					return fmt.Errorf("write %d: %w", w.n, err)
				}
				payload, err := kv.EncodePut(key, value)
				if err != nil {
					return err
				}
				t := timing{due: w.due.UnixNano(), done: time.Now().UnixNano(), seq: seq}
				if err := out.add(kv.Record{Seq: seq, Payload: payload}, t); err != nil {
					return err
				}
			}
			return nil
		})
	}
	begun := time.Now()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for n := 0; ctx.Err() == nil; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			continue
		}
		for now := time.Now(); ; n++ {
			at := begun.Add(time.Duration(n) * time.Second / time.Duration(opts.rate))
			if at.After(now) {
				break
			}
			select {
			case due <- write{n, at}:
			default:
				close(due)
				return errors.Join(errors.New("the writers are too far behind their rate"), g.Wait())
			}
		}
	}
	close(due)
	return g.Wait()
}

// recorder keeps what the writers saw, in memory until the end of a buffer: a
// writer must not wait for its own notebook.
type recorder struct {
	mu               sync.Mutex
	records, timings *os.File
	rb, tb           *bufio.Writer
	buf              []byte
}

func createRecorder(records, timings string) (*recorder, error) {
	r, err := os.Create(records)
	if err != nil {
		return nil, err
	}
	t, err := os.Create(timings)
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return &recorder{records: r, timings: t, rb: bufio.NewWriterSize(r, 1<<20), tb: bufio.NewWriterSize(t, 1<<18)}, nil
}

func (r *recorder) add(rec kv.Record, t timing) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.buf = rec.Append(r.buf[:0])
	_, err := r.rb.Write(r.buf)
	r.buf = t.append(r.buf[:0])
	_, err2 := r.tb.Write(r.buf)
	return errors.Join(err, err2)
}

func (r *recorder) close() error {
	return errors.Join(r.rb.Flush(), r.tb.Flush(), r.records.Close(), r.timings.Close())
}
