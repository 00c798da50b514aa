package snapshot

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"ferry/frame"
	"ferry/proto0500"
)

// transfer is one agreed transfer, both sides of it.
type transfer struct {
	src     *Source
	chunker *Chunker
	digests *Digests
	cfg     PlacerConfig
	lim     frame.Limits
}

func newTransfer(t testing.TB, version uint8, stateLen uint64, chunkBytes uint32, bindings, identity []byte) *transfer {
	t.Helper()
	h := testHeader(7, version, stateLen)
	src := newSource(t, h, stateLen, bindings, identity)
	lim := frame.Default()
	c, err := NewChunker(h.ChainLink.OriginHash, h.ThroughSeq, src, src.Size(), chunkBytes, lim)
	if err != nil {
		t.Fatal(err)
	}
	return &transfer{
		src:     src,
		chunker: c,
		digests: NewDigests(c.Total()),
		lim:     lim,
		cfg: PlacerConfig{
			Origin:     h.ChainLink.OriginHash,
			SeqThrough: h.ThroughSeq,
			Version:    version,
			Size:       src.Size(),
			StateSize:  int64(stateLen),
			ChunkBytes: chunkBytes,
			Limits:     lim,
		},
	}
}

// chunk is the chunk index as it is decoded at the target.
func (x *transfer) chunk(t testing.TB, buf []byte, index uint32) (proto0500.SnapshotReady, []byte) {
	t.Helper()
	buf, sum, err := x.chunker.AppendFrame(buf[:0], 3, index)
	if err != nil {
		t.Fatal(err)
	}
	x.digests.Set(index, sum)
	f, _, err := frame.Parse(buf, &x.lim)
	if err != nil {
		t.Fatal(err)
	}
	var m proto0500.SnapshotReady
	if err := m.Decode(f.Message(), &x.lim); err != nil {
		t.Fatal(err)
	}
	return m, buf
}

func (x *transfer) placer(t testing.TB, state io.WriterAt) *Placer {
	t.Helper()
	cfg := x.cfg
	cfg.State = state
	p, err := NewPlacer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestPlacerModel places random snapshots in random chunks, doubled at random, and compares with what was cut.
func TestPlacerModel(t *testing.T) {
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 2))
		version := []uint8{Version2, Version3}[rnd.IntN(2)]
		stateLen := rnd.Uint64N(2000)
		bindings := (&splitMix{state: seed}).bytes(rnd.IntN(80))
		var identity []byte
		if rnd.IntN(2) == 0 {
			identity = testIdentity()
		}
		x := newTransfer(t, version, stateLen, 1+rnd.Uint32N(400), bindings, identity)
		state := &memFile{}
		p := x.placer(t, state)

		var written int64
		p.cfg.AfterBytes = func(_, n int64) { written += n }
		var bytesPlaced int64
		for n, i := range rnd.Perm(int(x.chunker.Total())) {
			m, _ := x.chunk(t, nil, uint32(i))
			for again := range 1 + rnd.IntN(2) {
				if fresh, err := p.Place(&m); err != nil || fresh != (again == 0) {
					t.Fatalf("seed %d: chunk %d: %v, %v", seed, i, fresh, err)
				}
			}
			bytesPlaced += int64(len(m.SnapshotBytes))
			if p.ChunksPlaced() != uint32(n+1) || p.BytesPlaced() != bytesPlaced || p.Done() != (uint32(n+1) == p.Total()) {
				t.Fatalf("seed %d: %d chunks, %d bytes, done %v", seed, p.ChunksPlaced(), p.BytesPlaced(), p.Done())
			}
		}
		got, err := p.Finish(x.digests.Sum())
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		want := make([]byte, stateLen)
		pattern{}.ReadAt(want, 0)
		if !bytes.Equal(state.b, want) || written != int64(stateLen) {
			t.Fatalf("seed %d: wrong state, %d bytes reported", seed, written)
		}
		if got.Header != testHeader(7, version, stateLen) || !bytes.Equal(got.Bindings, bindings) || !bytes.Equal(got.Identity, identity) ||
			(got.Identity == nil) != (identity == nil) {
			t.Fatalf("seed %d: %+v", seed, got)
		}
	}
}

