package kv

import (
	"bufio"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strconv"
	"unicode/utf8"

	"ferry/daemon"
	"ferry/proto0500"
)

// LogLine is one event as /log has it. Payload, in base64, is the event itself;
// the fields after it say what is in there. Key and Value are text where the
// bytes are UTF-8; otherwise they are null, and KeyBase64 or ValueBase64 has the
// bytes. A delete has no value.
type LogLine struct {
	Seq         proto0500.Seq `json:"seq"`
	Link        string        `json:"link"` // 64 hex digits
	Payload     []byte        `json:"payload"`
	Op          string        `json:"op"`
	Key         *string       `json:"key"`
	Value       *string       `json:"value"`
	KeyBase64   string        `json:"key_base64,omitempty"`
	ValueBase64 string        `json:"value_base64,omitempty"`
}

func newLogLine(e *daemon.Event) (LogLine, error) {
	c, err := Decode(e.Payload)
	if err != nil {
		return LogLine{}, err
	}
	l := LogLine{Seq: e.Seq, Link: hex.EncodeToString(e.Link.Append(nil)), Payload: e.Payload, Op: c.Op.String()}
	l.Key, l.KeyBase64 = textOrBase64(c.Key)
	if c.Op == OpPut {
		l.Value, l.ValueBase64 = textOrBase64(c.Value)
	}
	return l, nil
}

func textOrBase64(b []byte) (text *string, encoded string) {
	if !utf8.Valid(b) {
		return nil, base64.StdEncoding.EncodeToString(b)
	}
	s := string(b)
	return &s, ""
}

// ReadLog reads the lines of a /log stream. It ends after the first error.
func ReadLog(r io.Reader) iter.Seq2[LogLine, error] {
	return func(yield func(LogLine, error) bool) {
		dec := json.NewDecoder(r)
		for n := 1; ; n++ {
			var l LogLine
			err := dec.Decode(&l)
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				yield(LogLine{}, fmt.Errorf("kv: log line %d: %w", n, err))
				return
			}
			if !yield(l, nil) {
				return
			}
		}
	}
}

// logBatchBytes is how much of the log is read in one transaction.
const logBatchBytes = 256 << 10

// serveLog streams from the event asked for to the head of that moment. A
// stream that cannot be finished is cut, so that nobody takes it for the whole.
func (h *handler) serveLog(w http.ResponseWriter, r *http.Request) {
	from, err := parseFrom(r.URL.Query().Get("from"))
	if err != nil {
		httpError(w, http.StatusBadRequest, err.Error())
		return
	}
	view := h.view(r)
	if !view.Authority || view.Store == nil {
		h.elsewhere(w, r, view.Peer)
		return
	}
	pos, err := view.Store.Position()
	if err != nil {
		h.elsewhere(w, r, view.Peer)
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	out := bufio.NewWriterSize(w, 64<<10)
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	for from <= pos.Head.Seq {
		events, err := view.Store.Events(from, logBatchBytes)
		if err != nil || len(events) == 0 {
			h.opts.Log.Warn("log stream cut", "at", from, "err", err)
			panic(http.ErrAbortHandler)
		}
		for i := range events {
			if events[i].Seq > pos.Head.Seq {
				break
			}
			line, err := newLogLine(&events[i])
			if err != nil {
				h.opts.Log.Error("log stream cut", "at", events[i].Seq, "err", err)
				panic(http.ErrAbortHandler)
			}
			if err := enc.Encode(line); err != nil {
				return // the reader is gone
			}
		}
		from = events[len(events)-1].Seq + 1
	}
	_ = out.Flush()
}

// parseFrom: the first event is 1; 0, or nothing, is all of them.
func parseFrom(s string) (proto0500.Seq, error) {
	if s == "" {
		return 1, nil
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("from=%q is not a sequence number", s)
	}
	return proto0500.Seq(max(n, 1)), nil
}
