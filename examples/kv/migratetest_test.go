package kv

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"ferry/daemon"
	"ferry/migratetest"
)

// The store under every fault of the simulator. Two files that hold the same have different pages, so what is compared
// is what is in them, counted anew.
func TestMigrates(t *testing.T) {
	migratetest.Run(t, Kind(Options{GrowBytes: 1 << 16, MapBytes: 1 << 24}), migratetest.Options{
		Generate: func(r *rand.Rand) []byte {
			key := fmt.Append(nil, "k", r.IntN(20))
			if r.IntN(4) == 0 {
				return must(EncodeDelete(key))
			}
			return must(EncodePut(key, make([]byte, r.IntN(3000))))
		},
		State: func(d daemon.Daemon) ([]byte, error) {
			said, counted, err := d.(*Store).Recount()
			return fmt.Append(nil, said, counted), err
		},
		Moves:   20,
		Events:  12,
		Timeout: 4 * time.Second,
	})
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}
