package jsonform

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"testing"

	"ferry/frame"
	"ferry/proto0500"
)

// TestEveryKindHasAForm, under the name of its kind.
func TestEveryKindHasAForm(t *testing.T) {
	lim := frame.Default()
	for d := range 256 {
		_, err := proto0500.Decode([]byte{byte(d)}, &lim)
		name := proto0500.Kind(d).String()
		typ, ok := messages[name]
		if known := !errors.Is(err, frame.ErrUnknown); ok != known || ok && typ.Name() != name {
			t.Errorf("%s: known %v, form %v", name, known, ok)
		}
	}
}

// TestVectors: what is read from a golden vector is written as it stands there. (proto0500 holds the forms against the
// bytes, and those of our extensions.)
func TestVectors(t *testing.T) {
	f, err := os.Open("../testdata/messages.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	n := 0
	sc := bufio.NewScanner(f)
	sc.Buffer(nil, 1<<20)
	for ; sc.Scan(); n++ {
		var v struct {
			Name    string
			Message string
			Fields  json.RawMessage
		}
		if err := json.Unmarshal(sc.Bytes(), &v); err != nil {
			t.Fatal(err)
		}
		want := []byte(`{"message":"` + v.Message + `","fields":` + string(v.Fields) + `}`)
		m, err := Unmarshal(want)
		if err != nil {
			t.Fatalf("%s: %v", v.Name, err)
		}
		got, err := Marshal(m)
		if err != nil {
			t.Fatalf("%s: %v", v.Name, err)
		}
		// Escapes in a text may be written otherwise; all else may not.
		if !bytes.Equal(got, want) && v.Message != "MigrationFailed" {
			t.Errorf("%s: written as %s, not %s", v.Name, got, want)
		}
		var gotAny, wantAny any
		if json.Unmarshal(got, &gotAny) != nil || json.Unmarshal(want, &wantAny) != nil || !reflect.DeepEqual(gotAny, wantAny) {
			t.Errorf("%s: written as %s, not %s", v.Name, got, want)
		}
	}
	if err := sc.Err(); err != nil || n != 217 {
		t.Errorf("%d vectors, %v", n, err)
	}
}

func TestUnmarshalRefuses(t *testing.T) {
	take := func(fields string) string { return `{"message":"TakeSnapshot","fields":` + fields + `}` }
	failed := func(reason string) string {
		return `{"message":"MigrationFailed","fields":{"daemon_origin":"1","reason":` + reason + `}}`
	}
	const link = `{"origin_hash":"1","horizon_encoded":"0","sequence":"1","parent_hash":"0"}`
	events := func(event string) string {
		return `{"message":"BufferedEvents","fields":{"daemon_origin":"1","events":[` +
			`{"link":` + link + `,"payload":"","received_at":"1"},` + event + `]}}`
	}
	chunk := func(index, bytes string) string {
		return `{"message":"SnapshotReady","fields":{"daemon_origin":"1","seq_through":"1","chunk_index":` + index +
			`,"total_chunks":1,"snapshot_bytes":` + bytes + `}}`
	}
	transfer := func(digest, final string) string {
		return `{"message":"Transfer","fields":{"daemon_origin":"1","seq_through":"1","head_hash":"1","size":"1",` +
			`"state_size":"1","chunk_size":1,"digest":` + digest + `,"final":` + final + `}}`
	}
	have := func(digests string) string {
		return `{"message":"Have","fields":{"daemon_origin":"1","seq_through":"1","digests":` + digests + `}}`
	}
	const digest = `"000102030405060708090a0b0c0d0e0f"`
	for _, good := range []string{
		take(`{"daemon_origin":"18446744073709551615","target_node":"0"}`),
		` { "fields" : {"target_node":"0", "daemon_origin":"1"} , "message" : "TakeSnapshot" } `,
		failed(`{"code":0,"variant":"NotReady"}`),
		failed(`{"code":3,"variant":"StateFailed","message":"\ufffd�"}`),
		failed(`{"code":6,"variant":"NotReadyTimeout","attempts":255}`),
		events(`{"link":` + link + `,"payload":"00ff","received_at":"1"}`),
		chunk(`4294967295`, `""`),
		transfer(digest, `1`),
		have(`[]`),
		have(`[` + digest + `,` + digest + `]`),
	} {
		if _, err := Unmarshal([]byte(good)); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, c := range []struct {
		json  string
		field string
		err   error
	}{
		{``, "top", ErrSyntax},
		{`[]`, "top", ErrSyntax},
		{`{"message":"TakeSnapshot"`, "top", ErrSyntax},
		{take(`{"daemon_origin":"1","target_node":"2"}`) + `{}`, "top", ErrSyntax},
		{`{"fields":{}}`, "message", ErrMissing},
		{`{"message":5,"fields":{}}`, "message", ErrSyntax},
		{`{"message":"Unheard","fields":{}}`, "message", frame.ErrUnknown},
		{`{"message":"TakeSnapshot"}`, "fields", ErrMissing},
		{take(`[]`), "fields", ErrSyntax},
		{take(`{"daemon_origin":"1"}`), "fields.target_node", ErrMissing},
		{take(`{"daemon_origin":"1","target_node":"2","Target_node":"2"}`), "fields.Target_node", ErrExtra},
		{take(`{"daemon_origin":"1","target_node":"2","target_node":"2"}`), "fields.target_node", ErrTwice},
		{`{"message":"Query","fields":{"daemon_origin":"1"},"name":"x"}`, "name", ErrExtra},
		{take(`{"daemon_origin":1,"target_node":"2"}`), "fields.daemon_origin", ErrSyntax},
		{take(`{"daemon_origin":null,"target_node":"2"}`), "fields.daemon_origin", ErrSyntax},
		{take(`{"daemon_origin":"18446744073709551616","target_node":"2"}`), "fields.daemon_origin", frame.ErrValue},
		{take(`{"daemon_origin":"-1","target_node":"2"}`), "fields.daemon_origin", frame.ErrValue},
		{take(`{"daemon_origin":"01","target_node":"2"}`), "fields.daemon_origin", frame.ErrValue},
		{take(`{"daemon_origin":"","target_node":"2"}`), "fields.daemon_origin", frame.ErrValue},
		{chunk(`4294967296`, `""`), "fields.chunk_index", frame.ErrValue},
		{chunk(`1.0`, `""`), "fields.chunk_index", frame.ErrValue},
		{chunk(`"1"`, `""`), "fields.chunk_index", frame.ErrValue},
		{chunk(`1`, `"0"`), "fields.snapshot_bytes", frame.ErrValue},
		{chunk(`1`, `"AB"`), "fields.snapshot_bytes", frame.ErrValue},
		{chunk(`1`, `null`), "fields.snapshot_bytes", ErrSyntax},
		{failed(`{"code":7,"variant":"code(7)"}`), "fields.reason.code", frame.ErrUnknown},
		{failed(`{"code":65536,"variant":"NotReady"}`), "fields.reason.code", frame.ErrValue},
		{failed(`{"code":0,"variant":"StateFailed"}`), "fields.reason.variant", frame.ErrValue},
		{failed(`{"code":0,"variant":"NotReady","message":""}`), "fields.reason.message", ErrExtra},
		{failed(`{"code":3,"variant":"StateFailed"}`), "fields.reason.message", ErrMissing},
		{failed(`{"code":3,"variant":"StateFailed","message":"\ud800"}`), "fields.reason.message", frame.ErrText},
		{failed("{\"code\":3,\"variant\":\"StateFailed\",\"message\":\"\xff\"}"), "fields.reason.message", frame.ErrText},
		{failed(`{"code":6,"variant":"NotReadyTimeout","attempts":256}`), "fields.reason.attempts", frame.ErrValue},
		{events(`{"link":` + link + `,"payload":"","received_at":1}`), "fields.events[1].received_at", ErrSyntax},
		{events(`{"link":{"origin_hash":"1"},"payload":"","received_at":"1"}`), "fields.events[1].link.horizon_encoded", ErrMissing},
		{events(`null`), "fields.events[1]", ErrSyntax},
		{`{"message":"BufferedEvents","fields":{"daemon_origin":"1","events":null}}`, "fields.events", ErrSyntax},
		{transfer(`"00"`, `1`), "fields.digest", frame.ErrValue},
		{transfer(digest, `2`), "fields.final", frame.ErrValue},
		{transfer(digest, `true`), "fields.final", frame.ErrValue},
		{have(`[` + digest + `,"00"]`), "fields.digests[1]", frame.ErrValue},
		{have(`[5]`), "fields.digests[0]", ErrSyntax},
		{have(`null`), "fields.digests", ErrSyntax},
	} {
		m, err := Unmarshal([]byte(c.json))
		if fe, ok := errors.AsType[*FieldError](err); !ok || fe.Field != c.field || !errors.Is(err, c.err) || m != nil {
			t.Errorf("%s: %v", c.json, err)
		}
	}
}

func TestMarshalRefuses(t *testing.T) {
	for field, m := range map[string]proto0500.Message{
		"fields.reason.code":    proto0500.MigrationFailed{Reason: proto0500.Reason{Code: 7}},
		"fields.reason.message": proto0500.MigrationFailed{Reason: proto0500.NewReason(proto0500.CodeStateFailed, "\xff")},
		"fields.name":           proto0500.Prepare{Name: proto0500.Text("\xff")},
	} {
		if fe, ok := errors.AsType[*FieldError](errOf(Marshal(m))); !ok || fe.Field != field {
			t.Errorf("%s: %v", field, fe)
		}
	}
}

func errOf(_ []byte, err error) error { return err }

// FuzzUnmarshal: what is read has a form that reads back to it.
func FuzzUnmarshal(f *testing.F) {
	f.Add([]byte(`{"message":"TakeSnapshot","fields":{"daemon_origin":"0","target_node":"1"}}`))
	f.Add([]byte(`{"message":"MigrationFailed","fields":{"daemon_origin":"0","reason":{"code":3,"variant":"StateFailed","message":"\u0000é"}}}`))
	f.Add([]byte(`{"message":"Progress","fields":{"daemon_origin":"0","counters":[{"counter":1,"value":"5"}]}}`))
	f.Add([]byte(`{"message":"Have","fields":{"daemon_origin":"0","seq_through":"1","digests":["000102030405060708090a0b0c0d0e0f"]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := Unmarshal(data)
		if err != nil {
			return
		}
		out, err := Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Unmarshal(out)
		if err != nil {
			t.Fatalf("%s: %v", out, err)
		}
		if out2, err := Marshal(again); err != nil || !bytes.Equal(out, out2) {
			t.Fatalf("%s, then %s, %v", out, out2, err)
		}
	})
}
