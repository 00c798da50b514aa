package snapshot

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"ferry/frame"
	"ferry/proto0500"
)

// What net-mesh's reassembler keeps to.
const (
	NetMeshSnapshotBytesMax = 64 << 20
	NetMeshIdleMax          = 300 * time.Second
)

// File holds a snapshot that is being gathered. Close gives up what it holds.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
}

// ReassemblerConfig bounds what is gathered for one daemon.
type ReassemblerConfig struct {
	Origin proto0500.Origin

	// Create makes an empty file for the snapshot seqThrough. It must be sparse: a chunk's place is its index times
	// Limits.ChunkBytesMax until the snapshot is complete.
	Create func(seqThrough proto0500.Seq) (File, error)

	// Limits bound a chunk and the number of chunks.
	Limits frame.Limits
	// SnapshotBytesMax bounds the bytes held. 0: NetMeshSnapshotBytesMax.
	SnapshotBytesMax int64
	// IdleMax is how long a snapshot may be without a chunk that it did not have. 0: NetMeshIdleMax.
	IdleMax time.Duration
}

// Reassembler gathers the snapshots of one daemon from a peer that knows only the ten messages, and so announces
// neither sizes nor a digest. It has the rules of net-mesh's:
//
//  1. Chunks may have any length from 1 to the limit, in any place; the first one fixes their number.
//  2. A chunk that comes twice replaces the first one, whatever it holds.
//  3. A chunk of a higher seq_through drops what was being gathered. One below the highest that was ever taken is
//     ErrStale, whatever became of that: delivered, cancelled, or given up.
//  4. What was delivered is forgotten; the same chunks again are gathered and delivered again, to another file.
//  5. A refused chunk changes nothing.
//
// Bytes go to the file at once. Only the chunks' lengths are in memory, of those that came. Many lanes may use it at
// once, but one writes at a time.
type Reassembler struct {
	cfg ReassemblerConfig

	mu      sync.Mutex
	highest proto0500.Seq
	current *gathering // nil: none
}

// gathering is one snapshot on its way.
type gathering struct {
	seqThrough proto0500.Seq
	total      uint32
	lengths    map[uint32]uint32 // of the chunks that came: never as large as total says on the peer's word
	bytes      int64             // their sum
	progressAt time.Time
	file       File
}

// Gathered is a complete snapshot: the first Size bytes of File, which is the caller's to close. What the file has
// after them means nothing.
type Gathered struct {
	SeqThrough proto0500.Seq
	Size       int64
	File       File
}

// NewReassembler begins with nothing gathered and nothing refused.
func NewReassembler(cfg ReassemblerConfig) (*Reassembler, error) {
	if cfg.SnapshotBytesMax == 0 {
		cfg.SnapshotBytesMax = NetMeshSnapshotBytesMax
	}
	if cfg.IdleMax == 0 {
		cfg.IdleMax = NetMeshIdleMax
	}
	if cfg.Create == nil || cfg.Limits.ChunkBytesMax == 0 || cfg.SnapshotBytesMax < 0 || cfg.IdleMax < 0 {
		return nil, errors.New("snapshot: reassembler without Create or Limits, or with a bound below zero")
	}
	return &Reassembler{cfg: cfg}, nil
}

// Add takes the chunk m, which is borrowed, at the time now, and returns the snapshot that it completes, else nil. A
// refused chunk is a *ChunkError that wraps frame.ErrValue, frame.ErrLimit, ErrMismatch, ErrStale or ErrTooLarge. What
// the file answers is wrapped in one too: a chunk not written is missing, and a snapshot that could not be joined is
// dropped.
func (r *Reassembler) Add(m *proto0500.SnapshotReady, now time.Time) (*Gathered, error) {
	if err := r.check(m); err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if m.SeqThrough < r.highest {
		return nil, refuse(m, "seq_through", fmt.Errorf("%w: %d", ErrStale, uint64(r.highest)))
	}
	if err := r.expire(now); err != nil {
		return nil, refuse(m, "snapshot_bytes", err)
	}
	g, err := r.gather(m, now)
	if err != nil {
		return nil, err
	}
	if err := g.write(m, &r.cfg, now); err != nil {
		return nil, err
	}
	if uint32(len(g.lengths)) != g.total {
		return nil, nil
	}
	r.current = nil
	if err := g.join(int64(r.cfg.Limits.ChunkBytesMax)); err != nil {
		return nil, refuse(m, "snapshot_bytes", errors.Join(err, g.file.Close()))
	}
	return &Gathered{SeqThrough: g.seqThrough, Size: g.bytes, File: g.file}, nil
}

