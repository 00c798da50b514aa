package proto0500_test

import (
	"bytes"
	"errors"
	"testing"

	"ferry/frame"
	"ferry/proto0500"
)

// TestChunkHeader sends a chunk from where it lies and reads it to where it belongs: no frame buffer holds it.
func TestChunkHeader(t *testing.T) {
	lim := frame.Default()
	chunk := bytes.Repeat([]byte("chunk"), 1000)
	m := proto0500.SnapshotReady{DaemonOrigin: 1, SeqThrough: 2, ChunkIndex: 3, TotalChunks: 4}
	msg, err := m.AppendChunkHeader(nil, len(chunk), &lim)
	if err != nil || len(msg) != proto0500.ChunkHeaderBytes {
		t.Fatalf("%d bytes, %v", len(msg), err)
	}
	head, err := frame.AppendSplit(nil, 9, msg, chunk, &lim)
	if err != nil {
		t.Fatal(err)
	}

	h, err := frame.ParseHeader(head, &lim)
	if err != nil {
		t.Fatal(err)
	}
	var got proto0500.SnapshotReady
	n, err := got.DecodeChunkHeader(head[frame.HeaderBytes:], &lim)
	if err != nil || n != len(chunk) || !sameHeader(got, m) {
		t.Fatalf("%+v, %d bytes, %v", got, n, err)
	}
	if err := h.Verify(head[frame.HeaderBytes:], chunk); err != nil {
		t.Error(err)
	}

	m.SnapshotBytes = chunk
	whole, err := m.Append(nil, &lim)
	if err != nil {
		t.Fatal(err)
	}
	framed, err := frame.Append(nil, 9, whole, &lim)
	if err != nil || !bytes.Equal(framed, append(head, chunk...)) {
		t.Errorf("the whole frame is another, %v", err)
	}
	for _, b := range [][]byte{whole[:28], whole[:30]} {
		if _, err := got.DecodeChunkHeader(b, &lim); err == nil {
			t.Errorf("a header of %d bytes", len(b))
		}
	}
	if _, err := m.AppendChunkHeader(nil, 1<<20+1, &lim); !errors.Is(err, frame.ErrLimit) {
		t.Errorf("a chunk over the limit: %v", err)
	}
}

func sameHeader(a, b proto0500.SnapshotReady) bool {
	return a.DaemonOrigin == b.DaemonOrigin && a.SeqThrough == b.SeqThrough && a.ChunkIndex == b.ChunkIndex &&
		a.TotalChunks == b.TotalChunks
}
