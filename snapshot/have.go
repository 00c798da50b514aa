package snapshot

import "ferry/proto0500"

// HaveDigestsMax bounds a HaveSet: chunks of 1 MiB come to 256 GiB.
const HaveDigestsMax = 1 << 18

// HaveSet has the digests of chunks that the target said it has. It is filled by one goroutine; after that many may ask
// it. A nil set is empty.
type HaveSet struct {
	digests map[Digest]struct{}
	most    int
}

// NewHaveSet takes at most that many digests. 0: HaveDigestsMax.
func NewHaveSet(most int) *HaveSet {
	if most <= 0 {
		most = HaveDigestsMax
	}
	return &HaveSet{digests: make(map[Digest]struct{}), most: most}
}

// Add takes the digests of m, which it copies. Those beyond the bound are forgotten: their chunks are then sent.
func (h *HaveSet) Add(m *proto0500.Have) {
	for d := range m.Digests.All() {
		if len(h.digests) >= h.most {
			return
		}
		h.digests[d] = struct{}{}
	}
}

// Has says whether the target said that it has the chunk.
func (h *HaveSet) Has(d Digest) bool {
	if h == nil {
		return false
	}
	_, ok := h.digests[d]
	return ok
}

// Len is the number of digests.
func (h *HaveSet) Len() int {
	if h == nil {
		return 0
	}
	return len(h.digests)
}
