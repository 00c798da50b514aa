package daemon

import (
	"context"
	"errors"
	"sync"
	"time"

	"ferry/frame"
	"ferry/proto0500"
	"ferry/snapshot"
	"ferry/transport"
)

// cut makes the snapshot ready to be sent, once: the target's process, and so
// its limits, stay the same over all sessions.
func (o *outbound) cut(hello proto0500.Hello, lim frame.Limits) error {
	if o.chunker != nil {
		return nil
	}
	version, err := snapshot.VersionFor(o.header.StateLen, hello.Features&proto0500.FeatureCDS1v3 != 0)
	if err != nil {
		return err
	}
	o.header.Version = version
	src, err := snapshot.NewSource(o.header, o.snap, nil, o.identity)
	if err != nil {
		return err
	}
	chunkBytes := min(o.h.cfg.chunkBytes(src.Size()), lim.ChunkBytesMax)
	chunker, err := snapshot.NewChunker(o.origin, o.base.Seq, src, src.Size(), chunkBytes, lim)
	if err != nil {
		return err
	}
	o.announce = proto0500.Transfer{
		DaemonOrigin: o.origin, SeqThrough: o.base.Seq, HeadHash: o.base.Hash,
		Size: uint64(src.Size()), StateSize: o.header.StateLen, ChunkSize: chunkBytes,
	}
	o.stats.set(proto0500.CounterStateBytes, o.header.StateLen)
	o.chunker, o.digests = chunker, snapshot.NewDigests(chunker.Total())
	o.written = make([]bool, chunker.Total())
	return nil
}

// Without a size of the user's, chunks are as small as these allow.
const (
	chunkBytesLeast = 128 << 10
	chunkBytesMost  = 1 << 20
	chunksUsual     = 1 << 17
)

// chunkBytes is how large the chunks of a snapshot of so many bytes are.
func (c *Config) chunkBytes(size int64) uint32 {
	if c.ChunkBytes > 0 {
		return c.ChunkBytes
	}
	chunk := int64(chunkBytesLeast)
	for chunk < chunkBytesMost && size > chunk*chunksUsual {
		chunk *= 2
	}
	return uint32(chunk)
}

// errChunksMissing: a lane has broken, and its session lives on.
var errChunksMissing = errors.New("not every chunk has arrived")

// shipSnapshot sends the chunks that the target does not have, and ends with
// their digest. The snapshot stays open until the target has all of it.
func (o *outbound) shipSnapshot(ctx context.Context, sess *transport.Session, hello proto0500.Hello, status proto0500.TransferStatus) error {
	if o.confirmed {
		return nil
	}
	if err := o.shipChunks(ctx, sess, hello, status.Ranges); err != nil {
		return err
	}
	o.tell() // the transfer is over
	final := o.announce
	final.Final, final.Digest = true, o.digests.Sum()
	if err := send(sess, o.epoch, final); err != nil {
		return lostBy(err)
	}
	again := time.NewTicker(max(o.h.cfg.ResumeFor, time.Second))
	defer again.Stop()
	status, err := o.answer(ctx, sess, again.C)
	if err != nil {
		return err
	}
	if err := o.take(status); err != nil {
		return err
	}
	if missing := newChunkQueue(o.chunker.Total(), status.Ranges); missing.left > 0 {
		return lostBy(errChunksMissing)
	}
	o.confirmed = true
	return o.closeSnap()
}

// shipChunks lets every lane take the next chunk that is not taken yet, so that
// a slow lane never holds the others up. How many lanes there are, the path says.
func (o *outbound) shipChunks(ctx context.Context, sess *transport.Session, hello proto0500.Hello, held proto0500.Ranges) error {
	queue := newChunkQueue(o.chunker.Total(), held)
	if queue.left == 0 {
		return nil
	}
	lanes := min(o.h.cfg.lanesMax(), lanesEach(o.h.shipping.Load()), max(int(hello.LanesMax), 1), int(queue.left), proto0500.LanesMax)
	err := sess.Spread(ctx, lanes, func(ctx context.Context, st *transport.Stream) error {
		return o.shipLane(ctx, st, hello, queue)
	})
	_, broken := errors.AsType[*transport.SessionError](err)
	_, reset := errors.AsType[*transport.StreamError](err)
	if _, said := errors.AsType[*lostError](err); (broken || reset) && !said {
		return lostBy(err) // before or after what shipLane does
	}
	return err
}

