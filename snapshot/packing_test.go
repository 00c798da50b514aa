package snapshot

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ferry/frame"
	"ferry/proto0500"
)

// packing is one agreed transfer of a state in memory.
type packing struct {
	state   []byte
	chunker *Chunker
	digests *Digests
	cfg     PlacerConfig
	lim     frame.Limits
}

func newPacking(t testing.TB, version uint8, state []byte, chunkBytes uint32, bindings []byte) *packing {
	t.Helper()
	h := testHeader(7, version, uint64(len(state)))
	src, err := NewSource(h, bytes.NewReader(state), bindings, nil)
	if err != nil {
		t.Fatal(err)
	}
	lim := frame.Default()
	c, err := NewChunker(h.ChainLink.OriginHash, h.ThroughSeq, src, src.Size(), chunkBytes, lim)
	if err != nil {
		t.Fatal(err)
	}
	return &packing{state: state, chunker: c, digests: NewDigests(c.Total()), lim: lim, cfg: PlacerConfig{
		Origin: h.ChainLink.OriginHash, SeqThrough: h.ThroughSeq, Version: version, Size: src.Size(), StateSize: int64(len(state)),
		ChunkBytes: chunkBytes, Limits: lim,
	}}
}

func (x *packing) placer(t testing.TB, state io.WriterAt, zeroed bool) *Placer {
	t.Helper()
	cfg := x.cfg
	cfg.State, cfg.StateZeroed = state, zeroed
	p, err := NewPlacer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (x *packing) base(t testing.TB, r io.ReaderAt, size int) *Base {
	t.Helper()
	b, err := NewBase(context.Background(), r, BaseConfig{StateSize: int64(size), ChunkBytes: x.cfg.ChunkBytes, Version: x.cfg.Version, Limits: x.lim})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// haves takes what a base says through the wire's form.
func (x *packing) haves(t testing.TB, b *Base) *HaveSet {
	t.Helper()
	have := NewHaveSet(0)
	for m := range b.Haves(x.cfg.Origin, x.cfg.SeqThrough) {
		raw, err := m.Append(nil, &x.lim)
		if err != nil {
			t.Fatal(err)
		}
		var read proto0500.Have
		if err := read.Decode(raw, &x.lim); err != nil || read.DaemonOrigin != x.cfg.Origin || read.SeqThrough != x.cfg.SeqThrough {
			t.Fatalf("%+v, %v", read, err)
		}
		have.Add(&read)
		clear(raw)
	}
	return have
}

// place takes a frame as the target's lane does.
func (x *packing) place(u *Unpacker, f Packed) (fresh bool, err error) {
	parsed, rest, err := frame.Parse(f.Frame, &x.lim)
	if err != nil || len(rest) > 0 || parsed.Epoch() != 3 {
		return false, fmt.Errorf("%w, epoch %d, %d bytes left", err, parsed.Epoch(), len(rest))
	}
	if proto0500.Kind(parsed.Message()[0]) == proto0500.KindChunk {
		var m proto0500.Chunk
		if err := m.Decode(parsed.Message(), &x.lim); err != nil {
			return false, err
		}
		if m.Encoding != f.Encoding || int(m.RawLen) != f.RawBytes {
			return false, fmt.Errorf("%v of %d bytes, said to be %v of %d", m.Encoding, m.RawLen, f.Encoding, f.RawBytes)
		}
		return u.Place(&m)
	}
	var m proto0500.SnapshotReady
	if err := m.Decode(parsed.Message(), &x.lim); err != nil {
		return false, err
	}
	if f.Encoding != asItIs || len(m.SnapshotBytes) != f.RawBytes {
		return false, fmt.Errorf("%d bytes as they are, said to be %v of %d", len(m.SnapshotBytes), f.Encoding, f.RawBytes)
	}
	return u.p.Place(&m)
}

// fakeClock goes on by a step each time it is asked.
type fakeClock struct {
	now  time.Time
	step time.Duration
}

func (c *fakeClock) Now() time.Time {
	c.now = c.now.Add(c.step)
	return c.now
}

// text is log-like: lines that are much alike.
func text(rnd *rand.Rand, n int) []byte {
	var b []byte
	for len(b) < n {
		b = fmt.Appendf(b, `{"time":"2026-01-02T03:04:%02d","level":"info","account":%d,"amount":%d,"message":"transfer accepted"}`+"\n",
			rnd.IntN(60), rnd.IntN(100_000), rnd.IntN(1_000_000))
	}
	return b[:n]
}

func noise(rnd *rand.Rand, n int) []byte { return (&splitMix{state: rnd.Uint64()}).bytes(n) }

// mix is a state of stretches of zeros, text and noise.
func mix(rnd *rand.Rand, n, stretch int) []byte {
	b := make([]byte, 0, n)
	for len(b) < n {
		k := min(1+rnd.IntN(stretch), n-len(b))
		switch rnd.IntN(3) {
		case 0:
			b = append(b, make([]byte, k)...)
		case 1:
			b = append(b, text(rnd, k)...)
		default:
			b = append(b, noise(rnd, k)...)
		}
	}
	return b
}

// TestPackingModel takes random states in random chunks over random lanes and paths, with a base that has some of them,
// and compares what came.
func TestPackingModel(t *testing.T) {
	seen := make(map[proto0500.Encoding]int)
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		chunkBytes := 1 + rnd.IntN(3000)
		if rnd.IntN(10) == 0 {
			chunkBytes = 130<<10 + rnd.IntN(200<<10) // several blocks of zstd, beyond its window
		}
		state := mix(rnd, rnd.IntN(12*chunkBytes), 4*chunkBytes)
		version := []uint8{Version2, Version3}[rnd.IntN(2)]
		x := newPacking(t, version, state, uint32(chunkBytes), make([]byte, rnd.IntN(2)*rnd.IntN(2*chunkBytes)))

		// The base is the state of before: of another length, and otherwise in places.
		old := append(bytes.Clone(state), text(rnd, rnd.IntN(100))...)
		old = old[:rnd.IntN(len(old)+1)]
		for range rnd.IntN(4) {
			if len(old) > 0 {
				old[rnd.IntN(len(old))]++
			}
		}
		base := x.base(t, bytes.NewReader(old), len(old))
		have := x.haves(t, base)
		if have.Len() != base.Len() {
			t.Fatalf("seed %d: %d of %d digests", seed, have.Len(), base.Len())
		}
		zeroed := rnd.IntN(2) == 0
		got := bytes.Repeat([]byte{0xaa}, len(state))
		if zeroed {
			clear(got)
		}
		p := x.placer(t, memState(got), zeroed)

		clock := &fakeClock{step: time.Duration(rnd.IntN(100)) * time.Microsecond}
		var packers []*Packer
		var unpackers []*Unpacker
		for range 1 + rnd.IntN(3) {
			cfg := PackerConfig{Have: have, Tuner: NewTuner(clock.Now)}
			if rnd.IntN(3) == 0 {
				cfg.Tuner.use = proto0500.EncodingZstd // as on a slow path
			}
			if rnd.IntN(5) == 0 {
				cfg.Tuner = nil
			}
			cfg.Plain = rnd.IntN(8) == 0
			packer := NewPacker(x.chunker, cfg)
			packers = append(packers, packer)
			unpackers = append(unpackers, NewUnpacker(p, base.Find))
		}
		for _, i := range rnd.Perm(int(x.chunker.Total())) {
			packer := packers[rnd.IntN(len(packers))]
			f, err := packer.Frame(3, uint32(i))
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			if packer.cfg.Plain && f.Encoding != asItIs || packer.cfg.Tuner == nil && (f.Encoding == proto0500.EncodingS2 || f.Encoding == proto0500.EncodingZstd) {
				t.Fatalf("seed %d: %v", seed, f.Encoding)
			}
			seen[f.Encoding]++
			x.digests.Set(uint32(i), f.Digest)
			for again := range 1 + rnd.IntN(2) {
				if fresh, err := x.place(unpackers[rnd.IntN(len(unpackers))], f); err != nil || fresh != (again == 0) {
					t.Fatalf("seed %d: chunk %d, %v: %v, %v", seed, i, f.Encoding, fresh, err)
				}
			}
			if sum, err := packer.Digest(uint32(i)); err != nil || sum != f.Digest {
				t.Fatalf("seed %d: digest %v, not %v, %v", seed, sum, f.Digest, err)
			}
		}
		if _, err := p.Finish(x.digests.Sum()); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if !bytes.Equal(got, state) || p.BytesPlaced() != x.cfg.Size {
			t.Fatalf("seed %d: wrong state, %d of %d bytes placed", seed, p.BytesPlaced(), x.cfg.Size)
		}
	}
	for e := asItIs; e <= proto0500.EncodingHeld; e++ {
		if seen[e] < 20 {
			t.Errorf("only %d chunks of %v", seen[e], e)
		}
	}
	t.Log(seen)
}

// TestPackingLanes packs and unpacks on many lanes at once.
func TestPackingLanes(t *testing.T) {
	rnd := rand.New(rand.NewPCG(4, 4))
	state := mix(rnd, 3<<20, 100<<10)
	x := newPacking(t, Version2, state, 16<<10, nil)
	old := bytes.Clone(state[:1<<20])
	base := x.base(t, bytes.NewReader(old), len(old))
	have := x.haves(t, base)
	got := make(memState, len(state))
	p := x.placer(t, got, true)
	var next atomic.Uint32
	var wg sync.WaitGroup
	clock := &fakeClock{step: time.Microsecond}
	tuner := NewTuner(clock.Now)
	for range 5 {
		wg.Go(func() {
			packer := NewPacker(x.chunker, PackerConfig{Have: have, Tuner: tuner})
			u := NewUnpacker(p, base.Find)
			for i := next.Add(1) - 1; i < p.Total(); i = next.Add(1) - 1 {
				f, err := packer.Frame(3, i)
				if err != nil {
					t.Error(err)
					return
				}
				x.digests.Set(i, f.Digest)
				if fresh, err := x.place(u, f); !fresh || err != nil {
					t.Error(fresh, err)
				}
			}
		})
	}
	wg.Wait()
	if _, err := p.Finish(x.digests.Sum()); err != nil || !bytes.Equal(got, state) {
		t.Errorf("%v, or a wrong state", err)
	}
}

// fastPath is a tuner that stays with s2, and slowPath one that stays with zstd.
func fastPath() *Tuner { return NewTuner((&fakeClock{step: time.Nanosecond}).Now) }

func slowPath() *Tuner {
	t := NewTuner((&fakeClock{step: time.Hour}).Now)
	t.use = proto0500.EncodingZstd
	return t
}

// kinds are states of which every chunk takes one form, with a lane that makes it so.
func kinds(t testing.TB, chunkBytes, chunks int) map[string]func() (*packing, *Packer, *Base) {
	rnd := rand.New(rand.NewPCG(1, 9))
	of := func(state []byte, cfg PackerConfig) func() (*packing, *Packer, *Base) {
		return func() (*packing, *Packer, *Base) {
			x := newPacking(t, Version2, state, uint32(chunkBytes), nil)
			base := x.base(t, bytes.NewReader(state), len(state))
			if cfg.Have != nil {
				cfg.Have = x.haves(t, base)
			}
			return x, NewPacker(x.chunker, cfg), base
		}
	}
	n := chunkBytes * chunks
	return map[string]func() (*packing, *Packer, *Base){
		"raw":   of(noise(rnd, n), PackerConfig{Tuner: fastPath()}),
		"zeros": of(make([]byte, n), PackerConfig{}),
		"s2":    of(text(rnd, n), PackerConfig{Tuner: fastPath()}),
		"zstd":  of(text(rnd, n), PackerConfig{Tuner: slowPath()}),
		"held":  of(noise(rnd, n), PackerConfig{Have: NewHaveSet(0)}),
	}
}

func TestPackingAllocs(t *testing.T) {
	const chunkBytes, chunks, warm = 300 << 10, 20, 5
	for name, make := range kinds(t, chunkBytes, chunks) {
		t.Run(name, func(t *testing.T) {
			x, packer, base := make()
			p := x.placer(t, sink{}, true)
			u := NewUnpacker(p, base.Find)
			i := uint32(1) // the first holds the header
			next := func() Packed {
				f, err := packer.Frame(3, i)
				if err != nil {
					t.Fatal(err)
				}
				i++
				return f
			}
			for range warm {
				f := next()
				if _, err := x.place(u, f); err != nil {
					t.Fatal(err)
				}
			}
			if n := testing.AllocsPerRun(chunks-warm-3, func() { next() }); n != 0 {
				t.Errorf("Frame allocates %v times", n)
			}
			i = warm + 1
			frames := [][]byte{}
			var fs []Packed
			for range chunks - warm - 2 {
				f := next()
				frames = append(frames, bytes.Clone(f.Frame))
				f.Frame = frames[len(frames)-1]
				fs = append(fs, f)
				if got := f.Encoding.String(); f.Encoding != asItIs && got != name || f.Encoding == asItIs && name != "raw" {
					t.Fatalf("it went as %v", f.Encoding)
				}
			}
			// The decoder of zstd keeps its tables in pools, which a race detector empties at random.
			most := map[string]float64{"zstd": 5}[name]
			k := 0
			if n := testing.AllocsPerRun(len(fs)-1, func() {
				if fresh, err := x.place(u, fs[k]); !fresh || err != nil {
					t.Fatal(fresh, err)
				}
				k++
			}); n > most {
				t.Errorf("Place allocates %v times", n)
			}
		})
	}
}

// TestNoiseIsLeftAlone: noise costs next to nothing once it is known for what it is, and is tried again.
func TestNoiseIsLeftAlone(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 3))
	const chunkBytes, chunks = 1 << 10, 400
	x := newPacking(t, Version2, append(noise(rnd, chunkBytes*chunks), text(rnd, chunkBytes*chunks)...), chunkBytes, nil)
	tuner := fastPath()
	p := NewPacker(x.chunker, PackerConfig{Tuner: tuner})
	packed, tries := 0, 0
	for i := range uint32(2 * chunks) {
		f, err := p.Frame(3, i)
		if err != nil {
			t.Fatal(err)
		}
		if tuner.since == 0 {
			tries++
		}
		if f.Encoding != asItIs {
			packed++
		}
		if i == chunks-1 {
			if packed > 1 || tries > missesMax+chunks/probeGap+1 || tries < chunks/probeGap {
				t.Errorf("noise: %d chunks packed, %d tried, of %d", packed, tries, chunks)
			}
			packed = 0
		}
	}
	if packed < chunks-probeGap-1 {
		t.Errorf("text after noise: %d of %d packed", packed, chunks)
	}
}
