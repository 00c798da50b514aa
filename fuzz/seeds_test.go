package fuzz

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// seedBytesMax keeps the seeds small: the mutator then makes many runs.
const seedBytesMax = 600

// vectors calls add with the field of that name, in hex, of each line of a package's golden vectors.
func vectors(f *testing.F, file, field string, add func(b []byte)) {
	f.Helper()
	r, err := os.Open(filepath.Join("..", filepath.FromSlash(file)))
	if err != nil {
		f.Fatal(err)
	}
	defer r.Close()
	sc := bufio.NewScanner(r)
	sc.Buffer(nil, 1<<20)
	n := 0
	for sc.Scan() {
		var v map[string]json.RawMessage
		if err := json.Unmarshal(sc.Bytes(), &v); err != nil {
			f.Fatalf("%s: %v", file, err)
		}
		if v[field] == nil {
			continue
		}
		var s string
		if err := json.Unmarshal(v[field], &s); err != nil {
			f.Fatalf("%s: %v", file, err)
		}
		n++
		if b := unhex(f, s); len(b) <= seedBytesMax {
			add(b)
		}
	}
	if err := sc.Err(); err != nil {
		f.Fatal(err)
	}
	if n == 0 {
		f.Fatalf("%s has no field %s", file, field)
	}
}

// annotated gives the bytes of each block of a file of hex in which everything after the hex of a line is prose, and
// blocks end with a line of dashes or the file's end.
func annotated(f *testing.F, file string, add func(b []byte)) {
	f.Helper()
	text, err := os.ReadFile(filepath.Join("..", filepath.FromSlash(file)))
	if err != nil {
		f.Fatal(err)
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
		f.Fatalf("%s has no bytes", file)
	}
}

func unhex(f *testing.F, s string) []byte {
	f.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		f.Fatal(err)
	}
	return b
}
