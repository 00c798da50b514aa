package daemon_test

import (
	"encoding/binary"
	"fmt"

	"ferry/daemon"
)

// counter is a whole daemon: it adds up what it is sent. The host gives it its
// sequence numbers, its chain, its durable log, and its moves.
type counter struct{ sum int64 }

// Counter is the kind under which nodes know it.
var Counter = daemon.Kind{
	Name: "counter", Schema: 1,
	Open: func(daemon.Env) (daemon.Daemon, error) { return new(counter), nil },
}

// Add is the event that adds n.
func Add(n int64) []byte { return binary.AppendVarint(nil, n) }

func (c *counter) Apply(events []daemon.Event) error {
	for _, e := range events {
		n, size := binary.Varint(e.Payload)
		if size != len(e.Payload) {
			return fmt.Errorf("event %d is not a number", e.Seq)
		}
		c.sum += n
	}
	return nil
}

func (c *counter) Snapshot() (daemon.Snapshot, error) {
	return daemon.Bytes(binary.AppendVarint(nil, c.sum)), nil
}

func (c *counter) Restore(s daemon.State) error {
	b := make([]byte, s.Size())
	if _, err := s.ReadAt(b, 0); err != nil {
		return err
	}
	c.sum, _ = binary.Varint(b)
	return nil
}

func (c *counter) Digest() (uint64, error) { return uint64(c.sum)<<1 | 1, nil }

func (c *counter) Close() error { return nil }
