package migratetest

import (
	"maps"
	"slices"
	"sync"
	"testing"

	"ferry/daemon"
)

type base struct{ max int }

type node struct {
	next *node
	n    int
}

type subject struct {
	daemon.Daemon // nil
	base
	mu    sync.Mutex
	env   daemon.Env
	f     func()
	users map[string]*node
	list  []uint16
	raw   []byte
	ring  *node
}

// What is looked at: values, wherever they are; not functions, locks, the environment; and a ring ends.
func TestFields(t *testing.T) {
	ring := &node{n: 1}
	ring.next = &node{n: 2, next: ring}
	s := &subject{
		base: base{7}, env: daemon.Env{Name: "x"}, f: func() {}, users: map[string]*node{"a": {n: 5}},
		list: []uint16{3}, raw: []byte("r"), ring: ring,
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	want := map[string]string{
		"max": "7", "len(users)": "1", `users["a"].n`: "5", `users["a"].next`: "nil", "len(list)": "1", "list[0]": "3",
		"raw": `"r"`, "ring.n": "1", "ring.next.n": "2",
	}
	got := fieldsOf(s)
	for _, path := range slices.Sorted(maps.Keys(want)) {
		if got[path] != want[path] {
			t.Errorf("%s is %s, want %s", path, got[path], want[path])
		}
		delete(got, path)
	}
	if len(got) > 0 {
		t.Errorf("and also %v", got)
	}
}

// Nil and empty are the same, and what is ignored is, with all that lies in it.
func TestFieldsThatDiffer(t *testing.T) {
	k := newKit(daemon.Kind{}, "", Options{Ignore: []string{"users"}})
	a := &subject{users: map[string]*node{"a": {n: 5}}, list: []uint16{}, raw: []byte{}}
	b := &subject{base: base{1}}
	d := differing(k.quiet(fieldsOf(a)), k.quiet(fieldsOf(b)))
	if len(d) != 1 || d[0] != (fieldDiff{"max", "0", "1"}) {
		t.Errorf("%v differ", d)
	}
}
