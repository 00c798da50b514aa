package proto0500_test

import (
	"bytes"
	"testing"

	"ferry/frame"
	"ferry/proto0500"
	"ferry/proto0500/jsonform"
)

// FuzzDecode: what decodes encodes to the same bytes, has a JSON form that reads back to them, and owns its bytes once
// cloned; what does not decode says what kind of error it is, and where.
func FuzzDecode(f *testing.F) {
	lim := frame.NetMesh()
	for _, s := range samples(f) {
		b, err := s.message.Append(nil, &lim)
		if err != nil {
			f.Fatal(err)
		}
		if len(b) < 500 { // small seeds, many runs
			f.Add(b)
		}
	}
	for _, m := range []proto0500.Message{
		proto0500.SnapshotReady{DaemonOrigin: 7, ChunkIndex: 1, TotalChunks: 3, SnapshotBytes: []byte("chunk")},
		proto0500.BufferedEvents{DaemonOrigin: 7, Events: proto0500.EventsOf(chain(f, 7, 2)...)},
		proto0500.Chunk{DaemonOrigin: 7, TotalChunks: 3, Encoding: proto0500.EncodingZstd, RawLen: 7000, Bytes: []byte("packed")},
		proto0500.Chunk{DaemonOrigin: 7, TotalChunks: 3, Encoding: proto0500.EncodingHeld, RawLen: 7000, Bytes: []byte("0123456789abcdef")},
		proto0500.Have{DaemonOrigin: 7, Digests: proto0500.ChunkDigestsOf([16]byte{1}, [16]byte{2})},
	} {
		b, err := m.Append(nil, &lim)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := proto0500.Decode(b, &lim)
		if err != nil {
			if frame.ErrorKind(err) == "" {
				t.Fatalf("no kind: %v", err)
			}
			return
		}
		out, err := jsonform.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		read, err := jsonform.Unmarshal(out)
		if err != nil {
			t.Fatalf("%s: %v", out, err)
		}
		for name, m := range map[string]proto0500.Message{"decoded": m, "read from JSON": read, "clone": proto0500.Clone(m)} {
			if got, err := m.Append(nil, &lim); err != nil || !bytes.Equal(got, b) {
				t.Fatalf("%s encoded as %x, %v, not %x", name, got, err, b)
			}
		}
	})
}
