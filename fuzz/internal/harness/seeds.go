package harness

import (
	"bufio"
	"encoding/hex"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"ferry/frame"
)

// SeedBytesMax keeps the seeds small: the mutator then makes many runs.
const SeedBytesMax = 600

// Vectors calls add with the field of that name, in hex, of each line of a package's golden vectors, but not with those
// that are too long for seeds.
func Vectors(tb testing.TB, file, field string, add func(b []byte)) {
	tb.Helper()
	AllVectors(tb, file, field, func(b []byte) {
		if len(b) <= SeedBytesMax {
			add(b)
		}
	})
}

// AllVectors is Vectors with the long ones.
func AllVectors(tb testing.TB, file, field string, add func(b []byte)) {
	tb.Helper()
	r, err := os.Open(InModule(tb, file))
	if err != nil {
		tb.Fatal(err)
	}
	defer r.Close()
	sc := bufio.NewScanner(r)
	sc.Buffer(nil, 1<<20)
	n := 0
	for sc.Scan() {
		s, ok := stringField(sc.Text(), field)
		if !ok {
			continue
		}
		n++
		add(Unhex(tb, s))
	}
	if err := sc.Err(); err != nil {
		tb.Fatal(err)
	}
	if n == 0 {
		tb.Fatalf("%s has no field %s", file, field)
	}
}

// stringField gives the string of that name in a line of JSON that is one flat object, where it has no escapes, as hex has
// none. encoding/json would be a fifth of the counters of the decoders' binary.
func stringField(line, name string) (string, bool) {
	for {
		_, after, ok := strings.Cut(line, `"`+name+`"`)
		if !ok {
			return "", false
		}
		line = after
		after, key := strings.CutPrefix(strings.TrimLeft(after, " "), ":")
		if after, ok = strings.CutPrefix(strings.TrimLeft(after, " "), `"`); key && ok {
			s, _, ok := strings.Cut(after, `"`)
			return s, ok
		}
	}
}

// Annotated gives the bytes of each block of a file of hex in which everything after the hex of a line is prose, and
// blocks end with a line of dashes or the file's end.
func Annotated(tb testing.TB, file string, add func(b []byte)) {
	tb.Helper()
	text, err := os.ReadFile(InModule(tb, file))
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

// FrameSeeds are frames of messages from the vectors, and the frame that was laid out by hand.
func FrameSeeds(tb testing.TB, add func(b []byte)) {
	Annotated(tb, "frame/testdata/frame.txt", add)
	lim := frame.NetMesh()
	epoch := frame.Epoch(0)
	Vectors(tb, "proto0500/testdata/messages.jsonl", "hex", func(b []byte) {
		framed, err := frame.Append(nil, epoch, b, &lim)
		if err != nil {
			tb.Fatal(err)
		}
		add(framed)
		epoch++
	})
}

// MessageSeeds are the vectors of messages, good and bad, and the extensions that were laid out by hand.
func MessageSeeds(tb testing.TB, add func(b []byte)) {
	Vectors(tb, "proto0500/testdata/messages.jsonl", "hex", add)
	Vectors(tb, "proto0500/testdata/invalid.jsonl", "hex", add)
	Annotated(tb, "proto0500/testdata/extensions.txt", add)
}

// InModule gives the path of a file by its name from the root of the module.
func InModule(tb testing.TB, file string) string {
	tb.Helper()
	root, err := filepath.Abs(".")
	if err != nil {
		tb.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(root, "go.mod")); err == nil {
			return filepath.Join(root, filepath.FromSlash(file))
		}
		up := filepath.Dir(root)
		if up == root {
			tb.Fatal("outside of any module")
		}
		root = up
	}
}

// Unhex decodes hex.
func Unhex(tb testing.TB, s string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// Corpus gives the first bytes of each input that was found for a target and committed.
func Corpus(tb testing.TB, target string, add func(b []byte)) {
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
