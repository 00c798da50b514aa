package daemon

import (
	"strings"
	"sync"
	"testing"

	"ferry/proto0500"
)

const mib = 1 << 20

// TestAdmission: what is granted is held until it is released, and what is not
// says why, and whether to ask again.
func TestAdmission(t *testing.T) {
	disk := func(free, total uint64) func() (uint64, uint64, bool) {
		return func() (uint64, uint64, bool) { return free + diskReserveBytes, total + diskReserveBytes, true }
	}
	unknown := func() (uint64, uint64, bool) { return 0, 0, false }
	type ask struct {
		origin proto0500.Origin
		mib    uint64
		do     func(*room) // with the room that was given; nil: kept
		code   proto0500.Code
		text   string // "": it is given
	}
	wrote := func(n uint64) func(*room) { return func(r *room) { r.wrote(n * mib) } }
	released := (*room).release
	tests := []struct {
		name string
		a    *admission
		asks []ask
	}{
		{"attempts", &admission{attemptsMax: 2, disk: unknown}, []ask{
			{1, 1, nil, 0, ""},
			{2, 1, (*room).leave, 0, ""}, // over: its files do not count as an attempt
			{3, 1, released, 0, ""},
			{4, 1, nil, 0, ""},
			{5, 1, nil, proto0500.CodeNotReady, "as it takes at once, 2"},
			{4, 1, nil, 0, ""}, // its own attempt ends with it
		}},
		{"bytes at once", &admission{attemptsMax: 9, bytesMax: 100 * mib, disk: unknown}, []ask{
			{1, 101, nil, proto0500.CodeStateFailed, "this node takes 104857600 at once"},
			{1, 60, nil, 0, ""},
			{2, 41, nil, proto0500.CodeNotReady, "60 MiB are on their way here, and 41 MiB more are too much"},
			{2, 40, released, 0, ""},
			{1, 100, nil, 0, ""}, // its own earlier attempt does not count
			{2, ^uint64(0) / mib, nil, proto0500.CodeStateFailed, "takes 104857600"},
		}},
		{"disk", &admission{attemptsMax: 9, disk: disk(100*mib, 1000*mib)}, []ask{
			{1, 101, nil, proto0500.CodeStateFailed, "the disk has room for 100 MiB"},
			{1, 60, nil, 0, ""},
			{2, 41, nil, proto0500.CodeNotReady, "room for 40 MiB beside what is on its way"},
			{2, 30, wrote(30), 0, ""}, // the disk says so already
			{3, 41, nil, proto0500.CodeNotReady, "room for 40 MiB beside"},
			{3, 40, nil, 0, ""},
			{2, 31, nil, proto0500.CodeNotReady, "room for 30 MiB beside"}, // its own 30 go
			{2, 30, nil, 0, ""},
		}},
		{"full disk", &admission{attemptsMax: 9, disk: func() (uint64, uint64, bool) { return 0, 1, true }}, []ask{
			{1, 0, nil, 0, ""}, // an unknown size is judged once it is known
			{2, 1, nil, proto0500.CodeStateFailed, "the disk has room for 0 B"},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for i, ask := range tt.asks {
				r, no := tt.a.admit(ask.origin, ask.mib*mib)
				switch {
				case ask.text == "" && no != nil:
					t.Fatalf("ask %d: %v: %s", i, no.code, no.text)
				case ask.text == "":
					if ask.do != nil {
						ask.do(r)
					}
				case no == nil || no.code != ask.code || !strings.Contains(no.text, ask.text):
					t.Fatalf("ask %d: %+v, want %v: %s", i, no, ask.code, ask.text)
				}
			}
		})
	}
}

// TestAdmissionGrows: a snapshot may turn out larger than was said, as long as
// it fits beside the others.
func TestAdmissionGrows(t *testing.T) {
	a := &admission{attemptsMax: 9, bytesMax: 100 * mib, disk: func() (uint64, uint64, bool) { return 0, 0, false }}
	one, _ := a.admit(1, 0)
	two, _ := a.admit(2, 50*mib)
	if no := one.grow(50 * mib); no != nil {
		t.Fatal(no.text)
	}
	if no := one.grow(51 * mib); no == nil || no.code != proto0500.CodeNotReady {
		t.Errorf("%+v", no)
	}
	two.release()
	if no := one.grow(100 * mib); no != nil {
		t.Error(no.text)
	}
}

// TestAdmissionIsExact: of many that ask at once no more are let in than may.
func TestAdmissionIsExact(t *testing.T) {
	a := &admission{attemptsMax: 3, disk: func() (uint64, uint64, bool) { return 0, 0, false }}
	var work sync.WaitGroup
	rooms := make(chan *room, 100)
	for i := range 100 {
		work.Go(func() {
			if r, no := a.admit(proto0500.Origin(i), 1); no == nil {
				rooms <- r
			}
		})
	}
	work.Wait()
	if len(rooms) != 3 || len(a.rooms) != 3 {
		t.Errorf("%d are let in, %d are counted, 3 may", len(rooms), len(a.rooms))
	}
}

func TestDiskFree(t *testing.T) {
	free, total, ok := diskFree(t.TempDir())
	if !ok {
		t.Skip("this system is not asked")
	}
	if total == 0 || free > total {
		t.Errorf("%d free of %d", free, total)
	}
	if _, _, ok := diskFree(t.TempDir() + "/nowhere"); ok {
		t.Error("a directory that is not there has room")
	}
}
