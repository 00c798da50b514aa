package snapshot

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/zeebo/xxh3"

	"ferry/frame"
	"ferry/proto0500"
)

type reassemblyVector struct {
	Name string `json:"name"`
	Kind string `json:"kind"`
	Seed u64    `json:"seed"`

	// chunks
	Origin      u64    `json:"daemon_origin"`
	SeqThrough  u64    `json:"seq_through"`
	N           int    `json:"n"`
	XXH3        u64    `json:"xxh3"`
	Chunks      uint32 `json:"chunks"`
	ChunkXXH3   []u64  `json:"chunk_xxh3"`
	First       u64    `json:"first_chunk_xxh3"`
	Last        u64    `json:"last_chunk_xxh3"`
	All         u64    `json:"all_chunks_xxh3"`
	Reassembled string `json:"reassembled"`

	// feed
	Steps        []feedStep `json:"steps"`
	PendingAfter int        `json:"pending_after"`
}

type feedStep struct {
	Origin     u64    `json:"daemon_origin"`
	SeqThrough u64    `json:"seq_through"`
	Index      uint32 `json:"chunk_index"`
	Total      uint32 `json:"total_chunks"`
	Len        int    `json:"len"`
	ChunkXXH3  u64    `json:"chunk_xxh3"`
	Result     string `json:"result"`
	Bytes      int64  `json:"bytes"`
	XXH3       u64    `json:"xxh3"`
}

// crateErrors are the names that the crate has for what its reassembler refuses.
var crateErrors = map[string]struct {
	field string
	err   error
}{
	"ZeroTotalChunks":      {"total_chunks", frame.ErrValue},
	"TotalChunksTooLarge":  {"total_chunks", frame.ErrLimit},
	"TotalChunksMismatch":  {"total_chunks", ErrMismatch},
	"ChunkIndexOutOfRange": {"chunk_index", frame.ErrValue},
	"StaleSeqThrough":      {"seq_through", ErrStale},
	"ChunkTooLarge":        {"len", nil}, // of 0 bytes, or of too many
}

func TestReassemblyVectors(t *testing.T) {
	for _, v := range lines[reassemblyVector](t, "reassembly.jsonl") {
		t.Run(v.Name, func(t *testing.T) {
			switch v.Kind {
			case "chunks":
				testChunks(t, v)
			case "feed":
				testFeed(t, v)
			default:
				t.Fatalf("kind %q", v.Kind)
			}
		})
	}
}

// testChunks cuts as the crate does, and puts together again what it cut.
func testChunks(t *testing.T, v reassemblyVector) {
	lim := frame.NetMesh()
	data := (&splitMix{state: uint64(v.Seed)}).bytes(v.N)
	if xxh3.Hash(data) != uint64(v.XXH3) {
		t.Fatal("the generator of the data is wrong")
	}
	c, err := NewChunker(proto0500.Origin(v.Origin), proto0500.Seq(v.SeqThrough), bytes.NewReader(data), int64(len(data)), lim.ChunkBytesMax, lim)
	if err != nil {
		t.Fatal(err)
	}
	if c.Total() != v.Chunks {
		t.Fatalf("%d chunks, want %d", c.Total(), v.Chunks)
	}
	r := testReassembler(t, ReassemblerConfig{Origin: proto0500.Origin(v.Origin)})
	var (
		all  []byte
		buf  []byte
		last *Gathered
	)
	for i := range c.Total() {
		var sum Digest
		buf, sum, err = c.AppendFrame(buf[:0], 9, i)
		if err != nil {
			t.Fatal(err)
		}
		f, rest, err := frame.Parse(buf, &lim)
		if err != nil || len(rest) != 0 || f.Epoch() != 9 {
			t.Fatalf("chunk %d: frame of epoch %d, %d bytes after it, %v", i, f.Epoch(), len(rest), err)
		}
		h := xxh3.Hash(f.Message())
		all = binary.LittleEndian.AppendUint64(all, h)
		if v.ChunkXXH3 != nil && h != uint64(v.ChunkXXH3[i]) || v.First != 0 && i == 0 && h != uint64(v.First) ||
			v.Last != 0 && i == c.Total()-1 && h != uint64(v.Last) {
			t.Errorf("chunk %d: message has XXH3 %d", i, h)
		}
		var m proto0500.SnapshotReady
		if err := m.Decode(f.Message(), &lim); err != nil {
			t.Fatal(err)
		}
		if DigestOf(m.SnapshotBytes) != sum {
			t.Errorf("chunk %d: digest %v", i, sum)
		}
		last, err = r.Add(&m, time.Time{})
		if v.Reassembled == "complete" && err != nil || v.Reassembled != "complete" && err == nil {
			t.Fatalf("chunk %d: reassembler says %v, want %s", i, err, v.Reassembled)
		}
	}
	if got := xxh3.Hash(all); got != uint64(v.All) {
		t.Errorf("all chunks have XXH3 %d, want %d", got, v.All)
	}
	if v.Reassembled == "complete" && !bytes.Equal(contents(t, last), data) {
		t.Error("put together wrong")
	}
}

