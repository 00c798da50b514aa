package snapshot

import (
	"fmt"
	"io"
	"iter"
	"sync/atomic"

	"ferry/frame"
	"ferry/proto0500"
)

// TrailerBytesDefault is the most that a Placer takes for bindings and identity when its config does not say.
const TrailerBytesDefault = 1 << 20

// PlacerConfig is what Transfer announced, and what the target takes.
type PlacerConfig struct {
	Origin     proto0500.Origin
	SeqThrough proto0500.Seq
	Version    uint8  // of the envelope; VersionFor(StateSize, …)
	Size       int64  // of the envelope, bytes
	StateSize  int64  // of the state in it, bytes
	ChunkBytes uint32 // of every chunk but the last

	// State takes the state, its first byte at offset 0, from many lanes at once.
	State io.WriterAt
	// StateZeroed: State holds StateSize zeros to begin with, as a file does that was just made that long. Chunks of
	// zeros are then not written.
	StateZeroed bool

	// Limits bound ChunkBytes and the number of chunks, for each of which the Placer holds 17 bytes.
	Limits frame.Limits
	// SizeMax bounds Size. 0: only Limits do.
	SizeMax int64
	// TrailerBytesMax bounds what follows the state, which is held in memory. 0: TrailerBytesDefault.
	TrailerBytesMax int64

	// AfterBytes, if there is one, is called by the lane that has written n bytes of the state at off: to have them
	// brought to disk early, while the transfer goes on.
	AfterBytes func(off, n int64)
}

// Placer is the target's side of a transfer whose sizes are agreed. Each chunk's place is known before it comes, so
// they may come in any order from many lanes, and its bytes go straight from the frame to the state's file.
//
// What holds:
//  1. A byte of the state is written by one lane, once: a chunk is claimed under its digest first. What comes twice is
//     not written again, so that a late copy cannot change what was verified.
//  2. A chunk counts as placed only after its bytes were written.
//  3. Nothing is allocated after NewPlacer, which checks every size against the caller's limits first.
type Placer struct {
	cfg PlacerConfig
	layout
	digests *Digests
	zeros   zeroDigests
	header  []byte
	trailer []byte
	bytes   atomic.Int64
	torn    atomic.Bool // a write failed, and may have left a part: State is no longer zeros where a chunk is missing
}

// NewPlacer begins a transfer. What the announced sizes cannot be is ErrMismatch; what is too much is ErrTooLarge or
// frame.ErrLimit.
func NewPlacer(cfg PlacerConfig) (*Placer, error) {
	fail := func(err error) (*Placer, error) {
		return nil, fmt.Errorf("placer of daemon %016x: %w", uint64(cfg.Origin), err)
	}
	if cfg.TrailerBytesMax == 0 {
		cfg.TrailerBytesMax = TrailerBytesDefault
	}
	if cfg.Version != Version2 && cfg.Version != Version3 {
		return fail(fmt.Errorf("%w: %d", frame.ErrVersion, cfg.Version))
	}
	if cfg.SizeMax != 0 && cfg.Size > cfg.SizeMax {
		return fail(fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, cfg.Size, cfg.SizeMax))
	}
	if cfg.Version == Version2 && cfg.StateSize > 0 {
		if _, err := VersionFor(uint64(cfg.StateSize), false); err != nil {
			return fail(err)
		}
	}
	ends := int64(headerBytes(cfg.Version) + trailerBytesLeast(cfg.Version))
	if cfg.StateSize < 0 || cfg.Size < ends || cfg.StateSize > cfg.Size-ends {
		return fail(fmt.Errorf("%w: a snapshot of %d bytes with a state of %d", ErrMismatch, cfg.Size, cfg.StateSize))
	}
	trailer := cfg.Size - int64(headerBytes(cfg.Version)) - cfg.StateSize
	if trailer > cfg.TrailerBytesMax {
		return fail(fmt.Errorf("%w: trailer of %d bytes, at most %d", ErrTooLarge, trailer, cfg.TrailerBytesMax))
	}
	l, err := newLayout(cfg.Size, cfg.ChunkBytes, &cfg.Limits)
	if err != nil {
		return fail(err)
	}
	return &Placer{
		cfg:     cfg,
		layout:  l,
		digests: NewDigests(l.total),
		zeros:   newZeroDigests(&l),
		header:  make([]byte, headerBytes(cfg.Version)),
		trailer: make([]byte, trailer),
	}, nil
}

