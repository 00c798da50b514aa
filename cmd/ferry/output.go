package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"unicode/utf16"
	"unicode/utf8"
)

// printJSON writes v as one object: on one line for machines, on several for people.
func printJSON(w io.Writer, v any, oneLine bool) error {
	enc := json.NewEncoder(jsonEscaped{w})
	enc.SetEscapeHTML(false)
	if !oneLine {
		enc.SetIndent("", "  ")
	}
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	return nil
}

// jsonEscaped writes JSON, which an encoder gives in one call, with everything
// that a terminal would not show as its escape: it is the same JSON.
type jsonEscaped struct{ w io.Writer }

func (e jsonEscaped) Write(p []byte) (int, error) {
	if bytes.IndexFunc(p, hidden) < 0 {
		return e.w.Write(p)
	}
	var b []byte
	for _, r := range string(p) { // an encoder leaves no bytes that are no text
		if !hidden(r) {
			b = utf8.AppendRune(b, r)
			continue
		}
		for _, unit := range utf16.AppendRune(nil, r) {
			b = fmt.Appendf(b, `\u%04x`, unit)
		}
	}
	if _, err := e.w.Write(b); err != nil {
		return 0, err
	}
	return len(p), nil
}
