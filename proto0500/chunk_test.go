package proto0500_test

import (
	"bytes"
	"testing"

	"ferry/frame"
	"ferry/proto0500"
)

// TestEncodedChunkHeader puts the header before bytes that were made in their place.
func TestEncodedChunkHeader(t *testing.T) {
	lim := frame.Default()
	m := proto0500.Chunk{DaemonOrigin: 1, SeqThrough: 2, ChunkIndex: 3, TotalChunks: 4, Encoding: proto0500.EncodingZstd, RawLen: 100}
	buf := []byte("before" + string(make([]byte, proto0500.EncodedChunkHeaderBytes)) + "packed")
	head, err := m.AppendChunkHeader(buf[:6], 6, &lim)
	if err != nil || len(head) != 6+proto0500.EncodedChunkHeaderBytes || &head[0] != &buf[0] || !bytes.HasSuffix(buf, []byte("packed")) {
		t.Fatalf("%q, then %q, %v", head, buf, err)
	}
	m.Bytes = []byte("packed")
	if whole, err := m.Append(nil, &lim); err != nil || !bytes.Equal(whole, buf[6:]) {
		t.Errorf("the whole is %q, %v, not %q", whole, err, buf[6:])
	}
	if got, err := m.AppendChunkHeader([]byte("before"), 100, &lim); err == nil || string(got) != "before" {
		t.Errorf("100 bytes of zstd for 100: %q, %v", got, err)
	}
}

func TestEncodingNames(t *testing.T) {
	for e, want := range map[proto0500.Encoding]string{
		0: "encoding(0)", proto0500.EncodingZeros: "zeros", proto0500.EncodingS2: "s2", proto0500.EncodingZstd: "zstd",
		proto0500.EncodingHeld: "held", 5: "encoding(5)",
	} {
		if e.String() != want {
			t.Errorf("%q, not %q", e.String(), want)
		}
	}
}