// testFeed gives a reassembler a daemon what the crate's one reassembler got.
func testFeed(t *testing.T, v reassemblyVector) {
	daemons := make(map[proto0500.Origin]*Reassembler)
	random := &splitMix{state: uint64(v.Seed)}
	for i, s := range v.Steps {
		origin := proto0500.Origin(s.Origin)
		if daemons[origin] == nil {
			daemons[origin] = testReassembler(t, ReassemblerConfig{Origin: origin})
		}
		m := &proto0500.SnapshotReady{
			DaemonOrigin:  origin,
			SeqThrough:    proto0500.Seq(s.SeqThrough),
			ChunkIndex:    s.Index,
			TotalChunks:   s.Total,
			SnapshotBytes: random.bytes(s.Len),
		}
		if xxh3.Hash(m.SnapshotBytes) != uint64(s.ChunkXXH3) {
			t.Fatalf("step %d: the generator of the data is wrong", i)
		}
		got, err := daemons[origin].Add(m, time.Time{})
		switch s.Result {
		case "waiting":
			if got != nil || err != nil {
				t.Errorf("step %d: %+v, %v; want to wait", i, got, err)
			}
		case "complete":
			if err != nil {
				t.Fatalf("step %d: %v", i, err)
			}
			if b := contents(t, got); int64(len(b)) != s.Bytes || xxh3.Hash(b) != uint64(s.XXH3) {
				t.Errorf("step %d: %d bytes with XXH3 %d, want %d with %d", i, len(b), xxh3.Hash(b), s.Bytes, s.XXH3)
			}
		default:
			want, ok := crateErrors[s.Result]
			if !ok {
				t.Fatalf("step %d: unknown result %q", i, s.Result)
			}
			e, ok := errors.AsType[*ChunkError](err)
			if !ok || e.Field != want.field || want.err != nil && !errors.Is(err, want.err) || e.Index != s.Index || e.Origin != origin {
				t.Errorf("step %d: %v, want %s", i, err, s.Result)
			}
		}
	}
	pending := 0
	for _, r := range daemons {
		if _, total, _ := r.Pending(); total > 0 {
			pending++
		}
	}
	if pending != v.PendingAfter {
		t.Errorf("%d pending, want %d", pending, v.PendingAfter)
	}
}

