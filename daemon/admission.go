package daemon

import (
	"fmt"
	"sync"

	"github.com/dustin/go-humanize"

	"ferry/proto0500"
)

// admission is how much may be on its way to this node at once: so many daemons,
// so many bytes, and no more than the disk takes. It is asked before a byte of
// state moves, and what it grants is held until the attempt has ended, so that
// two answers never count on the same space.
type admission struct {
	attemptsMax int
	bytesMax    uint64                               // 0: what the disk takes
	disk        func() (free, total uint64, ok bool) // bytes, as of now; ok false: not known here

	mu    sync.Mutex
	rooms map[*room]struct{}
}

// room is what an attempt holds.
type room struct {
	a       *admission
	origin  proto0500.Origin
	bytes   uint64 // of the snapshot, as far as it is known
	written uint64 // of them, which the disk does not count as free any more
	left    bool   // the attempt is over; its files are being removed
}

// diskReserveBytes is left for logs, journals and whatever else lies there.
const diskReserveBytes = 64 << 20

// refusal is why a daemon is not taken. Where it is a matter of this moment the
// code is NotReady, which carries no text on the wire; see steward.refusal.
type refusal struct {
	code proto0500.Code
	text string
	disk bool // for want of room on it
}

func (r *refusal) ofDisk() *refusal { r.disk = true; return r }

func notReady(format string, args ...any) *refusal {
	return &refusal{code: proto0500.CodeNotReady, text: fmt.Sprintf(format, args...)}
}

func never(format string, args ...any) *refusal {
	return &refusal{code: proto0500.CodeStateFailed, text: fmt.Sprintf(format, args...)}
}

// admit gives room for a daemon, or says why not. An attempt of the same daemon
// that is still open here does not count: the new one ends it.
func (a *admission) admit(origin proto0500.Origin, bytes uint64) (*room, *refusal) {
	a.mu.Lock()
	defer a.mu.Unlock()
	attempts := 0
	for r := range a.rooms {
		if r.origin != origin && !r.left {
			attempts++
		}
	}
	if attempts >= a.attemptsMax {
		return nil, notReady("as many daemons are on their way here as it takes at once, %d", attempts)
	}
	if no := a.judge(origin, bytes); no != nil {
		return nil, no
	}
	r := &room{a: a, origin: origin, bytes: bytes}
	if a.rooms == nil {
		a.rooms = make(map[*room]struct{})
	}
	a.rooms[r] = struct{}{}
	return r, nil
}

// judge tells whether so many bytes of a daemon fit beside those of the others.
// The caller holds mu.
func (a *admission) judge(origin proto0500.Origin, bytes uint64) *refusal {
	var others, unwritten, own uint64
	for r := range a.rooms {
		if r.origin == origin {
			own += r.written // an earlier attempt's, which is removed
			continue
		}
		others += r.bytes
		unwritten += r.bytes - min(r.written, r.bytes)
	}
	size := humanize.IBytes
	if a.bytesMax > 0 {
		switch {
		case bytes > a.bytesMax:
			return never("state of %d bytes, this node takes %d at once", bytes, a.bytesMax)
		case others > a.bytesMax-bytes:
			return notReady("%s are on their way here, and %s more are too much: this node takes %s at once",
				size(others), size(bytes), size(a.bytesMax))
		}
	}
	free, total, ok := a.disk()
	if !ok {
		return nil
	}
	free = min(free+own, total)
	free -= min(free, diskReserveBytes)
	switch {
	case bytes > free:
		return never("state of %s, and the disk has room for %s", size(bytes), size(free)).ofDisk()
	case bytes > free-min(free, unwritten):
		return notReady("state of %s, and the disk has room for %s beside what is on its way here",
			size(bytes), size(free-min(free, unwritten))).ofDisk()
	}
	return nil
}

// grow is for a snapshot that turns out larger than was said.
func (r *room) grow(bytes uint64) *refusal {
	r.a.mu.Lock()
	defer r.a.mu.Unlock()
	if bytes <= r.bytes {
		return nil
	}
	if no := r.a.judge(r.origin, bytes); no != nil {
		return no
	}
	r.bytes = bytes
	return nil
}

// wrote says how much of it lies on the disk by now.
func (r *room) wrote(bytes uint64) {
	r.a.mu.Lock()
	defer r.a.mu.Unlock()
	r.written = bytes
}

// leave says that the attempt is over, and release that its files are gone, or
// are the daemon's own. Both may be said twice.
func (r *room) leave() {
	r.a.mu.Lock()
	defer r.a.mu.Unlock()
	r.left = true
}

func (r *room) release() {
	r.a.mu.Lock()
	defer r.a.mu.Unlock()
	delete(r.a.rooms, r)
}
