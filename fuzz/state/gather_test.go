package state

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"ferry/frame"
	"ferry/fuzz/internal/harness"
	"ferry/proto0500"
	"ferry/snapshot"
)

// FuzzPlacer: chunks in any order, twice, in conflict, of any wrong length, and of other transfers, against a map of what
// came first. The state has at the end what the map says, and is finished exactly when every chunk came as it was sent.
func FuzzPlacer(f *testing.F) { fuzzPlacer(f) }

func fuzzPlacer(f harness.F) {
	inOrder := func(n byte) (ops []byte) {
		for i := range n {
			ops = append(ops, i, 0)
		}
		return ops
	}
	f.Add(uint16(700), uint8(99), inOrder(9))
	f.Add(uint16(200), uint8(60), slices.Concat(inOrder(6), inOrder(6), []byte{0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7}))
	f.Add(uint16(0), uint8(200), []byte{0, 8, 0, 1, 0, 0})
	f.Add(uint16(300), uint8(255), []byte{1, 8, 0, 0, 1, 0, 2, 0})
	f.Fuzz(func(t *testing.T, stateLen uint16, chunkBytes uint8, ops []byte) {
		chunkBytes, stateLen = max(chunkBytes, 8), stateLen%2048
		lim := frame.Default()
		h := stateHeader(int(stateLen))
		sent := bytes.Repeat([]byte("state"), int(stateLen)/5+1)[:stateLen]
		src, err := snapshot.NewSource(h, bytes.NewReader(sent), []byte("bindings"), nil)
		if err != nil {
			t.Fatal(err)
		}
		whole := make([]byte, src.Size())
		if _, err := src.ReadAt(whole, 0); err != nil && err != io.EOF {
			t.Fatal(err)
		}
		got := memory(bytes.Repeat([]byte{0xaa}, int(stateLen)))
		p, err := snapshot.NewPlacer(snapshot.PlacerConfig{Origin: h.ChainLink.OriginHash, SeqThrough: h.ThroughSeq, Version: h.Version,
			Size: src.Size(), StateSize: int64(stateLen), ChunkBytes: uint32(chunkBytes), Limits: lim, State: got})
		if err != nil {
			t.Fatal(err)
		}
		chunks := slices.Collect(slices.Chunk(whole, int(chunkBytes)))
		if int(p.Total()) != len(chunks) {
			t.Fatalf("%d chunks, not %d", p.Total(), len(chunks))
		}
		model := make(map[uint32][]byte)
		for ; len(ops) >= 2; ops = ops[2:] {
			index := uint32(ops[0])
			m := proto0500.SnapshotReady{DaemonOrigin: h.ChainLink.OriginHash, SeqThrough: h.ThroughSeq,
				ChunkIndex: index, TotalChunks: p.Total()}
			inside := int(index) < len(chunks)
			if inside {
				m.SnapshotBytes = bytes.Clone(chunks[index])
			}
			foreign, zeros := !inside, false
			switch what := ops[1] % 16; what {
			case 1: // other bytes
				if inside {
					m.SnapshotBytes[len(m.SnapshotBytes)/2] ^= ops[1] | 1
				}
			case 2:
				m.SnapshotBytes, foreign = append(m.SnapshotBytes, 1), true
			case 3:
				if inside {
					m.SnapshotBytes = m.SnapshotBytes[1:]
				}
				foreign = true
			case 4:
				m.DaemonOrigin, foreign = m.DaemonOrigin+1, true
			case 5:
				m.SeqThrough, foreign = m.SeqThrough-1, true
			case 6:
				m.TotalChunks, foreign = m.TotalChunks+1, true
			case 7:
				m.ChunkIndex, foreign = index+p.Total(), true
			case 8:
				clear(m.SnapshotBytes)
				zeros = true
			}
			var fresh bool
			if zeros {
				fresh, err = p.PlaceZeros(index)
			} else {
				fresh, err = p.Place(&m)
			}
			if harness.Canary() && fresh && index == 2 && stateLen > 250 {
				got[len(got)-1]++
			}
			had, again := model[index]
			var want error
			switch {
			case foreign:
				want = snapshot.ErrMismatch
			case again && !bytes.Equal(had, m.SnapshotBytes):
				want = snapshot.ErrConflict
			case !again:
				model[index] = m.SnapshotBytes
				harness.Accept("chunk")
			}
			if !errors.Is(err, want) || fresh != (want == nil && !again) {
				t.Fatalf("chunk %d, case %d, again %t: fresh %t, %v; want %v", index, ops[1]%16, again, fresh, err, want)
			}
			if e, ok := errors.AsType[*snapshot.ChunkError](err); err != nil && (!ok || e.Field == "" || e.Index != m.ChunkIndex) {
				t.Fatalf("%T: %v", err, err)
			}
		}
		held, right := make([]byte, len(chunks)), true
		for r := range p.Held() {
			for i := r.First; i < r.First+r.Chunks; i++ {
				held[i]++
			}
		}
		for r := range p.Missing() {
			for i := r.First; i < r.First+r.Chunks; i++ {
				held[i] += 2
			}
		}
		digests, expect := snapshot.NewDigests(p.Total()), bytes.Repeat([]byte{0xaa}, len(whole))
		bytesHeld := int64(0)
		for i := range chunks {
			b, ok := model[uint32(i)]
			if ok != (held[i] == 1) || !ok && held[i] != 2 {
				t.Fatalf("chunk %d: held and missing say %d, it came: %t", i, held[i], ok)
			}
			right = right && bytes.Equal(b, chunks[i])
			copy(expect[i*int(chunkBytes):], b)
			bytesHeld += int64(len(b))
			digests.Set(uint32(i), snapshot.DigestOf(b))
		}
		const before = 89 // the header of version 2 (protocol.md, section on CDS1)
		if !bytes.Equal(whole[before:before+int(stateLen)], sent) {
			t.Fatal("the state is not behind the header")
		}
		if stateLen > 0 && !bytes.Equal(got, expect[before:before+int(stateLen)]) {
			t.Fatalf("the state is %x, not %x", []byte(got), expect[before:before+int(stateLen)])
		}
		if int(p.ChunksPlaced()) != len(model) || p.BytesPlaced() != bytesHeld || p.Done() != (len(model) == len(chunks)) {
			t.Fatalf("%d chunks, %d bytes, done %t; want %d, %d", p.ChunksPlaced(), p.BytesPlaced(), p.Done(), len(model), bytesHeld)
		}
		if _, err := p.Finish(digests.Sum()); right && err != nil || !p.Done() && !errors.Is(err, snapshot.ErrIncomplete) {
			t.Fatalf("finished with %v", err)
		}
		wrong := digests.Sum()
		wrong[3]++
		if _, err := p.Finish(wrong); p.Done() && !errors.Is(err, snapshot.ErrDigest) {
			t.Fatalf("with a wrong digest: %v", err)
		}
	})
}