// lanesShared is how many lanes the moves away from this node have together when
// they are several: each lane holds chunks, here and at its target.
const lanesShared = 8

// lanesEach is how many lanes a move may have beside the others.
func lanesEach(moves int32) int {
	if moves <= 1 {
		return proto0500.LanesMax
	}
	return max(1, lanesShared/int(moves))
}

// shipLane is one lane: chunks until there are no more, one after the other.
func (o *outbound) shipLane(ctx context.Context, st *transport.Stream, hello proto0500.Hello, queue *chunkQueue) error {
	var p *snapshot.Packer
	for {
		if int(st.Lane()) >= lanesEach(o.h.shipping.Load()) {
			return nil // the others do it
		}
		if p == nil {
			p = snapshot.NewPacker(o.chunker, o.packing(hello))
		}
		i, ok := queue.next()
		if !ok {
			return nil
		}
		f, err := p.Frame(o.epoch, i)
		if err != nil {
			return err
		}
		// Before the write: what arrives though the write fails is not read again.
		o.digests.Set(i, f.Digest)
		if err := o.paced.wait(ctx, len(f.Frame)); err != nil {
			return err
		}
		if _, err := st.Write(f.Frame); err != nil {
			return lostBy(err)
		}
		o.countChunk(st.Lane(), i, f)
	}
}

// packing is what the target reads, and what this node wants.
func (o *outbound) packing(hello proto0500.Hello) snapshot.PackerConfig {
	cfg := snapshot.PackerConfig{Plain: hello.Features&proto0500.FeatureChunk == 0, Have: o.have}
	if o.h.cfg.Compression == CompressionAuto {
		cfg.Tuner = o.tuner
	}
	return cfg
}

// countEncoding is by what a chunk's bytes are counted that did not travel as
// they are.
var countEncoding = map[proto0500.Encoding]proto0500.Counter{
	proto0500.EncodingZeros: proto0500.CounterBytesZeros,
	proto0500.EncodingS2:    proto0500.CounterBytesS2,
	proto0500.EncodingZstd:  proto0500.CounterBytesZstd,
	proto0500.EncodingHeld:  proto0500.CounterBytesHeld,
}

// countChunk counts a chunk that was written, as new or as sent again.
func (o *outbound) countChunk(lane uint8, i uint32, f snapshot.Packed) {
	bytes := uint64(f.RawBytes)
	o.stats.add(proto0500.CounterBytesWire, uint64(len(f.Frame)))
	o.stats.add(proto0500.CounterBytesLanes, uint64(len(f.Frame)))
	if o.written[i] {
		o.stats.add(proto0500.CounterChunksResent, 1)
		o.stats.add(proto0500.CounterBytesResent, bytes)
		return
	}
	o.written[i] = true
	o.stats.lane(lane, bytes)
	if c, ok := countEncoding[f.Encoding]; ok {
		o.stats.add(c, bytes)
	}
	if o.stats.add(proto0500.CounterBytesDone, bytes) == bytes {
		o.tell() // the transfer has begun
	}
}

// chunkQueue gives the chunks out that the target does not have, in order. Many
// lanes may take from it at once.
type chunkQueue struct {
	mu   sync.Mutex
	runs []proto0500.Range
	left uint32 // chunks
}

// newChunkQueue is for all of total chunks but those held.
func newChunkQueue(total uint32, held proto0500.Ranges) *chunkQueue {
	q := new(chunkQueue)
	from := uint32(0)
	add := func(to uint32) {
		if from < to {
			q.runs = append(q.runs, proto0500.Range{First: from, Chunks: to - from})
			q.left += to - from
		}
	}
	for r := range held.All() {
		add(min(r.First, total))
		from = r.First + r.Chunks
	}
	add(total)
	return q
}

func (q *chunkQueue) next() (index uint32, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.left == 0 {
		return 0, false
	}
	q.left--
	r := &q.runs[0]
	index = r.First
	r.First, r.Chunks = r.First+1, r.Chunks-1
	if r.Chunks == 0 {
		q.runs = q.runs[1:]
	}
	return index, true
}