// check is what can be said of a chunk alone, in net-mesh's order.
func (r *Reassembler) check(m *proto0500.SnapshotReady) error {
	lim := &r.cfg.Limits
	switch n := len(m.SnapshotBytes); {
	case m.DaemonOrigin != r.cfg.Origin:
		return refuse(m, "daemon_origin", fmt.Errorf("%w: %016x", ErrMismatch, uint64(r.cfg.Origin)))
	case m.TotalChunks == 0:
		return refuse(m, "total_chunks", fmt.Errorf("%w: 0", frame.ErrValue))
	case m.TotalChunks > lim.ChunksMax:
		return refuse(m, "total_chunks", frame.OverLimit(uint64(m.TotalChunks), uint64(lim.ChunksMax)))
	case m.ChunkIndex >= m.TotalChunks:
		return refuse(m, "chunk_index", fmt.Errorf("%w: not below %d", frame.ErrValue, m.TotalChunks))
	case n == 0:
		return refuse(m, "len", fmt.Errorf("%w: 0", frame.ErrValue))
	case uint64(n) > uint64(lim.ChunkBytesMax):
		return refuse(m, "len", frame.OverLimit(uint64(n), uint64(lim.ChunkBytesMax)))
	case int64(n) > r.cfg.SnapshotBytesMax:
		return refuse(m, "len", fmt.Errorf("%w: %w", ErrTooLarge, frame.OverLimit(uint64(n), uint64(r.cfg.SnapshotBytesMax))))
	}
	return nil
}

// gather finds what m belongs to, or begins it.
func (r *Reassembler) gather(m *proto0500.SnapshotReady, now time.Time) (*gathering, error) {
	if g := r.current; g != nil && g.seqThrough == m.SeqThrough {
		if g.total != m.TotalChunks {
			return nil, refuse(m, "total_chunks", fmt.Errorf("%w: %d, before %d", ErrMismatch, m.TotalChunks, g.total))
		}
		return g, nil
	}
	if err := r.drop(); err != nil {
		return nil, refuse(m, "snapshot_bytes", err)
	}
	file, err := r.cfg.Create(m.SeqThrough)
	if err != nil {
		return nil, refuse(m, "snapshot_bytes", fmt.Errorf("create a file: %w", err))
	}
	r.highest = m.SeqThrough
	r.current = &gathering{
		seqThrough: m.SeqThrough,
		total:      m.TotalChunks,
		lengths:    make(map[uint32]uint32),
		progressAt: now,
		file:       file,
	}
	return r.current, nil
}

// write puts the chunk m into its slot.
func (g *gathering) write(m *proto0500.SnapshotReady, cfg *ReassemblerConfig, now time.Time) error {
	n := uint32(len(m.SnapshotBytes))
	before, again := g.lengths[m.ChunkIndex]
	sum := g.bytes - int64(before) + int64(n)
	if sum > cfg.SnapshotBytesMax {
		return refuse(m, "snapshot_bytes", fmt.Errorf("%w: %w", ErrTooLarge, frame.OverLimit(uint64(sum), uint64(cfg.SnapshotBytesMax))))
	}
	written, err := g.file.WriteAt(m.SnapshotBytes, int64(m.ChunkIndex)*int64(cfg.Limits.ChunkBytesMax))
	if err == nil && written < int(n) {
		err = io.ErrShortWrite
	}
	if err != nil {
		// The slot may hold some of either chunk.
		delete(g.lengths, m.ChunkIndex)
		g.bytes -= int64(before)
		return refuse(m, "snapshot_bytes", err)
	}
	g.lengths[m.ChunkIndex] = n
	g.bytes = sum
	if !again {
		g.progressAt = now // one chunk over and over is no progress
	}
	return nil
}

// join moves the chunks together: those behind the first one that does not fill its slot, front to back, each to a
// place at or before its own.
func (g *gathering) join(slotBytes int64) error {
	var buf []byte
	to := int64(0)
	for i := range g.total {
		from, n := int64(i)*slotBytes, int64(g.lengths[i])
		if from != to {
			if buf == nil {
				buf = make([]byte, slotBytes)
			}
			if err := readFull(g.file, buf[:n], from); err != nil {
				return fmt.Errorf("join chunks: %w", err)
			}
			written, err := g.file.WriteAt(buf[:n], to)
			if err == nil && int64(written) < n {
				err = io.ErrShortWrite
			}
			if err != nil {
				return fmt.Errorf("join chunks: %w", err)
			}
		}
		to += n
	}
	return nil
}

// Expire drops what made no progress for IdleMax. Add does so too; without chunks, somebody must.
func (r *Reassembler) Expire(now time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.expire(now)
}

func (r *Reassembler) expire(now time.Time) error {
	if r.current == nil || now.Sub(r.current.progressAt) < r.cfg.IdleMax {
		return nil
	}
	return r.drop()
}

// Cancel drops what is being gathered. Older snapshots stay refused.
func (r *Reassembler) Cancel() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.drop()
}

func (r *Reassembler) drop() error {
	g := r.current
	if g == nil {
		return nil
	}
	r.current = nil
	if err := g.file.Close(); err != nil {
		return fmt.Errorf("drop snapshot %d: %w", uint64(g.seqThrough), err)
	}
	return nil
}

// Pending is how many chunks and bytes of how many chunks are held; total is 0 when nothing is being gathered.
func (r *Reassembler) Pending() (chunks, total uint32, bytes int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if g := r.current; g != nil {
		return uint32(len(g.lengths)), g.total, g.bytes
	}
	return 0, 0, 0
}
