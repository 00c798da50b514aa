package snapshot

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"ferry/frame"
	"ferry/proto0500"
)

// What a file, a peer or a caller does that the other tests leave out.

// brittleFile does not close, and writes a byte less than it says in what is short.
type brittleFile struct {
	memFile
	closeErr error
	short    bool
}

func (f *brittleFile) Close() error { return f.closeErr }

func (f *brittleFile) WriteAt(p []byte, off int64) (int, error) {
	n, err := f.memFile.WriteAt(p, off)
	if f.short {
		n--
	}
	return n, err
}

// A file that cannot be given up is told of by whatever drops it, and the chunk is not taken.
func TestReassemblerCloseError(t *testing.T) {
	broken := errors.New("input/output error")
	start := time.Unix(1_000_000, 0)
	chunk := func(seq proto0500.Seq) *proto0500.SnapshotReady {
		return &proto0500.SnapshotReady{DaemonOrigin: 1, SeqThrough: seq, TotalChunks: 2, SnapshotBytes: []byte{1}}
	}
	for name, drop := range map[string]func(r *Reassembler) error{
		"a later snapshot": func(r *Reassembler) error { _, err := r.Add(chunk(6), start); return err },
		"after its time":   func(r *Reassembler) error { _, err := r.Add(chunk(5), start.Add(NetMeshIdleMax)); return err },
		"cancelled":        func(r *Reassembler) error { return r.Cancel() },
		"expired":          func(r *Reassembler) error { return r.Expire(start.Add(NetMeshIdleMax)) },
	} {
		r := testReassembler(t, ReassemblerConfig{Origin: 1,
			Create: func(proto0500.Seq) (File, error) { return &brittleFile{closeErr: broken}, nil }})
		if _, err := r.Add(chunk(5), start); err != nil {
			t.Fatal(err)
		}
		if err := drop(r); !errors.Is(err, broken) {
			t.Errorf("%s: %v", name, err)
		}
		if chunks, total, _ := r.Pending(); chunks != 0 || total != 0 {
			t.Errorf("%s: %d of %d chunks are still there", name, chunks, total)
		}
	}
}

// A file that writes less than it was given, without an error, is one that failed.
func TestReassemblerShortWrites(t *testing.T) {
	file := &brittleFile{short: true}
	r := testReassembler(t, ReassemblerConfig{Origin: 1, Create: func(proto0500.Seq) (File, error) { return file, nil }})
	add := chunkAdder(t, r)
	add(5, 0, 2, 4, io.ErrShortWrite)
	file.short = false
	add(5, 1, 2, 4, nil)
	if chunks, _, n := r.Pending(); chunks != 1 || n != 4 {
		t.Errorf("%d chunks of %d bytes", chunks, n)
	}
	// While chunks are joined, too: the last one comes whole, and is then moved to its place.
	joining := &shortAfter{writes: 2}
	r = testReassembler(t, ReassemblerConfig{Origin: 1, Create: func(proto0500.Seq) (File, error) { return joining, nil }})
	add = chunkAdder(t, r)
	add(5, 0, 2, 4, nil)
	add(5, 1, 2, 4, io.ErrShortWrite)
	if !joining.closed {
		t.Error("kept what it could not join")
	}
}

// shortAfter writes a byte less than it says after so many writes.
type shortAfter struct {
	memFile
	writes int
}

func (f *shortAfter) WriteAt(p []byte, off int64) (int, error) {
	n, err := f.memFile.WriteAt(p, off)
	if f.writes--; f.writes < 0 {
		n--
	}
	return n, err
}

// A chunk of another daemon is refused in words that say whose it is.
func TestReassemblerOfAnotherDaemon(t *testing.T) {
	r := testReassembler(t, ReassemblerConfig{Origin: 1})
	_, err := r.Add(&proto0500.SnapshotReady{DaemonOrigin: 0x2a, SeqThrough: 5, ChunkIndex: 3, TotalChunks: 9, SnapshotBytes: []byte{1}}, time.Time{})
	ce, ok := errors.AsType[*ChunkError](err)
	if !ok || !errors.Is(err, ErrMismatch) || ce.Field != "daemon_origin" {
		t.Fatalf("%v", err)
	}
	if text := err.Error(); !strings.Contains(text, "chunk 3 of snapshot 5 of daemon 000000000000002a") {
		t.Errorf("%q", text)
	}
}

