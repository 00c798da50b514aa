package harness

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
)

// Target is a fuzz target: the name of its function, what that calls, and how often Replay runs it: less where a run
// costs more. Accepted, where there is one, looks at how often what was accepted.
type Target struct {
	Name     string
	Fuzz     func(f F)
	Runs     int
	Accepted func(t *testing.T, kinds map[string]int)
}

// acceptedLeast is the share of a target's inputs, in per cent, that must get behind the door.
const acceptedLeast = 5

// F is what a target needs of *testing.F, so that the replay can stand in for it.
type F interface {
	testing.TB
	Add(args ...any)
	Fuzz(ff any)
}

var accepted struct {
	mu   sync.Mutex
	runs int            // in which something was accepted
	now  bool           // in this run
	kind map[string]int // what it was
}

// Accept notes that the run under way has got behind the door, as what. In the fuzzer it does nothing.
func Accept(what string) {
	if !replaying {
		return
	}
	accepted.mu.Lock()
	defer accepted.mu.Unlock()
	accepted.now = true
	accepted.kind[what]++
}

var replaying bool

// replayer runs a target with its seeds, and with a number of mutations of them that are the same every time.
type replayer struct {
	*testing.T
	runs  int
	seeds [][]any
}

func (r *replayer) Add(args ...any) {
	own := slices.Clone(args)
	for i, a := range own {
		if b, ok := a.([]byte); ok {
			own[i] = slices.Clone(b)
		}
	}
	r.seeds = append(r.seeds, own)
}

func (r *replayer) Fuzz(ff any) {
	fn := reflect.ValueOf(ff)
	name := fnv.New64a()
	name.Write([]byte(r.Name()))
	m := mutator{rand.New(rand.NewPCG(1, name.Sum64()))}
	accepted.runs, accepted.kind = 0, make(map[string]int)
	replaying = true
	defer func() { replaying = false }()
	r.runs = max(r.runs, len(r.seeds))
	for n := range r.runs {
		args := r.seeds[n%len(r.seeds)]
		if n >= len(r.seeds) {
			args = m.mutate(args, r.seeds[m.IntN(len(r.seeds))])
		}
		in := []reflect.Value{reflect.ValueOf(r.T)}
		for _, a := range args {
			in = append(in, reflect.ValueOf(a))
		}
		accepted.now = false
		fn.Call(in)
		if r.Failed() {
			r.Fatalf("run %d: %#v", n, args)
		}
		if accepted.now {
			accepted.runs++
		}
	}
}

// mutator changes inputs blindly, as the fuzzer does without its coverage.
type mutator struct{ *rand.Rand }

func (m mutator) mutate(args, others []any) []any {
	args = slices.Clone(args)
	for i, a := range args {
		if len(args) > 1 && m.IntN(2) == 0 {
			continue
		}
		switch a := a.(type) {
		case []byte:
			args[i] = m.bytes(a, others[i].([]byte))
		case string:
			args[i] = string(m.bytes([]byte(a), []byte(others[i].(string))))
		case bool:
			args[i] = m.IntN(2) == 0
		case uint8:
			args[i] = uint8(m.Uint32())
		case uint16:
			args[i] = uint16(m.Uint32())
		case uint32:
			args[i] = m.Uint32() >> m.IntN(32)
		case uint64:
			args[i] = m.Uint64() >> m.IntN(64)
		default:
			panic(fmt.Sprintf("no mutation of %T", a))
		}
	}
	return args
}

func (m mutator) bytes(b, other []byte) []byte {
	b = slices.Clone(b)
	for range 1 + m.IntN(3) {
		if len(b) == 0 {
			b = append(b, byte(m.Uint32()))
			continue
		}
		at := m.IntN(len(b))
		switch m.IntN(8) {
		case 0, 1:
			b[at] ^= 1 << m.IntN(8)
		case 2, 3:
			b[at] = byte(m.Uint32())
		case 4:
			b = b[:at]
		case 5:
			b = slices.Delete(b, at, min(len(b), at+1+m.IntN(8)))
		case 6:
			b = slices.Insert(b, at, b[at:min(len(b), at+1+m.IntN(16))]...)
		case 7:
			if len(other) > 0 {
				b = append(b[:at], other[m.IntN(len(other)):]...)
			}
		}
	}
	return b
}

// Replay runs every target with a few thousand inputs, the same every time, and prints how many it accepts: a target
// whose inputs are all refused at the door tests the door alone. It is the whole of a package's TestReplay.
func Replay(t *testing.T, targets []Target) {
	for _, target := range targets {
		t.Run(target.Name, func(t *testing.T) {
			r := &replayer{T: t, runs: target.Runs}
			target.Fuzz(r)
			share := 100 * float64(accepted.runs) / float64(max(r.runs, 1))
			t.Logf("%s: %d executions, %.1f %% accepted", target.Name, r.runs, share)
			if share < acceptedLeast {
				t.Errorf("%.1f %% of the inputs are accepted, want %d %%", share, acceptedLeast)
			}
			if target.Accepted != nil {
				target.Accepted(t, accepted.kind)
			}
		})
	}
}

// Canaries holds each target to failing in Replay when its own fault is in the code under test. It is the whole of a
// package's TestCanaries.
func Canaries(t *testing.T, targets []Target) {
	if Canary() {
		t.Skip("this is the process with the fault")
	}
	for _, target := range targets {
		t.Run(target.Name, func(t *testing.T) {
			child := exec.Command(os.Args[0], "-test.run", "^TestReplay$/^"+target.Name+"$", "-test.timeout", "2m")
			child.Env = append(os.Environ(), canaryEnv+"="+target.Name)
			out, err := child.CombinedOutput()
			if err == nil || !strings.Contains(string(out), "--- FAIL: TestReplay/"+target.Name) ||
				strings.Contains(string(out), "panic:") || strings.Contains(string(out), "are accepted, want") {
				t.Fatalf("with its fault it does not fail as it should: %v\n%s", err, out)
			}
			for l := range strings.Lines(string(out)) {
				if _, why, ok := strings.Cut(l, "_test.go:"); ok {
					t.Logf("found: %.150s", strings.TrimSpace(why))
					break
				}
			}
		})
	}
}

// Listed holds the table to the package's files: a target that it lacks would have neither canary nor share.
func Listed(t *testing.T, targets []Target) {
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for l := range strings.Lines(string(text)) {
			name, _, ok := strings.Cut(strings.TrimPrefix(l, "func "), "(f *testing.F)")
			if !ok || !strings.HasPrefix(l, "func Fuzz") {
				continue
			}
			found++
			if !slices.ContainsFunc(targets, func(t Target) bool { return t.Name == name }) {
				t.Errorf("%s: %s is not in the table", file, name)
			}
		}
	}
	if found != len(targets) {
		t.Errorf("%d targets found, the table has %d", found, len(targets))
	}
}
