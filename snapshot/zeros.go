package snapshot

import (
	"bytes"

	"github.com/zeebo/xxh3"
)

// zeroPage is what zeros are compared with, hashed and written from.
var zeroPage [64 << 10]byte

// comparePage is as much of zeroPage as stays in the first cache beside what it is compared with.
const comparePage = 4 << 10

// allZeros says whether b holds nothing but zeros. Of other bytes it looks at few.
func allZeros(b []byte) bool {
	for len(b) > comparePage {
		if !bytes.Equal(b[:comparePage], zeroPage[:comparePage]) {
			return false
		}
		b = b[comparePage:]
	}
	return bytes.Equal(b, zeroPage[:len(b)])
}

// zeroDigests gives the digest of n zeros, of which a transfer has two lengths at most.
type zeroDigests struct {
	full, last   Digest
	fullN, lastN int
}

func newZeroDigests(l *layout) zeroDigests {
	_, full := l.chunk(0)
	_, last := l.chunk(l.total - 1)
	z := zeroDigests{full: digestOfZeros(full), fullN: full, lastN: last}
	z.last = z.full
	if last != full {
		z.last = digestOfZeros(last)
	}
	return z
}

func (z *zeroDigests) of(n int) Digest {
	if n == z.fullN {
		return z.full
	}
	if n != z.lastN {
		panic("snapshot: zeros as long as no chunk of the transfer")
	}
	return z.last
}

func digestOfZeros(n int) Digest {
	if n <= len(zeroPage) {
		return DigestOf(zeroPage[:n])
	}
	h := xxh3.New()
	for n > 0 {
		part := min(n, len(zeroPage))
		_, _ = h.Write(zeroPage[:part]) // it never fails
		n -= part
	}
	return h.Sum128().Bytes()
}