// TestReassemblerBytesMax counts what is held, not what came.
func TestReassemblerBytesMax(t *testing.T) {
	r := testReassembler(t, ReassemblerConfig{Origin: 1, SnapshotBytesMax: 10})
	add := chunkAdder(t, r)
	add(5, 0, 4, 6, nil)
	add(5, 1, 4, 5, ErrTooLarge)
	add(5, 0, 4, 3, nil) // replaces the first, and makes room
	add(5, 1, 4, 5, nil)
	add(5, 0, 4, 6, ErrTooLarge)
	add(5, 2, 4, 2, nil)
	add(5, 3, 4, 1, ErrTooLarge)
	add(5, 1, 4, 4, nil)
	got := add(5, 3, 4, 1, nil)
	if got == nil || got.Size != 10 {
		t.Errorf("%+v", got)
	}
	add(6, 0, 1, 11, ErrTooLarge)
	add(5, 0, 1, 1, nil) // the refused chunk of a newer snapshot raised nothing
}

func TestReassemblerIdle(t *testing.T) {
	start := time.Unix(1000, 0)
	var files []*memFile
	r := testReassembler(t, ReassemblerConfig{Origin: 1, Create: func(proto0500.Seq) (File, error) {
		files = append(files, &memFile{})
		return files[len(files)-1], nil
	}})
	m := &proto0500.SnapshotReady{DaemonOrigin: 1, SeqThrough: 7, TotalChunks: 3, SnapshotBytes: []byte{1}}
	at := func(index uint32, d time.Duration) {
		t.Helper()
		m.ChunkIndex = index
		if g, err := r.Add(m, start.Add(d)); g != nil || err != nil {
			t.Fatalf("%v, %v", g, err)
		}
	}
	chunks := func() uint32 {
		n, _, _ := r.Pending()
		return n
	}
	at(0, 0)
	at(1, 299*time.Second)
	at(1, 500*time.Second) // again: no progress
	if err := r.Expire(start.Add(598 * time.Second)); err != nil || chunks() != 2 {
		t.Fatalf("after 299 s: %d chunks, %v", chunks(), err)
	}
	at(1, 599*time.Second)
	if chunks() != 1 || len(files) != 2 || !files[0].closed {
		t.Fatalf("after 300 s: %d chunks, %d files", chunks(), len(files))
	}
	if err := r.Expire(start.Add(900 * time.Second)); err != nil || chunks() != 0 || !files[1].closed {
		t.Fatalf("after 300 s more: %d chunks, %v", chunks(), err)
	}
	m.SeqThrough = 6
	if _, err := r.Add(m, start.Add(901*time.Second)); !errors.Is(err, ErrStale) {
		t.Errorf("an older one after giving up: %v", err)
	}
}

func TestReassemblerCancel(t *testing.T) {
	file := &memFile{}
	r := testReassembler(t, ReassemblerConfig{Origin: 1, Create: func(proto0500.Seq) (File, error) { return file, nil }})
	add := chunkAdder(t, r)
	add(5, 0, 2, 4, nil)
	if err := r.Cancel(); err != nil || !file.closed {
		t.Fatalf("closed %v, %v", file.closed, err)
	}
	add(4, 0, 2, 4, ErrStale)
	if add(5, 1, 2, 4, nil) != nil {
		t.Error("complete with a chunk from before the cancel")
	}
}

// TestReassemblerFile refuses what the file refuses, and takes the chunk when it comes again.
func TestReassemblerFile(t *testing.T) {
	file := &memFile{}
	broken := errors.New("no space left on device")
	r := testReassembler(t, ReassemblerConfig{Origin: 1, Create: func(proto0500.Seq) (File, error) { return file, nil }})
	add := chunkAdder(t, r)
	add(5, 0, 2, 4, nil)
	file.err = broken
	add(5, 0, 2, 4, broken)
	if n, _, b := r.Pending(); n != 0 || b != 0 {
		t.Errorf("%d chunks of %d bytes after a half-written one", n, b)
	}
	file.err = nil
	add(5, 0, 2, 4, nil)
	file.readErr = broken
	add(5, 1, 2, 4, broken) // joining needs to read the short chunk's neighbour
	if _, total, _ := r.Pending(); total != 0 || !file.closed {
		t.Error("kept what it could not join")
	}

	r = testReassembler(t, ReassemblerConfig{Origin: 1, Create: func(proto0500.Seq) (File, error) { return nil, broken }})
	chunkAdder(t, r)(5, 0, 2, 4, broken)
}

