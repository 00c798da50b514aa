package snapshot

import (
	"fmt"
	"iter"
	"sync"

	"github.com/zeebo/xxh3"

	"ferry/proto0500"
)

// DigestBytes is the size of a Digest.
const DigestBytes = 16

// Digest is the XXH3-128, seed 0, of a chunk's payload, in its canonical form (high half first, big endian). It finds
// accidents; against forgery there are the peer's key and TLS. All zeros stand for a digest not known yet.
type Digest [DigestBytes]byte

func (d Digest) String() string { return fmt.Sprintf("%x", d[:]) }

// DigestOf is the digest of one chunk's payload.
func DigestOf(payload []byte) Digest { return xxh3.Hash128(payload).Bytes() }

// Digests are those of the chunks of one snapshot, as they become known, by index; 17 bytes a chunk. Many lanes may use
// it at once.
type Digests struct {
	mu    sync.Mutex
	sums  []byte // DigestBytes each, so that the whole is hashed where it lies
	state []slot
	held  uint32
}

// slot is what is known of a chunk. A claimed one is being written by a lane, and its digest is there.
type slot uint8

const (
	slotMissing slot = 0
	slotClaimed slot = 1
	slotHeld    slot = 2
)

// NewDigests is for total chunks, none of them known. The caller has checked total against its limits.
func NewDigests(total uint32) *Digests {
	return &Digests{sums: make([]byte, int(total)*DigestBytes), state: make([]slot, total)}
}

// Set records the digest of the chunk index, which must be below the total. A chunk read again has its digest
// replaced.
func (d *Digests) Set(index uint32, sum Digest) {
	d.mu.Lock()
	defer d.mu.Unlock()
	copy(d.at(index), sum[:])
	d.hold(index)
}

// Total is the number of chunks.
func (d *Digests) Total() uint32 { return uint32(len(d.state)) }

// Count is how many chunks are known.
func (d *Digests) Count() uint32 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.held
}

// Sum is the transfer digest: the digest of all chunks' digests in the order of their indexes. It is zero as long as
// one of them is not known.
func (d *Digests) Sum() Digest {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.held != uint32(len(d.state)) {
		return Digest{}
	}
	return DigestOf(d.sums)
}

// Held gives the runs of chunks that are known, ascending and apart from each other. What becomes known meanwhile may
// be in it or not.
func (d *Digests) Held() iter.Seq[proto0500.Range] { return d.runs(true) }

// Missing gives the runs of chunks that are not known, likewise.
func (d *Digests) Missing() iter.Seq[proto0500.Range] { return d.runs(false) }

func (d *Digests) runs(held bool) iter.Seq[proto0500.Range] {
	return func(yield func(proto0500.Range) bool) {
		for from := uint32(0); ; {
			r := d.run(from, held)
			if r.Chunks == 0 || !yield(r) {
				return
			}
			// The chunk after the run was of the other kind, or there is none: were it looked at again, and had
			// it changed, a second range would touch the first.
			from = r.First + r.Chunks + 1
		}
	}
}

// run finds the first run at or after from; it has no chunks when there is none.
func (d *Digests) run(from uint32, held bool) proto0500.Range {
	d.mu.Lock()
	defer d.mu.Unlock()
	total := uint32(len(d.state))
	first := min(from, total)
	for first < total && (d.state[first] == slotHeld) != held {
		first++
	}
	end := first
	for end < total && (d.state[end] == slotHeld) == held {
		end++
	}
	return proto0500.Range{First: first, Chunks: end - first}
}

// claim takes the chunk index for one lane to write, or says that it came before with the same bytes, or with others.
// A claimed chunk must be settled.
func (d *Digests) claim(index uint32, sum Digest) (fresh bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	at := d.at(index)
	if d.state[index] != slotMissing {
		if Digest(at) != sum {
			return false, fmt.Errorf("%w: digest %v, before %v", ErrConflict, sum, Digest(at))
		}
		return false, nil
	}
	copy(at, sum[:])
	d.state[index] = slotClaimed
	return true, nil
}

// settle ends a claim: the chunk is written, or it is missing again.
func (d *Digests) settle(index uint32, written bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.state[index] != slotClaimed {
		panic("snapshot: settled a chunk that was not claimed")
	}
	if written {
		d.hold(index)
	} else {
		d.state[index] = slotMissing
	}
}

func (d *Digests) hold(index uint32) {
	if d.state[index] != slotHeld {
		d.state[index] = slotHeld
		d.held++
	}
}

func (d *Digests) at(index uint32) []byte {
	return d.sums[int(index)*DigestBytes:][:DigestBytes]
}
