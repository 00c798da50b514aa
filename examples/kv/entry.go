package kv

import (
	"encoding/binary"
	"fmt"

	"ferry/daemon"
	"ferry/proto0500"
)

// An entry of the log, under the event's sequence number in big endian:
//
//	off size field
//	  0   32  link
//	 32    8  received_at  nanoseconds since 1970
//	 40    …  payload
const entryHeadBytes = proto0500.LinkBytes + 8

// entryWriter lays out the entries of one batch in one piece of memory, as
// bbolt borrows what it is given until the transaction ends.
type entryWriter struct{ buf []byte }

func newEntryWriter(events []daemon.Event) *entryWriter {
	bytes := 0
	for i := range events {
		bytes += 8 + entryHeadBytes + len(events[i].Payload)
	}
	return &entryWriter{buf: make([]byte, 0, bytes)}
}

// next gives the key and value of the entry of e.
func (w *entryWriter) next(e *daemon.Event) (key, value []byte) {
	at := len(w.buf)
	w.buf = binary.BigEndian.AppendUint64(w.buf, uint64(e.Seq))
	w.buf = e.Link.Append(w.buf)
	w.buf = binary.LittleEndian.AppendUint64(w.buf, e.ReceivedAt)
	w.buf = append(w.buf, e.Payload...)
	return w.buf[at : at+8 : at+8], w.buf[at+8 : len(w.buf) : len(w.buf)]
}

// readEntry reads an entry. The payload is borrowed from value.
func readEntry(key, value []byte) (daemon.Event, error) {
	if len(key) != 8 || len(value) < entryHeadBytes {
		return daemon.Event{}, &CorruptError{What: "log", Err: fmt.Errorf("entry with a key of %d and a value of %d bytes", len(key), len(value))}
	}
	seq, link := proto0500.Seq(binary.BigEndian.Uint64(key)), proto0500.LinkFrom(value)
	if link.Sequence != seq {
		return daemon.Event{}, &CorruptError{What: "log", Err: fmt.Errorf("entry %d holds the link of %d", seq, link.Sequence)}
	}
	payload := value[entryHeadBytes:len(value):len(value)]
	return daemon.Event{
		Seq:        seq,
		Link:       link,
		Hash:       link.Hash(payload),
		Payload:    payload,
		ReceivedAt: binary.LittleEndian.Uint64(value[proto0500.LinkBytes:]),
	}, nil
}