// TestManyLanes places one file from many lanes at once, in random order, every chunk by two of them.
func TestManyLanes(t *testing.T) {
	const (
		stateLen = 3<<20 + 17
		lanes    = 6
	)
	x := newTransfer(t, Version2, stateLen, 7000, []byte("b"), testIdentity())
	file, err := os.Create(filepath.Join(t.TempDir(), "state"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	p := x.placer(t, file)

	order := rand.New(rand.NewPCG(1, 1)).Perm(2 * int(p.Total()))
	var fresh, next atomic.Int64
	var wg sync.WaitGroup
	for range lanes {
		wg.Go(func() {
			var buf []byte
			for {
				i := next.Add(1) - 1
				if i >= int64(len(order)) {
					return
				}
				var m proto0500.SnapshotReady
				m, buf = x.chunk(t, buf, uint32(order[i])%p.Total())
				is, err := p.Place(&m)
				if err != nil {
					t.Error(err)
				}
				if is {
					fresh.Add(1)
				}
				for range p.Missing() { // what a status does meanwhile
					break
				}
			}
		})
	}
	wg.Wait()
	if fresh.Load() != int64(p.Total()) || p.BytesPlaced() != x.src.Size() {
		t.Errorf("%d of %d chunks fresh, %d of %d bytes", fresh.Load(), p.Total(), p.BytesPlaced(), x.src.Size())
	}
	if _, err := p.Finish(x.digests.Sum()); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(file.Name())
	if err != nil {
		t.Fatal(err)
	}
	want := make([]byte, stateLen)
	pattern{}.ReadAt(want, 0)
	if !bytes.Equal(got, want) {
		t.Error("wrong state")
	}
}

func TestPlaceRefuses(t *testing.T) {
	x := newTransfer(t, Version2, 250, 100, nil, nil)
	state := &memFile{}
	p := x.placer(t, state)
	good, _ := x.chunk(t, nil, 1)
	other := bytes.Clone(good.SnapshotBytes)
	other[0]++

	for _, c := range []struct {
		name   string
		change func(*proto0500.SnapshotReady)
		field  string
		err    error
	}{
		{"origin", func(m *proto0500.SnapshotReady) { m.DaemonOrigin++ }, "daemon_origin", ErrMismatch},
		{"older", func(m *proto0500.SnapshotReady) { m.SeqThrough-- }, "seq_through", ErrMismatch},
		{"newer", func(m *proto0500.SnapshotReady) { m.SeqThrough++ }, "seq_through", ErrMismatch},
		{"total", func(m *proto0500.SnapshotReady) { m.TotalChunks++ }, "total_chunks", ErrMismatch},
		{"index", func(m *proto0500.SnapshotReady) { m.ChunkIndex = m.TotalChunks }, "chunk_index", ErrMismatch},
		{"short", func(m *proto0500.SnapshotReady) { m.SnapshotBytes = m.SnapshotBytes[:99] }, "len", ErrMismatch},
		{"empty", func(m *proto0500.SnapshotReady) { m.SnapshotBytes = nil }, "len", ErrMismatch},
		{"long", func(m *proto0500.SnapshotReady) { m.SnapshotBytes = append(bytes.Clone(other), 0) }, "len", ErrMismatch},
		{"whole in the last place", func(m *proto0500.SnapshotReady) { m.ChunkIndex = m.TotalChunks - 1 }, "len", ErrMismatch},
	} {
		m := good
		c.change(&m)
		fresh, err := p.Place(&m)
		e, ok := errors.AsType[*ChunkError](err)
		if fresh || !ok || e.Field != c.field || !errors.Is(err, c.err) || e.Index != m.ChunkIndex {
			t.Errorf("%s: %v, %v", c.name, fresh, err)
		}
	}
	if p.ChunksPlaced() != 0 || len(state.b) != 0 {
		t.Error("a refused chunk left something")
	}

	if fresh, err := p.Place(&good); !fresh || err != nil {
		t.Fatalf("%v, %v", fresh, err)
	}
	before := bytes.Clone(state.b)
	conflict := good
	conflict.SnapshotBytes = other
	if fresh, err := p.Place(&conflict); fresh || !errors.Is(err, ErrConflict) || !bytes.Equal(state.b, before) {
		t.Errorf("other bytes: %v, %v", fresh, err)
	}
	if _, err := p.Finish(x.digests.Sum()); !errors.Is(err, ErrIncomplete) {
		t.Errorf("finish with one chunk: %v", err)
	}
}

// TestPlaceFileError leaves the chunk missing, and takes it when it comes again.
func TestPlaceFileError(t *testing.T) {
	x := newTransfer(t, Version2, 250, 100, nil, nil)
	state := &memFile{err: errors.New("no space left on device")}
	p := x.placer(t, state)
	m, _ := x.chunk(t, nil, 1)
	if fresh, err := p.Place(&m); fresh || !errors.Is(err, state.err) {
		t.Errorf("%v, %v", fresh, err)
	}
	if p.ChunksPlaced() != 0 || p.BytesPlaced() != 0 {
		t.Error("counted")
	}
	state.err = nil
	if fresh, err := p.Place(&m); !fresh || err != nil {
		t.Errorf("again: %v, %v", fresh, err)
	}

	p = x.placer(t, shortWriter{})
	if fresh, err := p.Place(&m); fresh || !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("short write: %v, %v", fresh, err)
	}
}

type shortWriter struct{}

func (shortWriter) WriteAt(p []byte, _ int64) (int, error) { return len(p) - 1, nil }

// TestFinishRefuses sends snapshots, in order and complete, that are not the one that was announced.
func TestFinishRefuses(t *testing.T) {
	// Cut and placed with the same sizes; only what they hold differs.
	place := func(bytesOf func() []byte, cfg func(*PlacerConfig)) (*Placer, Digest) {
		t.Helper()
		whole := bytesOf()
		h := testHeader(7, Version2, 0)
		c := PlacerConfig{Origin: h.ChainLink.OriginHash, SeqThrough: 7, Version: Version2, Size: int64(len(whole)),
			StateSize: 250, ChunkBytes: 100, Limits: frame.Default(), State: &memFile{}}
		if cfg != nil {
			cfg(&c)
		}
		p, err := NewPlacer(c)
		if err != nil {
			t.Fatal(err)
		}
		d := NewDigests(p.Total())
		for i := range p.Total() {
			part := whole[i*100 : min(len(whole), int(i+1)*100)]
			d.Set(i, DigestOf(part))
			m := proto0500.SnapshotReady{DaemonOrigin: c.Origin, SeqThrough: c.SeqThrough, ChunkIndex: i, TotalChunks: p.Total(), SnapshotBytes: part}
			if _, err := p.Place(&m); err != nil {
				t.Fatal(err)
			}
		}
		return p, d.Sum()
	}
	good := func() []byte { return readAll(t, newSource(t, testHeader(7, Version2, 250), 250, nil, nil)) }
	set := func(at int, v byte) func() []byte {
		return func() []byte {
			b := good()
			b[at] = v
			return b
		}
	}

	p, sum := place(good, nil)
	if _, err := p.Finish(Digest{}); !errors.Is(err, ErrDigest) {
		t.Errorf("no digest: %v", err)
	}
	sum[3]++
	if _, err := p.Finish(sum); !errors.Is(err, ErrDigest) {
		t.Errorf("other digest: %v", err)
	}
	sum[3]--
	if _, err := p.Finish(sum); err != nil {
		t.Errorf("good: %v", err)
	}

	for _, c := range []struct {
		name string
		of   func() []byte
		cfg  func(*PlacerConfig)
		err  error
	}{
		{"magic", set(0, 'X'), nil, frame.ErrValue},
		{"other origin", good, func(c *PlacerConfig) { c.Origin++ }, ErrMismatch},
		{"other sequence", good, func(c *PlacerConfig) { c.SeqThrough++ }, ErrMismatch},
		{"state_len", set(85, 249), nil, ErrMismatch},
		{"bindings_len", set(339, 1), nil, frame.ErrTruncated},
		{"flag", set(343, 3), nil, frame.ErrFlags},
		{"version 3 inside", set(4, 3), nil, frame.ErrVersion},
		// Version 2 where 3 was agreed, with the right length even: the longer header swallows the state's first bytes.
		{"version 2 inside", func() []byte { return append(good(), make([]byte, 8)...) }, func(c *PlacerConfig) { c.Version = Version3 }, ErrMismatch},
	} {
		p, sum := place(c.of, c.cfg)
		if _, err := p.Finish(sum); !errors.Is(err, c.err) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	// The first byte after the announced trailer is refused too: the trailer is parsed to its end.
	p, sum = place(func() []byte { return append(good(), 0) }, nil)
	_, err := p.Finish(sum)
	if d, ok := errors.AsType[*frame.DecodeError](err); !ok || !errors.Is(err, frame.ErrTrailing) || d.Offset != 344 {
		t.Errorf("a byte more: %v", err)
	}
}

func TestNewPlacerRefuses(t *testing.T) {
	x := newTransfer(t, Version2, 250, 100, nil, nil)
	for _, c := range []struct {
		name   string
		change func(*PlacerConfig)
		err    error
	}{
		{"version", func(c *PlacerConfig) { c.Version = 4 }, frame.ErrVersion},
		{"no version", func(c *PlacerConfig) { c.Version = 0 }, frame.ErrVersion},
		{"negative size", func(c *PlacerConfig) { c.Size = -1 }, ErrMismatch},
		{"negative state", func(c *PlacerConfig) { c.StateSize = -1 }, ErrMismatch},
		{"state over size", func(c *PlacerConfig) { c.StateSize = c.Size - 93 }, ErrMismatch},
		{"largest state", func(c *PlacerConfig) { c.Version = Version3; c.StateSize = 1<<63 - 1 }, ErrMismatch},
		{"over own limit", func(c *PlacerConfig) { c.SizeMax = c.Size - 1 }, ErrTooLarge},
		{"trailer", func(c *PlacerConfig) { c.TrailerBytesMax = 4 }, ErrTooLarge},
		{"trailer by default", func(c *PlacerConfig) { c.Size = 250 + 89 + TrailerBytesDefault + 1 }, ErrTooLarge},
		{"version 2 over 4 GiB", func(c *PlacerConfig) { c.StateSize = 1 << 32; c.Size = 1<<32 + 94; c.ChunkBytes = 1 << 20 }, ErrTooLarge},
		{"chunks", func(c *PlacerConfig) { c.Limits.ChunksMax = 3 }, ErrTooLarge},
		{"largest size", func(c *PlacerConfig) { c.Version = Version3; c.Size = 1<<63 - 1; c.StateSize = c.Size - 102 }, ErrTooLarge},
		{"no chunk size", func(c *PlacerConfig) { c.ChunkBytes = 0 }, frame.ErrLimit},
		{"chunk size", func(c *PlacerConfig) { c.ChunkBytes = c.Limits.ChunkBytesMax + 1 }, frame.ErrLimit},
	} {
		cfg := x.cfg
		c.change(&cfg)
		if _, err := NewPlacer(cfg); !errors.Is(err, c.err) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestNewChunkerRefuses(t *testing.T) {
	lim := frame.NetMesh()
	for _, c := range []struct {
		size       int64
		chunkBytes uint32
		err        error
	}{
		{-1, 7000, frame.ErrValue},
		{1, 0, frame.ErrLimit},
		{1, 7001, frame.ErrLimit},
		{7000 * 700000, 7000, nil},
		{7000*700000 + 1, 7000, ErrTooLarge},
		{1<<63 - 1, 1, ErrTooLarge},
	} {
		if _, err := NewChunker(1, 1, zeros{}, c.size, c.chunkBytes, lim); !errors.Is(err, c.err) {
			t.Errorf("%d bytes in chunks of %d: %v", c.size, c.chunkBytes, err)
		}
	}
	// A frame that the limits do not let through, and a source that fails, leave dst as it was.
	lim.MessageBytesMax = 100
	failing, err := NewChunker(1, 1, bytes.NewReader(nil), 50, 50, lim)
	if err != nil {
		t.Fatal(err)
	}
	narrow, err := NewChunker(1, 1, zeros{}, 72, 72, lim)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []*Chunker{failing, narrow} {
		if got, _, err := c.AppendFrame([]byte("before"), 1, 0); err == nil || string(got) != "before" {
			t.Errorf("%q, %v", got, err)
		}
	}
}

func TestDigests(t *testing.T) {
	d := NewDigests(6)
	ranges := func(want string) {
		t.Helper()
		if got := fmt.Sprint(slices.Collect(d.Held()), slices.Collect(d.Missing())); got != want {
			t.Errorf("held and missing %s, want %s", got, want)
		}
	}
	ranges("[] [{0 6}]")
	for _, i := range []uint32{4, 1, 0} {
		d.Set(i, DigestOf([]byte{byte(i)}))
	}
	ranges("[{0 2} {4 1}] [{2 2} {5 1}]")
	if _, err := d.claim(2, DigestOf([]byte{2})); err != nil {
		t.Fatal(err)
	}
	ranges("[{0 2} {4 1}] [{2 2} {5 1}]") // a claim is not held
	d.settle(2, true)
	d.Set(3, DigestOf([]byte{3}))
	if d.Count() != 5 || d.Sum() != (Digest{}) {
		t.Errorf("%d digests, sum %v before all are there", d.Count(), d.Sum())
	}
	d.Set(5, DigestOf([]byte{0xff}))
	d.Set(5, DigestOf([]byte{5}))
	ranges("[{0 6}] []")

	var all []byte
	for i := range byte(6) {
		one := DigestOf([]byte{i})
		all = append(all, one[:]...)
	}
	if d.Count() != 6 || d.Sum() != DigestOf(all) {
		t.Errorf("%d digests, sum %v, want %v", d.Count(), d.Sum(), DigestOf(all))
	}
	// XXH3-128 of nothing, in canonical form, as the algorithm's own tools print it.
	if got := DigestOf(nil).String(); got != "99aa06d3014798d86001c324468d497f" {
		t.Errorf("digest of nothing is %s", got)
	}
}