// TestReassemblerModel compares random chunks, in a real file, with a map of slices.
func TestReassemblerModel(t *testing.T) {
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		lim := frame.NetMesh()
		lim.ChunkBytesMax = 1 + rnd.Uint32N(40)
		file, err := os.Create(filepath.Join(t.TempDir(), "gathering"))
		if err != nil {
			t.Fatal(err)
		}
		r := testReassembler(t, ReassemblerConfig{Origin: 1, Limits: lim, Create: func(proto0500.Seq) (File, error) { return file, nil }})

		total := 1 + rnd.Uint32N(20)
		model := make(map[uint32][]byte)
		for {
			b := (&splitMix{state: rnd.Uint64()}).bytes(1 + int(rnd.Uint32N(lim.ChunkBytesMax)))
			i := rnd.Uint32N(total)
			model[i] = b
			got, err := r.Add(&proto0500.SnapshotReady{DaemonOrigin: 1, SeqThrough: 3, ChunkIndex: i, TotalChunks: total, SnapshotBytes: b}, time.Time{})
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			if (got != nil) != (uint32(len(model)) == total) {
				t.Fatalf("seed %d: %d of %d chunks, complete %v", seed, len(model), total, got != nil)
			}
			if got == nil {
				continue
			}
			var want []byte
			for i := range total {
				want = append(want, model[i]...)
			}
			if !bytes.Equal(contents(t, got), want) {
				t.Fatalf("seed %d: wrong bytes", seed)
			}
			break
		}
		if err := file.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// testReassembler fills in net-mesh's limits and files in memory.
func testReassembler(t testing.TB, cfg ReassemblerConfig) *Reassembler {
	t.Helper()
	if cfg.Create == nil {
		cfg.Create = func(proto0500.Seq) (File, error) { return &memFile{}, nil }
	}
	if cfg.Limits.ChunkBytesMax == 0 {
		cfg.Limits = frame.NetMesh()
	}
	r, err := NewReassembler(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// chunkAdder adds a chunk of n bytes and compares the error.
func chunkAdder(t *testing.T, r *Reassembler) func(seq proto0500.Seq, index, total uint32, n int, want error) *Gathered {
	return func(seq proto0500.Seq, index, total uint32, n int, want error) *Gathered {
		t.Helper()
		m := &proto0500.SnapshotReady{DaemonOrigin: 1, SeqThrough: seq, ChunkIndex: index, TotalChunks: total, SnapshotBytes: make([]byte, n)}
		g, err := r.Add(m, time.Time{})
		if !errors.Is(err, want) {
			t.Fatalf("chunk %d of %d: %v, want %v", index, total, err, want)
		}
		return g
	}
}

func contents(t *testing.T, g *Gathered) []byte {
	t.Helper()
	if g == nil {
		t.Fatal("not complete")
	}
	b, err := io.ReadAll(io.NewSectionReader(g.File, 0, g.Size))
	if err != nil {
		t.Fatal(err)
	}
	if int64(len(b)) != g.Size {
		t.Fatalf("file has %d bytes of %d", len(b), g.Size)
	}
	return b
}

// memFile is a file in memory, with the errors that a test wants.
type memFile struct {
	b       []byte
	err     error
	readErr error
	closed  bool
}

func (f *memFile) WriteAt(p []byte, off int64) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	if end := int(off) + len(p); end > len(f.b) {
		f.b = append(f.b, make([]byte, end-len(f.b))...)
	}
	return copy(f.b[off:], p), nil
}

func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	if f.readErr != nil {
		return 0, f.readErr
	}
	return bytes.NewReader(f.b).ReadAt(p, off)
}

func (f *memFile) Close() error {
	f.closed = true
	return nil
}
