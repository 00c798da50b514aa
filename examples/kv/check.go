package kv

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"

	"github.com/zeebo/xxh3"

	"ferry/daemon"
	"ferry/proto0500"
)

// Report is what a log is worth by the word of those who wrote it.
type Report struct {
	Acked  int // records of acknowledged writes
	Logged int // events in the log

	Lost      int // acknowledged, and nowhere in the log
	Doubled   int // in the log more often than it was written
	Reordered int // in the log, but not under the number it was acknowledged with
	Broken    int // lines that do not follow the line before, or contradict themselves
	// Unacked events have no record: their writer was never answered. They are
	// no fault.
	Unacked int

	Head  daemon.Head // of the log: its last link, and the hash that follows
	First string      // the first fault, in words; empty when there is none
}

// OK says that every acknowledged write is in the log once, under its number, and
// that the chain holds from the first event to the last.
func (r *Report) OK() bool { return r.Lost+r.Doubled+r.Reordered+r.Broken == 0 }

func (r *Report) fault(n *int, by int, format string, args ...any) {
	*n += by
	if r.First == "" {
		r.First = fmt.Sprintf(format, args...)
	}
}

// CheckLog holds a whole log, from event 1 on, against the writers' own records,
// which may come in any order. It uses nothing but these two. Writes are told
// apart by their payload, so no two should write the same (a number in the value
// sees to it); a payload written twice may be in the log twice. An error means
// that one of the two could not be read, and no verdict.
func CheckLog(records iter.Seq2[Record, error], log iter.Seq2[LogLine, error]) (Report, error) {
	var r Report
	type claim struct {
		seq proto0500.Seq
		id  uint64
	}
	var claims []claim
	acked := make(map[uint64]int) // payload → records
	for rec, err := range records {
		if err != nil {
			return r, err
		}
		c := claim{rec.Seq, xxh3.Hash(rec.Payload)}
		claims = append(claims, c)
		acked[c.id]++
	}
	r.Acked = len(claims)

	logged := make(map[uint64]int) // payload → events
	var order []uint64             // event seq is order[seq-1]
	for line, err := range log {
		if err != nil {
			return r, err
		}
		if err := r.follow(&line); err != nil {
			r.fault(&r.Broken, 1, "log line %d: %v", len(order)+1, err)
		}
		id := xxh3.Hash(line.Payload)
		order = append(order, id)
		logged[id]++
	}
	r.Logged = len(order)

	for _, c := range claims {
		switch {
		case logged[c.id] == 0:
			r.fault(&r.Lost, 1, "event %d was acknowledged and is not in the log", c.seq)
		case c.seq == 0 || uint64(c.seq) > uint64(len(order)) || order[c.seq-1] != c.id:
			r.fault(&r.Reordered, 1, "what was acknowledged as event %d has another number in the log", c.seq)
		}
	}
	for i, id := range order {
		n := logged[id]
		if n == 0 {
			continue // counted
		}
		logged[id] = 0
		if acked[id] == 0 {
			r.Unacked++
		}
		if more := n - max(acked[id], 1); more > 0 {
			r.fault(&r.Doubled, more, "event %d is in the log %d times", i+1, n)
		}
	}
	return r, nil
}

// follow says what is wrong with a line, and goes on from it either way, so that
// one fault is counted once.
func (r *Report) follow(line *LogLine) error {
	raw, err := hex.DecodeString(line.Link)
	if err != nil || len(raw) != proto0500.LinkBytes {
		return fmt.Errorf("link %q is not %d hex digits", line.Link, 2*proto0500.LinkBytes)
	}
	link := proto0500.LinkFrom(raw)
	if r.Head == (daemon.Head{}) {
		r.Head = daemon.Genesis(link.OriginHash)
	}
	prev := r.Head
	r.Head = daemon.Head{Seq: link.Sequence, Link: link, Hash: link.Hash(line.Payload)}
	if err := link.Follows(prev.Link, prev.Hash); err != nil {
		return err
	}
	if line.Seq != link.Sequence {
		return fmt.Errorf("seq %d with the link of %d", line.Seq, link.Sequence)
	}
	return line.contradiction()
}

// contradiction says where the fields for reading differ from the payload.
func (l *LogLine) contradiction() error {
	c, err := Decode(l.Payload)
	if err != nil {
		return err
	}
	if l.Op != c.Op.String() {
		return fmt.Errorf("op %q with the payload of a %v", l.Op, c.Op)
	}
	if !saysBytes(l.Key, l.KeyBase64, c.Key) {
		return errors.New("key and payload differ")
	}
	if c.Op == OpDelete && (l.Value != nil || l.ValueBase64 != "") {
		return errors.New("delete with a value")
	}
	if c.Op == OpPut && !saysBytes(l.Value, l.ValueBase64, c.Value) {
		return errors.New("value and payload differ")
	}
	return nil
}

func saysBytes(text *string, encoded string, want []byte) bool {
	if text != nil {
		return encoded == "" && *text == string(want)
	}
	b, err := base64.StdEncoding.DecodeString(encoded)
	return err == nil && string(b) == string(want)
}
