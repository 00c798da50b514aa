package snapshot

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"ferry/proto0500"
)

// lines decodes every line of a file of testdata as a T.
func lines[T any](t testing.TB, name string) []T {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all []T
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		var v T
		if err := json.Unmarshal(s.Bytes(), &v); err != nil {
			t.Fatalf("%s line %d: %v", name, len(all)+1, err)
		}
		all = append(all, v)
	}
	if err := s.Err(); err != nil {
		t.Fatal(err)
	}
	if len(all) == 0 {
		t.Fatalf("%s is empty", name)
	}
	return all
}

// u64 is a decimal string.
type u64 uint64

func (u *u64) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	v, err := strconv.ParseUint(s, 10, 64)
	*u = u64(v)
	return err
}

// hexBytes are lower-case hex, or null.
type hexBytes []byte

func (h *hexBytes) UnmarshalJSON(b []byte) error {
	var s *string
	if err := json.Unmarshal(b, &s); err != nil || s == nil {
		return err
	}
	v, err := hex.DecodeString(*s)
	*h = v
	return err
}

// snapshotFields are the fields of a snapshot as the vectors have them.
type snapshotFields struct {
	Version   uint8    `json:"version"`
	EntityID  hexBytes `json:"entity_id"`
	Through   u64      `json:"through_seq"`
	ChainLink struct {
		OriginHash     u64 `json:"origin_hash"`
		HorizonEncoded u64 `json:"horizon_encoded"`
		Sequence       u64 `json:"sequence"`
		ParentHash     u64 `json:"parent_hash"`
	} `json:"chain_link"`
	CreatedAt u64      `json:"created_at"`
	State     hexBytes `json:"state"`
	Bindings  hexBytes `json:"bindings_bytes"`
	Identity  hexBytes `json:"identity_envelope"`
}

func (f *snapshotFields) header() Header {
	return Header{
		Version:    f.Version,
		EntityID:   [32]byte(f.EntityID),
		ThroughSeq: proto0500.Seq(f.Through),
		ChainLink: proto0500.Link{
			OriginHash:     proto0500.Origin(f.ChainLink.OriginHash),
			HorizonEncoded: uint64(f.ChainLink.HorizonEncoded),
			Sequence:       proto0500.Seq(f.ChainLink.Sequence),
			ParentHash:     uint64(f.ChainLink.ParentHash),
		},
		CreatedAt: uint64(f.CreatedAt),
		StateLen:  uint64(len(f.State)),
	}
}

// splitMix is the generator of the vectors' random bytes.
type splitMix struct{ state uint64 }

func (s *splitMix) next() uint64 {
	s.state += 0x9E3779B97F4A7C15
	z := s.state
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	return z ^ z>>31
}

func (s *splitMix) bytes(n int) []byte {
	b := make([]byte, 0, n+8)
	for len(b) < n {
		b = binary.LittleEndian.AppendUint64(b, s.next())
	}
	return b[:n]
}
