package kv

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"

	"go.etcd.io/bbolt"
)

const (
	fillValueBytes = 64 << 10
	// fillBatchBytes is how much one transaction loads: enough that its commit
	// weighs little, little enough to be held in memory.
	fillBatchBytes = 32 << 20
)

// fill loads opts.FillBytes of values: keys fill/00000000 and up, 64 KiB each
// and the last one the rest, from the ChaCha8 stream of the seed. The caller
// syncs when it is done.
func fill(db *bbolt.DB, opts Options) (content Content, err error) {
	var (
		seed [32]byte
		h    entryHasher
	)
	binary.LittleEndian.PutUint64(seed[:], opts.FillSeed)
	stream := rand.NewChaCha8(seed)
	left := opts.FillBytes
	for n := 0; left > 0; {
		err := db.Update(func(tx *bbolt.Tx) error {
			kv := tx.Bucket(bucketKV)
			for batch := int64(0); batch < fillBatchBytes && left > 0; n++ {
				key, value := fmt.Appendf(nil, "fill/%08d", n), make([]byte, min(left, fillValueBytes))
				_, _ = stream.Read(value) // never fails
				content.add(h.hash(key, value))
				if err := kv.Put(key, value); err != nil {
					return err
				}
				batch += int64(len(value))
				left -= int64(len(value))
			}
			return nil
		})
		if err != nil {
			return Content{}, err
		}
	}
	return content, nil
}
