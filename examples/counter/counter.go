package main

import (
	"encoding/binary"
	"fmt"

	"ferry/daemon"
)

// counter is the whole daemon: it adds up what it is sent. Sequence numbers, the
// causal chain, the durable log and the move are the host's.
type counter struct{ sum int64 }

// kind is how nodes know it.
var kind = daemon.Kind{
	Name: "counter", Schema: 1,
	Open: func(daemon.Env) (daemon.Daemon, error) { return new(counter), nil },
}

// Apply adds the events' numbers.
func (c *counter) Apply(events []daemon.Event) error {
	for _, e := range events {
		n, size := binary.Varint(e.Payload)
		if size <= 0 {
			return fmt.Errorf("event %d is not a number", e.Seq)
		}
		c.sum += n
	}
	return nil
}

// Snapshot is the sum as of the last event.
func (c *counter) Snapshot() (daemon.Snapshot, error) {
	return daemon.Bytes(binary.AppendVarint(nil, c.sum)), nil
}

// Restore is the other end of Snapshot.
func (c *counter) Restore(s daemon.State) error {
	b := make([]byte, s.Size())
	if _, err := s.ReadAt(b, 0); err != nil {
		return err
	}
	c.sum, _ = binary.Varint(b)
	return nil
}

// Digest lets the target prove that it has the same state before it goes live.
func (c *counter) Digest() (uint64, error) { return uint64(c.sum)<<1 | 1, nil }

// Close has nothing to close.
func (c *counter) Close() error { return nil }