// What nothing can be gathered with is refused before anything comes.
func TestNewReassemblerRefuses(t *testing.T) {
	good := ReassemblerConfig{Origin: 1, Limits: frame.NetMesh(), Create: func(proto0500.Seq) (File, error) { return &memFile{}, nil }}
	if _, err := NewReassembler(good); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(c *ReassemblerConfig){
		"no Create":      func(c *ReassemblerConfig) { c.Create = nil },
		"no Limits":      func(c *ReassemblerConfig) { c.Limits = frame.Limits{} },
		"bytes below 0":  func(c *ReassemblerConfig) { c.SnapshotBytesMax = -1 },
		"a time below 0": func(c *ReassemblerConfig) { c.IdleMax = -1 },
	} {
		cfg := good
		spoil(&cfg)
		if r, err := NewReassembler(cfg); err == nil || r != nil {
			t.Errorf("%s: %v, %v", name, r, err)
		}
	}
}

// Sizes and places below zero are errors, not reads from somewhere else.
func TestBelowZero(t *testing.T) {
	if _, err := Open(bytes.NewReader(nil), -1, Limits{}); err == nil {
		t.Error("a snapshot of -1 bytes opens")
	}
	x := newTransfer(t, Version3, 100, 40, nil, nil)
	if n, err := x.src.ReadAt(make([]byte, 1), -1); n != 0 || err == nil {
		t.Errorf("read %d at -1, %v", n, err)
	}
}

// The chunks' lengths come to the snapshot's size; one that is not there is our own mistake.
func TestChunkBytesComeToTheSize(t *testing.T) {
	x := newTransfer(t, Version3, 1000, 64, nil, nil)
	sum := int64(0)
	for i := range x.chunker.Total() {
		sum += int64(x.chunker.ChunkBytes(i))
	}
	if sum != x.src.Size() || x.digests.Total() != x.chunker.Total() {
		t.Errorf("%d bytes of %d, digests for %d chunks of %d", sum, x.src.Size(), x.digests.Total(), x.chunker.Total())
	}
	for name, mistake := range map[string]func(){
		"a chunk that is not there":      func() { _, _, _ = x.chunker.AppendFrame(nil, 1, x.chunker.Total()) },
		"a chunk that was not claimed":   func() { NewDigests(1).settle(0, true) },
		"zeros as long as no chunk here": func() { z := newZeroDigests(&x.chunker.layout); z.of(9) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			mistake()
		}()
	}
}

// failingState is a disk that is full.
type failingState struct{ err error }

func (s failingState) WriteAt([]byte, int64) (int, error) { return 0, s.err }

// Zeros that cannot be written are missing again, and zeros where other bytes came before are a conflict.
func TestPlaceZerosRefuses(t *testing.T) {
	x := newTransfer(t, Version3, 1000, 64, nil, nil)
	full := errors.New("no space left on device")
	p := x.placer(t, failingState{full})
	if fresh, err := p.PlaceZeros(4); fresh || !errors.Is(err, full) {
		t.Errorf("%v, %v", fresh, err)
	}
	p = x.placer(t, make(memState, 1000))
	m, _ := x.chunk(t, nil, 4)
	if fresh, err := p.Place(&m); !fresh || err != nil {
		t.Fatal(fresh, err)
	}
	if fresh, err := p.PlaceZeros(4); fresh || !errors.Is(err, ErrConflict) {
		t.Errorf("%v, %v", fresh, err)
	}
}

// failingFrom is a file with a bad sector.
type failingFrom struct {
	io.ReaderAt
	from int64
	err  error
}

func (f failingFrom) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > f.from {
		return 0, f.err
	}
	return f.ReaderAt.ReadAt(p, off)
}

// What reading gives is passed on, from the snapshot's end as from its beginning.
func TestOpenPassesErrorsOn(t *testing.T) {
	x := newTransfer(t, Version3, 1000, 64, nil, nil)
	bad := errors.New("input/output error")
	for _, from := range []int64{0, int64(x.src.HeaderBytes()) + 1000} {
		if e, err := Open(failingFrom{x.src, from, bad}, x.src.Size(), Limits{Version3: true}); e != nil || !errors.Is(err, bad) {
			t.Errorf("from byte %d: %v, %v", from, e, err)
		}
	}
}
