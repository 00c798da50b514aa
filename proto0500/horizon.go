package proto0500

import "github.com/zeebo/xxh3"

// Horizon is a Bloom filter of the origins that a daemon has seen: 64 bits, 3 for each origin. It is what
// Link.HorizonEncoded holds; 0 when nothing was seen.
type Horizon uint64

// Observe adds an origin.
func (h *Horizon) Observe(o Origin) { *h |= horizonBits(o) }

// MayContain is false when o was never observed, and true when it was, or looks as if it was.
func (h Horizon) MayContain(o Origin) bool {
	bits := horizonBits(o)
	return h&bits == bits
}

func horizonBits(o Origin) Horizon {
	var b [8]byte
	le.PutUint64(b[:], uint64(o))
	x := xxh3.Hash(b[:])
	h1, h2 := uint32(x), uint32(x>>32)|1
	return 1<<(h1%64) | 1<<((h1+h2)%64) | 1<<((h1+2*h2)%64)
}
