package fuzz

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// seedBytesMax keeps the seeds small: the mutator then makes many runs.
const seedBytesMax = 600

// vectors calls add with the field of that name, in hex, of each line of a package's golden vectors, but not with those
// that are too long for seeds.
func vectors(tb testing.TB, file, field string, add func(b []byte)) {
	tb.Helper()
	allVectors(tb, file, field, func(b []byte) {
		if len(b) <= seedBytesMax {
			add(b)
		}
	})
}

// allVectors is vectors with the long ones.
func allVectors(tb testing.TB, file, field string, add func(b []byte)) {
	tb.Helper()
	r, err := os.Open(filepath.Join("..", filepath.FromSlash(file)))
	if err != nil {
		tb.Fatal(err)
	}
	defer r.Close()
	sc := bufio.NewScanner(r)
	sc.Buffer(nil, 1<<20)
	n := 0
	for sc.Scan() {
		var v map[string]json.RawMessage
		if err := json.Unmarshal(sc.Bytes(), &v); err != nil {
			tb.Fatalf("%s: %v", file, err)
		}
		if v[field] == nil {
			continue
		}
		var s string
		if err := json.Unmarshal(v[field], &s); err != nil {
			tb.Fatalf("%s: %v", file, err)
		}
		n++
		add(unhex(tb, s))
	}
	if err := sc.Err(); err != nil {
		tb.Fatal(err)
	}
	if n == 0 {
		tb.Fatalf("%s has no field %s", file, field)
	}
}

// annotated gives the bytes of each block of a file of hex in which everything after the hex of a line is prose, and
// blocks end with a line of dashes or the file's end.
func annotated(tb testing.TB, file string, add func(b []byte)) {
	tb.Helper()
	text, err := os.ReadFile(filepath.Join("..", filepath.FromSlash(file)))
	if err != nil {
		tb.Fatal(err)
	}
	n := 0
	for block := range strings.SplitSeq(string(text), "\n\n") {
		block, _, _ = strings.Cut(block, "\n----")
		var b []byte
		for l := range strings.Lines(block) {
			word, _, _ := strings.Cut(strings.TrimSpace(l), " ")
			if part, err := hex.DecodeString(word); err == nil {
				b = append(b, part...)
			}
		}
		if len(b) > 0 {
			n++
			add(b)
		}
	}
	if n == 0 {
		tb.Fatalf("%s has no bytes", file)
	}
}

func unhex(tb testing.TB, s string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// corpus gives the first bytes of each input that was found for a target and committed.
func corpus(tb testing.TB, target string, add func(b []byte)) {
	tb.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "fuzz", target, "*"))
	if err != nil {
		tb.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			tb.Fatal(err)
		}
		for l := range strings.Lines(string(text)) {
			if quoted, ok := strings.CutPrefix(strings.TrimSpace(l), "[]byte("); ok {
				b, err := strconv.Unquote(strings.TrimSuffix(quoted, ")"))
				if err != nil {
					tb.Fatalf("%s: %v", file, err)
				}
				add([]byte(b))
				break
			}
		}
	}
}