// Place puts the chunk m, which is borrowed, where it belongs. It is fresh when it was not there before; the same bytes
// again are ignored, also while another lane is still writing them. A chunk that is none of this transfer, or not as long as its index says, is ErrMismatch; the same
// chunk with other bytes ErrConflict; both are *ChunkError and change nothing. An error of State is wrapped in one too,
// and leaves the chunk missing.
func (p *Placer) Place(m *proto0500.SnapshotReady) (fresh bool, err error) {
	if err := p.identify(m); err != nil {
		return false, err
	}
	off, n := p.chunk(m.ChunkIndex)
	if len(m.SnapshotBytes) != n {
		return false, refuse(m, "len", fmt.Errorf("%w: %d bytes, not %d", ErrMismatch, len(m.SnapshotBytes), n))
	}
	fresh, err = p.digests.claim(m.ChunkIndex, DigestOf(m.SnapshotBytes))
	if err != nil {
		return false, refuse(m, "snapshot_bytes", err)
	}
	if !fresh {
		return false, nil
	}
	if err := p.settle(m.ChunkIndex, n, p.write(off, m.SnapshotBytes)); err != nil {
		return false, refuse(m, "snapshot_bytes", err)
	}
	return true, nil
}

// PlaceZeros places the chunk index as if it had come with nothing but zeros. Where the state is known to be zeros
// nothing is written.
func (p *Placer) PlaceZeros(index uint32) (fresh bool, err error) {
	m := proto0500.SnapshotReady{DaemonOrigin: p.cfg.Origin, SeqThrough: p.cfg.SeqThrough, ChunkIndex: index, TotalChunks: p.total}
	if err := p.identify(&m); err != nil {
		return false, err
	}
	off, n := p.chunk(index)
	fresh, err = p.digests.claim(index, p.zeros.of(n))
	if err != nil {
		return false, refuse(&m, "snapshot_bytes", err)
	}
	if !fresh {
		return false, nil
	}
	if err := p.settle(index, n, p.writeZeros(off, int64(n))); err != nil {
		return false, refuse(&m, "snapshot_bytes", err)
	}
	return true, nil
}

// settle ends the claim on a chunk of n bytes, whose writing ended with err.
func (p *Placer) settle(index uint32, n int, err error) error {
	if err != nil {
		p.torn.Store(true)
		p.digests.settle(index, false)
		return err
	}
	// Counted first: who sees the last chunk settled must not see bytes missing.
	p.bytes.Add(int64(n))
	p.digests.settle(index, true)
	return nil
}

// identify refuses what is no chunk of this transfer.
func (p *Placer) identify(m *proto0500.SnapshotReady) error {
	switch {
	case m.DaemonOrigin != p.cfg.Origin:
		return refuse(m, "daemon_origin", fmt.Errorf("%w: %016x", ErrMismatch, uint64(p.cfg.Origin)))
	case m.SeqThrough != p.cfg.SeqThrough:
		return refuse(m, "seq_through", fmt.Errorf("%w: %d", ErrMismatch, uint64(p.cfg.SeqThrough)))
	case m.TotalChunks != p.total:
		return refuse(m, "total_chunks", fmt.Errorf("%w: %d, not %d", ErrMismatch, m.TotalChunks, p.total))
	case m.ChunkIndex >= p.total:
		return refuse(m, "chunk_index", fmt.Errorf("%w: not below %d", ErrMismatch, p.total))
	}
	return nil
}

// writeZeros writes n zeros at off of the envelope, but for those that are in the state already.
func (p *Placer) writeZeros(off, n int64) error {
	end := off + n
	if p.cfg.StateZeroed && !p.torn.Load() {
		state := int64(len(p.header))
		before := min(max(state, off), end)
		after := max(min(state+p.cfg.StateSize, end), before)
		if err := p.writePages(off, before); err != nil {
			return err
		}
		off = after
	}
	return p.writePages(off, end)
}

