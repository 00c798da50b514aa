package proto0500_test

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/zeebo/xxh3"

	"ferry/frame"
	"ferry/proto0500"
	"ferry/proto0500/jsonform"
)

// vectorLines calls f with each line of a file of golden vectors, as a subtest of the line's name.
func vectorLines[T any](t *testing.T, file string, f func(t *testing.T, v T)) {
	t.Helper()
	r, err := os.Open(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	sc := bufio.NewScanner(r)
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		var named struct{ Name string }
		if err := json.Unmarshal(sc.Bytes(), &named); err != nil {
			t.Fatal(err)
		}
		var v T
		if err := json.Unmarshal(sc.Bytes(), &v); err != nil {
			t.Fatalf("%s: %v", named.Name, err)
		}
		t.Run(named.Name, func(t *testing.T) { f(t, v) })
	}
	if err := sc.Err(); err != nil {
		t.Fatal(err)
	}
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// sameJSON compares by value: numbers by their digits, members in any order.
func sameJSON(t *testing.T, got, want []byte) bool {
	t.Helper()
	return reflect.DeepEqual(anyJSON(t, got), anyJSON(t, want))
}

func anyJSON(t *testing.T, b []byte) (v any) {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	if err := dec.Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

type messageVector struct {
	Message   string
	Hex       string
	Fields    json.RawMessage
	Reencoded *string
	Verdict   string `json:"crate_verdict"`
	Why       string
}

func (v messageVector) json() []byte {
	return []byte(`{"message":"` + v.Message + `","fields":` + string(v.Fields) + `}`)
}

func TestMessageVectors(t *testing.T) {
	lim := frame.NetMesh()
	vectorLines(t, "messages.jsonl", func(t *testing.T, v messageVector) {
		b := unhex(t, v.Hex)
		m, err := proto0500.DecodeBase(b, &lim)
		if err != nil {
			t.Fatal(err)
		}
		if m.Kind().String() != v.Message {
			t.Fatalf("decoded %v, not %v", m.Kind(), v.Message)
		}
		if got, err := jsonform.Marshal(m); err != nil || !sameJSON(t, got, v.json()) {
			t.Fatalf("decoded %s, %v, not %s", got, err, v.json())
		}
		fromFields, err := jsonform.Unmarshal(v.json())
		if err != nil {
			t.Fatal(err)
		}
		for name, m := range map[string]proto0500.Message{"decoded": m, "fields": fromFields, "clone": proto0500.Clone(m)} {
			if got, err := m.Append(nil, &lim); err != nil || !bytes.Equal(got, b) {
				t.Fatalf("%s encoded as %x, %v, not %x", name, got, err, b)
			}
		}
		testDamage(t, b, &lim)
	})
}

// testDamage cuts the message at every byte and adds one.
func testDamage(t *testing.T, b []byte, lim *frame.Limits) {
	t.Helper()
	step := max(1, len(b)/500) // every byte but in the longest
	for n := 0; n < len(b); n += step {
		if _, err := proto0500.Decode(b[:n:n], lim); !errors.Is(err, frame.ErrTruncated) {
			t.Fatalf("%d of %d bytes: %v", n, len(b), err)
		}
	}
	if _, err := proto0500.Decode(append(b[:len(b):len(b)], 0), lim); !errors.Is(err, frame.ErrTrailing) {
		t.Fatalf("one byte more: %v", err)
	}
}

// TestInvalidVectors holds us to the crate's verdict, except that bytes left over after a message are an error here.
func TestInvalidVectors(t *testing.T) {
	lim := frame.NetMesh()
	var accepted, refused, trailing int
	vectorLines(t, "invalid.jsonl", func(t *testing.T, v messageVector) {
		b := unhex(t, v.Hex)
		m, err := proto0500.DecodeBase(b, &lim)
		if v.Verdict != "accepted" {
			refused++
			if err == nil {
				t.Fatalf("accepted, but %s", v.Why)
			}
			if frame.ErrorKind(err) == "" {
				t.Fatalf("no kind: %v", err)
			}
			de, ok := errors.AsType[*frame.DecodeError](err)
			if !ok || de.Offset < 0 || de.Offset > len(b) {
				t.Fatalf("no place: %#v", err)
			}
			return
		}
		if len(*v.Reencoded) < len(v.Hex) {
			trailing++
			if !errors.Is(err, frame.ErrTrailing) {
				t.Fatalf("trailing bytes: %v", err)
			}
			if b = b[:len(*v.Reencoded)/2]; hex.EncodeToString(b) != *v.Reencoded {
				t.Fatalf("re-encoded is not the beginning")
			}
			m, err = proto0500.DecodeBase(b, &lim)
		} else {
			accepted++
		}
		if err != nil {
			t.Fatal(err)
		}
		if got, err := jsonform.Marshal(m); err != nil || !sameJSON(t, got, v.json()) {
			t.Fatalf("decoded %s, %v, not %s", got, err, v.json())
		}
		if got, err := m.Append(nil, &lim); err != nil || hex.EncodeToString(got) != *v.Reencoded {
			t.Fatalf("encoded as %x, %v, not %s", got, err, *v.Reencoded)
		}
	})
	t.Logf("%d refused, %d accepted, %d accepted by the crate but for trailing bytes", refused, accepted, trailing)
	if accepted+trailing != 133 {
		t.Errorf("the crate accepts 133, we saw %d", accepted+trailing)
	}
}

func TestLargeVectors(t *testing.T) {
	lim := frame.NetMesh()
	type vector struct {
		Prefix, Repeat string
		Times, Bytes   int
		XXH3           string
		Verdict        string `json:"crate_verdict"`
	}
	vectorLines(t, "large.jsonl", func(t *testing.T, v vector) {
		b := append(unhex(t, v.Prefix), bytes.Repeat(unhex(t, v.Repeat), v.Times)...)
		if len(b) != v.Bytes {
			t.Fatalf("%d bytes, not %d", len(b), v.Bytes)
		}
		if sum := xxh3.Hash(b); v.XXH3 != uint64String(sum) {
			t.Fatalf("xxh3 %d, not %s", sum, v.XXH3)
		}
		var m proto0500.BufferedEvents
		if err := m.Decode(b, &lim); (err == nil) != (v.Verdict == "accepted") {
			t.Fatalf("%v, but the crate says %s", err, v.Verdict)
		} else if err != nil {
			return
		}
		n := 0
		for range m.Events.All() {
			n++
		}
		if n != v.Times || m.Events.Len() != v.Times {
			t.Fatalf("%d events, Len %d, not %d", n, m.Events.Len(), v.Times)
		}
		if got, err := m.Append(nil, &lim); err != nil || !bytes.Equal(got, b) {
			t.Fatalf("encoded otherwise: %v", err)
		}
	})
}

// TestVectorNames holds the files to their word that names are unique, which the subtests rely on.
func TestVectorNames(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "*.jsonl"))
	if err != nil || len(files) != 5 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		seen := make(map[string]bool)
		for line := range strings.Lines(string(b)) {
			var v struct{ Name string }
			if err := json.Unmarshal([]byte(line), &v); err != nil {
				t.Fatal(err)
			}
			if v.Name == "" || seen[v.Name] {
				t.Errorf("%s: name %q", file, v.Name)
			}
			seen[v.Name] = true
		}
	}
}
