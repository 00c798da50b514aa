// Package jsonform writes messages as JSON for people and for test vectors, and reads them back:
//
//	{"message":"TakeSnapshot","fields":{"daemon_origin":"0","target_node":"11123019285159506082"}}
//
// Field names are those of the layout tables. A u64 is a decimal string, as JSON numbers lose digits; smaller integers
// and flags are numbers; bytes are lower-case hex; texts are strings. Reading is strict: a member that is missing,
// unknown or twice, and a value out of range, is an error that names it.
package jsonform

import (
	"fmt"
	"reflect"
	"strings"
	"unicode"

	"ferry/proto0500"
)

// messages has the type of every message, by the name of its kind.
var messages = func() map[string]reflect.Type {
	types := make(map[string]reflect.Type)
	for _, m := range []proto0500.Message{
		proto0500.TakeSnapshot{}, proto0500.SnapshotReady{}, proto0500.RestoreComplete{}, proto0500.ReplayComplete{},
		proto0500.CutoverNotify{}, proto0500.CleanupComplete{}, proto0500.MigrationFailed{}, proto0500.BufferedEvents{},
		proto0500.ActivateTarget{}, proto0500.ActivateAck{},
		proto0500.Hello{}, proto0500.Begin{}, proto0500.Prepare{}, proto0500.Prepared{}, proto0500.Transfer{},
		proto0500.TransferStatus{}, proto0500.Seal{}, proto0500.Ack{}, proto0500.Query{}, proto0500.Report{},
		proto0500.Release{}, proto0500.Progress{}, proto0500.Rejected{},
		proto0500.Force{}, proto0500.Chunk{}, proto0500.Have{}, proto0500.Pace{}, proto0500.Recipient{},
	} {
		types[m.Kind().String()] = reflect.TypeOf(m)
	}
	return types
}()

// FieldError says which member of the JSON is wrong, or which field of a message cannot be written.
type FieldError struct {
	Field string // a path: "fields.events[3].link.sequence"
	Err   error
}

func (e *FieldError) Error() string { return fmt.Sprintf("%s: %v", e.Field, e.Err) }

func (e *FieldError) Unwrap() error { return e.Err }

// wireName is a field's name in the layout tables. DaemonKind and Refused are kind there; in Go that name is a method.
func wireName(goName string) string {
	switch goName {
	case "DaemonKind", "Refused":
		return "kind"
	}
	var b strings.Builder
	runes := []rune(goName)
	for i, r := range runes {
		startsWord := i > 0 && unicode.IsUpper(r) && (unicode.IsLower(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1]))
		if startsWord {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}