// sparse is a file in memory that grows.
type sparse struct {
	b      []byte
	closed bool
}

func (s *sparse) WriteAt(p []byte, off int64) (int, error) {
	if grow := int(off) + len(p) - len(s.b); grow > 0 {
		s.b = append(s.b, make([]byte, grow)...)
	}
	return copy(s.b[off:], p), nil
}

func (s *sparse) ReadAt(p []byte, off int64) (int, error) {
	return bytes.NewReader(s.b).ReadAt(p, off)
}

func (s *sparse) Close() error {
	if s.closed {
		return errors.New("closed twice")
	}
	s.closed = true
	return nil
}

// The reassembler under test: small limits, so that they are met.
const (
	gatherOrigin    proto0500.Origin = 0xfe
	gatherChunkMax                   = 16
	gatherChunksMax                  = 5
	gatherBytesMax                   = 60
	gatherIdle                       = 10 * time.Second
)

// gatherModel is the reassembler's rules (its comment, 1 to 5), one after the other, and all bytes in maps.
type gatherModel struct {
	highest, seq proto0500.Seq
	total        uint32 // 0: nothing is gathered
	chunks       map[uint32][]byte
	progress     time.Time
}

func (g *gatherModel) add(m *proto0500.SnapshotReady, now time.Time) (whole []byte, want error) {
	n := len(m.SnapshotBytes)
	switch {
	case m.DaemonOrigin != gatherOrigin:
		return nil, snapshot.ErrMismatch
	case m.TotalChunks == 0:
		return nil, frame.ErrValue
	case m.TotalChunks > gatherChunksMax:
		return nil, frame.ErrLimit
	case m.ChunkIndex >= m.TotalChunks, n == 0:
		return nil, frame.ErrValue
	case n > gatherChunkMax:
		return nil, frame.ErrLimit
	case m.SeqThrough < g.highest:
		return nil, snapshot.ErrStale
	}
	if g.total != 0 && now.Sub(g.progress) >= gatherIdle {
		g.total = 0
	}
	switch {
	case g.total == 0 || g.seq != m.SeqThrough:
		*g = gatherModel{highest: m.SeqThrough, seq: m.SeqThrough, total: m.TotalChunks, chunks: map[uint32][]byte{}, progress: now}
	case g.total != m.TotalChunks:
		return nil, snapshot.ErrMismatch
	}
	sum := n
	for i, b := range g.chunks {
		if i != m.ChunkIndex {
			sum += len(b)
		}
	}
	if sum > gatherBytesMax {
		return nil, snapshot.ErrTooLarge
	}
	if g.chunks[m.ChunkIndex] == nil {
		g.progress = now
	}
	g.chunks[m.ChunkIndex] = m.SnapshotBytes
	for i := range g.total {
		if g.chunks[i] == nil {
			return nil, nil
		}
		whole = append(whole, g.chunks[i]...)
	}
	g.total = 0
	return whole, nil
}