func (p *Placer) writePages(off, end int64) error {
	for off < end {
		n := min(end-off, int64(len(zeroPage)))
		if err := p.write(off, zeroPage[:n]); err != nil {
			return err
		}
		off += n
	}
	return nil
}

// write splits what lies at off of the envelope at the ends of the state. The claim on the chunk makes its bytes ours
// alone.
func (p *Placer) write(off int64, b []byte) error {
	if off < int64(len(p.header)) {
		n := copy(p.header[off:], b)
		off, b = off+int64(n), b[n:]
	}
	if len(b) == 0 {
		return nil
	}
	off -= int64(len(p.header))
	if left := p.cfg.StateSize - off; left > 0 {
		part := b[:min(int64(len(b)), left)]
		n, err := p.cfg.State.WriteAt(part, off)
		if err == nil && n < len(part) {
			err = io.ErrShortWrite
		}
		if err != nil {
			return fmt.Errorf("write state at byte %d: %w", off, err)
		}
		if p.cfg.AfterBytes != nil {
			p.cfg.AfterBytes(off, int64(n))
		}
		off, b = off+int64(n), b[n:]
	}
	if len(b) > 0 {
		copy(p.trailer[off-p.cfg.StateSize:], b)
	}
	return nil
}

// Done says whether every chunk is placed.
func (p *Placer) Done() bool { return p.digests.Count() == p.total }

// Total is the number of chunks, at least 1.
func (p *Placer) Total() uint32 { return p.total }

// ChunksPlaced is how many chunks are in their places.
func (p *Placer) ChunksPlaced() uint32 { return p.digests.Count() }

// BytesPlaced is how many bytes of the envelope are in their places.
func (p *Placer) BytesPlaced() int64 { return p.bytes.Load() }

// Held gives the runs of chunks that are placed, ascending and apart, as TransferStatus has them.
func (p *Placer) Held() iter.Seq[proto0500.Range] { return p.digests.Held() }

// Missing gives the runs of chunks that are not placed, likewise.
func (p *Placer) Missing() iter.Seq[proto0500.Range] { return p.digests.Missing() }

// Result is what came beside the state.
type Result struct {
	Header   Header
	Bindings []byte
	Identity []byte // nil, or IdentityBytes that are not opened yet
}

// Finish ends the transfer: every chunk is there (else ErrIncomplete), they are those that were sent (else ErrDigest),
// and they are a snapshot (else *frame.DecodeError) of this daemon, version, sequence and size (else ErrMismatch). The
// state is then as the source read it, but not yet on disk: syncing it is the caller's. Place must not be called after
// it.
func (p *Placer) Finish(want Digest) (*Result, error) {
	if n := p.digests.Count(); n != p.total {
		return nil, fmt.Errorf("%w: %d of %d chunks", ErrIncomplete, n, p.total)
	}
	if got := p.digests.Sum(); got != want {
		return nil, fmt.Errorf("%w: %v, not %v", ErrDigest, got, want)
	}
	h, err := parseHeader(p.header, p.cfg.Version == Version3)
	if err != nil {
		return nil, err
	}
	switch {
	case h.Version != p.cfg.Version:
		return nil, fmt.Errorf("%w: version %d, not %d", ErrMismatch, h.Version, p.cfg.Version)
	case h.StateLen != uint64(p.cfg.StateSize):
		return nil, fmt.Errorf("%w: state of %d bytes, not %d", ErrMismatch, h.StateLen, p.cfg.StateSize)
	case h.ThroughSeq != p.cfg.SeqThrough:
		return nil, fmt.Errorf("%w: through_seq %d, not %d", ErrMismatch, uint64(h.ThroughSeq), uint64(p.cfg.SeqThrough))
	case h.ChainLink.OriginHash != p.cfg.Origin:
		return nil, fmt.Errorf("%w: snapshot of daemon %016x, not %016x", ErrMismatch, uint64(h.ChainLink.OriginHash), uint64(p.cfg.Origin))
	}
	bindings, identity, err := parseTrailer(p.trailer, h.Version, int64(len(p.header))+p.cfg.StateSize)
	if err != nil {
		return nil, err
	}
	return &Result{Header: h, Bindings: bindings, Identity: identity}, nil
}
