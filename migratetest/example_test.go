package migratetest_test

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"

	"ferry/daemon"
	"ferry/migratetest"
)

// meter is a daemon of yours.
type meter struct{ sum int64 }

func (m *meter) Apply(events []daemon.Event) error {
	for _, e := range events {
		n, _ := binary.Varint(e.Payload)
		m.sum += n
	}
	return nil
}

func (m *meter) Snapshot() (daemon.Snapshot, error) {
	return daemon.Bytes(binary.AppendVarint(nil, m.sum)), nil
}

func (m *meter) Restore(s daemon.State) error {
	b := make([]byte, s.Size())
	_, err := s.ReadAt(b, 0)
	m.sum, _ = binary.Varint(b)
	return err
}

func (m *meter) Digest() (uint64, error) { return uint64(m.sum)<<1 | 1, nil }

func (m *meter) Close() error { return nil }

var meters = daemon.Kind{
	Name: "meter", Schema: 1,
	Open: func(daemon.Env) (daemon.Daemon, error) { return new(meter), nil },
}

// In a file of tests beside the daemon: all that it takes.
func Example() {
	testMoves := func(t *testing.T) {
		migratetest.Run(t, meters, migratetest.Options{
			Generate: func(r *rand.Rand) []byte { return binary.AppendVarint(nil, r.Int64N(1000)) },
		})
	}
	_ = testMoves
}

func TestMeter(t *testing.T) {
	migratetest.Run(t, meters, migratetest.Options{
		Generate: func(r *rand.Rand) []byte { return binary.AppendVarint(nil, r.Int64N(1000)) },
		Moves:    40,
	})
}