// FuzzReassembler: the same of the snapshots of a peer that has only the ten messages: any chunk of any snapshot at any
// time, against the rules, written down slowly.
func FuzzReassembler(f *testing.F) { fuzzReassembler(f) }

func fuzzReassembler(f harness.F) {
	f.Add([]byte{1, 3, 0, 16, 7, 0, 1, 3, 2, 5, 7, 0, 1, 3, 1, 9, 7, 0, 2, 1, 0, 3, 3, 0}) // two snapshots, one out of order
	f.Add([]byte{1, 2, 0, 16, 7, 0, 1, 2, 0, 4, 9, 0, 1, 2, 1, 1, 1, 0})                   // a chunk replaced
	f.Add([]byte{2, 2, 0, 16, 7, 0, 1, 2, 0, 4, 9, 0, 2, 2, 1, 1, 1, 11, 2, 2, 0, 1, 1, 0})
	f.Add([]byte{2, 5, 0, 16, 7, 0, 2, 5, 1, 16, 9, 0, 2, 5, 2, 16, 1, 0, 2, 5, 3, 16, 1, 0, 2, 5, 3, 4, 1, 0, 2, 5, 4, 4, 1, 0})
	f.Fuzz(func(t *testing.T, ops []byte) {
		lim := frame.Default()
		lim.ChunkBytesMax, lim.ChunksMax = gatherChunkMax, gatherChunksMax
		open := map[*sparse]bool{}
		r, err := snapshot.NewReassembler(snapshot.ReassemblerConfig{
			Origin: gatherOrigin, Limits: lim, SnapshotBytesMax: gatherBytesMax, IdleMax: gatherIdle,
			Create: func(proto0500.Seq) (snapshot.File, error) {
				s := &sparse{}
				open[s] = true
				return s, nil
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		model, now := gatherModel{}, time.Unix(0, 0)
		for ; len(ops) >= 6; ops = ops[6:] {
			m := proto0500.SnapshotReady{DaemonOrigin: gatherOrigin, SeqThrough: proto0500.Seq(ops[0] & 7), TotalChunks: uint32(ops[1] % 8),
				ChunkIndex: uint32(ops[2] % 8), SnapshotBytes: bytes.Repeat([]byte{ops[4]}, int(ops[3])%(gatherChunkMax+2))}
			if ops[0]&0xf8 == 0xf8 {
				m.DaemonOrigin++
			}
			now = now.Add(time.Duration(ops[5]%16) * time.Second)
			if ops[5] == 0xff {
				if err := r.Cancel(); err != nil {
					t.Fatal(err)
				}
				model.total = 0
			}
			whole, want := model.add(&m, now)
			got, err := r.Add(&m, now)
			if harness.Canary() && got != nil && got.Size > 20 {
				got.Size--
			}
			if !errors.Is(err, want) || (got != nil) != (whole != nil) {
				t.Fatalf("%+v: %v, %v; want %v", m, got, err, want)
			}
			if e, ok := errors.AsType[*snapshot.ChunkError](err); err != nil && (!ok || e.Field == "") {
				t.Fatalf("%T: %v", err, err)
			}
			if got != nil {
				harness.Accept("snapshot")
				b := make([]byte, got.Size)
				_, err := got.File.ReadAt(b, 0)
				if err != nil && err != io.EOF || !bytes.Equal(b, whole) || got.SeqThrough != m.SeqThrough {
					t.Fatalf("gathered %x, %v, not %x", b, err, whole)
				}
				if err := got.File.Close(); err != nil {
					t.Fatal(err)
				}
			}
			chunks, total, n := r.Pending()
			sum := int64(0)
			for _, b := range model.chunks {
				sum += int64(len(b))
			}
			if total != model.total || total != 0 && (int(chunks) != len(model.chunks) || n != sum) {
				t.Fatalf("%d of %d chunks are held, %d bytes; want %d of %d, %d", chunks, total, n, len(model.chunks), model.total, sum)
			}
			for s := range open {
				if s.closed {
					delete(open, s)
				}
			}
			if held := min(int(total), 1); len(open) != held {
				t.Fatalf("%d files are open, %d snapshots held", len(open), held)
			}
		}
	})
}
