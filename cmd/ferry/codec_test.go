package main

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ferry/frame"
	"ferry/proto0500"
	"ferry/proto0500/jsonform"
)

type messageVector struct {
	Name    string          `json:"name"`
	Message string          `json:"message"`
	Hex     string          `json:"hex"`
	Fields  json.RawMessage `json:"fields"`
	Verdict string          `json:"crate_verdict"`
	Reenc   string          `json:"reencoded"`
}

func (v messageVector) json() string {
	return fmt.Sprintf(`{"message":%q,"fields":%s}`, v.Message, v.Fields)
}

func lines[T any](all []T, line func(T) string) string {
	var b strings.Builder
	for _, v := range all {
		b.WriteString(line(v))
		b.WriteByte('\n')
	}
	return b.String()
}

func TestDecodeVectors(t *testing.T) {
	all := vectors[messageVector](t, messageVectors, "messages.jsonl")
	for _, flags := range [][]string{nil, {"--ext"}} {
		r := ferry(t, lines(all, func(v messageVector) string { return v.Hex }), append([]string{"decode"}, flags...)...)
		if r.code != exitDone || r.stderr != "" {
			t.Errorf("exit %d, %q", r.code, r.stderr)
		}
		for i, line := range splitLines(t, r.stdout, len(all)) {
			if diff := cmp.Diff(parse(t, all[i].json()), parse(t, line)); diff != "" {
				t.Errorf("%s: %s", all[i].Name, diff)
			}
		}
	}
}

func TestEncodeVectors(t *testing.T) {
	all := vectors[messageVector](t, messageVectors, "messages.jsonl")
	whole := func(v messageVector) string {
		text, err := json.Marshal(map[string]any{"name": v.Name, "message": v.Message, "hex": v.Hex, "fields": v.Fields})
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	for name, form := range map[string]func(messageVector) string{"as decode writes it": messageVector.json, "as the vectors have it": whole} {
		t.Run(name, func(t *testing.T) {
			r := ferry(t, lines(all, form), "encode")
			if r.code != exitDone || r.stderr != "" {
				t.Errorf("exit %d, %q", r.code, r.stderr)
			}
			for i, line := range splitLines(t, r.stdout, len(all)) {
				if line != all[i].Hex {
					t.Errorf("%s: got %.200s, want %.200s", all[i].Name, line, all[i].Hex)
				}
			}
		})
	}
}

// What the crate refuses is refused. What it accepts is accepted and encodes to what it writes, but for bytes after
// the message, which we refuse.
func TestDecodeInvalidVectors(t *testing.T) {
	all := vectors[messageVector](t, messageVectors, "invalid.jsonl")
	r := ferry(t, lines(all, func(v messageVector) string { return v.Hex }), "decode")
	if r.code != exitFailed || strings.Count(r.stderr, "\n") != 1 {
		t.Errorf("exit %d, %q", r.code, r.stderr)
	}
	var good []messageVector
	var goodJSON []string
	for i, line := range splitLines(t, r.stdout, len(all)) {
		v := all[i]
		kind := badLine(t, line)
		switch {
		case kind == "" && v.Verdict == "accepted":
			good, goodJSON = append(good, v), append(goodJSON, line)
		case kind != "" && v.Verdict == "error":
		case kind == "trailing" && v.Verdict == "accepted" && len(v.Reenc) < len(v.Hex):
		default:
			t.Errorf("%s: the crate says %s, we: %.200s", v.Name, v.Verdict, line)
		}
	}
	r = ferry(t, lines(goodJSON, func(s string) string { return s }), "encode")
	if r.code != exitDone {
		t.Errorf("encode what was decoded: exit %d, %s", r.code, r.stderr)
	}
	for i, line := range splitLines(t, r.stdout, len(good)) {
		if line != good[i].Reenc {
			t.Errorf("%s: got %.200s, want %.200s", good[i].Name, line, good[i].Reenc)
		}
	}
}

// badLine checks that an answer which is an error has the four members and gives its kind; "" for a good answer.
func badLine(t *testing.T, line string) (kind string) {
	t.Helper()
	object, ok := parse(t, line).(map[string]any)
	if !ok {
		t.Fatalf("not an object: %.200s", line)
	}
	if _, bad := object["error"]; !bad {
		return ""
	}
	var names []string
	for name := range object {
		names = append(names, name)
	}
	slices.Sort(names)
	if diff := cmp.Diff([]string{"error", "field", "kind", "offset"}, names); diff != "" {
		t.Errorf("%s: %s", line, diff)
	}
	kind, _ = object["kind"].(string)
	if text, _ := object["error"].(string); kind == "" || kind == "other" || text == "" {
		t.Errorf("an error that does not say what: %s", line)
	}
	return kind
}

func TestBadLines(t *testing.T) {
	const cleanup = `"message":"CleanupComplete"`
	for _, c := range []struct {
		name   string
		args   string
		in     string
		kind   string
		field  string
		offset string
	}{
		{"empty message", "decode", "", "truncated", "discriminant", "0"},
		{"cut in a field", "decode", "0501000000", "truncated", "daemon_origin", "1"},
		{"byte after the end", "decode", "05010000000000000000", "trailing", "end", "9"},
		{"unknown message", "decode", "0a", "unknown", "discriminant", "0"},
		{"chunk over the limit", "decode", "01" + strings.Repeat("00", 20) + "01000000" + "591b0000", "limit", "len", "25"},
		{"text is not UTF-8", "decode", "06" + strings.Repeat("00", 8) + "0300" + "0100" + "ff", "text", "message", "13"},
		{"extension without --ext", "decode", "88" + strings.Repeat("00", 8), "unknown", "discriminant", "0"},
		{"not hex", "decode", "050x", "hex", "hex", "1"},
		{"spaces", "decode", "05 00", "hex", "hex", "1"},
		{"half a byte", "decode", "050", "hex", "hex", "1"},
		{"frame cut in the header", "decode --frame", "0005", "truncated", "header", "2"},
		{"other subprotocol", "decode --frame", "0105" + strings.Repeat("00", 22), "subprotocol", "subprotocol", "0"},
		{"empty JSON", "encode", "", "json", "json", "0"},
		{"not JSON", "encode", "{" + cleanup + ",x}", "json", "json", "29"},
		{"not an object", "encode", "[]", "json", "json", "1"},
		{"two objects", "encode", `{"message":"x","fields":{}} {}`, "json", "json", "29"},
		{"cut JSON", "encode", "{" + cleanup, "json", "json", "28"},
		{"no message", "encode", `{"fields":{}}`, "missing", "message", "null"},
		{"no fields", "encode", "{" + cleanup + "}", "missing", "fields", "null"},
		{"message twice", "encode", "{" + cleanup + "," + cleanup + `,"fields":{}}`, "twice", "message", "null"},
		{"member too many", "encode", "{" + cleanup + `,"fields":{"daemon_origin":"1"},"more":1}`, "extra", "more", "null"},
		{"epoch without --frame", "encode", "{" + cleanup + `,"epoch":"1","fields":{"daemon_origin":"1"}}`, "extra", "epoch", "null"},
		{"unknown name", "encode", `{"message":"Cleanup","fields":{}}`, "unknown", "message", "null"},
		{"field missing", "encode", "{" + cleanup + `,"fields":{}}`, "missing", "fields.daemon_origin", "null"},
		{"field too many", "encode", "{" + cleanup + `,"fields":{"daemon_origin":"1","x":1}}`, "extra", "fields.x", "null"},
		{"field out of range", "encode", "{" + cleanup + `,"fields":{"daemon_origin":"18446744073709551616"}}`, "value", "fields.daemon_origin", "null"},
		{"number for a string", "encode", "{" + cleanup + `,"fields":{"daemon_origin":1}}`, "json", "fields.daemon_origin", "null"},
		{"limit", "encode", `{"message":"SnapshotReady","fields":{"daemon_origin":"1","seq_through":"1","chunk_index":0,"total_chunks":700001,"snapshot_bytes":""}}`,
			"limit", "total_chunks", "null"},
		{"our own without --ext", "encode", `{"message":"Query","fields":{"daemon_origin":"0"}}`, "unknown", "message", "null"},
		{"frame without epoch", "encode --frame", "{" + cleanup + `,"fields":{"daemon_origin":"1"}}`, "missing", "epoch", "null"},
		{"epoch is a number", "encode --frame", "{" + cleanup + `,"epoch":1,"fields":{"daemon_origin":"1"}}`, "value", "epoch", "null"},
		{"epoch is negative", "encode --frame", "{" + cleanup + `,"epoch":"-1","fields":{"daemon_origin":"1"}}`, "value", "epoch", "null"},
	} {
		t.Run(c.name, func(t *testing.T) {
			// The bad line does not harm the one after it.
			good := "050100000000000000"
			want := "{" + cleanup + `,"fields":{"daemon_origin":"1"}}`
			if strings.HasPrefix(c.args, "encode") {
				good, want = want, good
			}
			if strings.Contains(c.args, "--frame") {
				good, want = c.in, ""
			}
			r := ferry(t, c.in+"\n"+good+"\n", strings.Fields(c.args)...)
			if r.code != exitFailed {
				t.Errorf("exit %d", r.code)
			}
			out := splitLines(t, r.stdout, 2)
			object, _ := parse(t, out[0]).(map[string]any)
			offset, err := json.Marshal(object["offset"])
			if err != nil {
				t.Fatal(err)
			}
			if badLine(t, out[0]) != c.kind || object["field"] != c.field || string(offset) != c.offset {
				t.Errorf("%s\nwant kind %s field %s offset %s", out[0], c.kind, c.field, c.offset)
			}
			if want != "" && out[1] != want {
				t.Errorf("the line after it: %s", out[1])
			}
		})
	}
}

// Frames, and our own messages, go round; a changed byte anywhere in a frame is noticed.
func TestFramesGoRound(t *testing.T) {
	lim := frame.NetMesh()
	messages := []proto0500.Message{
		proto0500.CleanupComplete{DaemonOrigin: 1},
		proto0500.Query{DaemonOrigin: 0},
		proto0500.Hello{Version: 1, LanesMax: 4},
	}
	var in, want strings.Builder
	for i, m := range messages {
		raw, err := m.Append(nil, &lim)
		if err != nil {
			t.Fatal(err)
		}
		epoch := frame.Epoch(1<<63 + uint64(i))
		whole, err := frame.Append(nil, epoch, raw, &lim)
		if err != nil {
			t.Fatal(err)
		}
		text, err := jsonform.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&in, "%x\n", whole)
		fmt.Fprintf(&want, "{\"epoch\":\"%d\",%s\n", uint64(epoch), text[1:])
	}
	decoded := ferry(t, in.String(), "decode", "--frame", "--ext")
	if decoded.code != exitDone || decoded.stdout != want.String() {
		t.Errorf("exit %d\ngot  %s\nwant %s", decoded.code, decoded.stdout, want.String())
	}
	encoded := ferry(t, decoded.stdout, "encode", "--frame", "--ext")
	if encoded.code != exitDone || encoded.stdout != in.String() {
		t.Errorf("exit %d\ngot  %s\nwant %s", encoded.code, encoded.stdout, in.String())
	}
	if r := ferry(t, in.String(), "decode", "--frame"); r.code != exitFailed || strings.Count(r.stdout, `"kind":"unknown"`) != 2 {
		t.Errorf("without --ext: exit %d\n%s", r.code, r.stdout)
	}

	whole, err := hex.DecodeString(strings.SplitN(in.String(), "\n", 2)[0])
	if err != nil {
		t.Fatal(err)
	}
	var changed strings.Builder
	for i := range whole {
		whole[i] ^= 0x40
		fmt.Fprintf(&changed, "%x\n", whole)
		whole[i] ^= 0x40
		fmt.Fprintf(&changed, "%x\n", whole[:i])
	}
	fmt.Fprintf(&changed, "%x00\n", whole)
	r := ferry(t, changed.String(), "decode", "--frame", "--ext")
	for _, line := range splitLines(t, r.stdout, 2*len(whole)+1) {
		if badLine(t, line) == "" {
			t.Errorf("accepted: %s", line)
		}
	}
}

// The offset of an error in a frame's message counts from the begin of the line.
func TestFrameErrorOffset(t *testing.T) {
	lim := frame.NetMesh()
	whole, err := frame.Append(nil, 1, []byte{5, 1, 2}, &lim)
	if err != nil {
		t.Fatal(err)
	}
	r := ferry(t, hex.EncodeToString(whole), "decode", "--frame")
	object, _ := parse(t, r.stdout).(map[string]any)
	if object["field"] != "daemon_origin" || object["offset"] != float64(frame.HeaderBytes+1) {
		t.Error(r.stdout)
	}
}

// One line of tens of megabytes each way.
func TestLongLines(t *testing.T) {
	const events = 400
	payload := make([]byte, 7_000)
	list := make([]proto0500.Event, events)
	for i := range list {
		list[i].Link.Sequence = proto0500.Seq(i)
		list[i].Payload = payload
	}
	lim := frame.NetMesh()
	raw, err := proto0500.BufferedEvents{DaemonOrigin: 7, Events: proto0500.EventsOf(list...)}.Append(nil, &lim)
	if err != nil {
		t.Fatal(err)
	}
	text := hex.EncodeToString(raw) + "\n"
	if len(text) < 5<<20 {
		t.Fatalf("only %d bytes", len(text))
	}
	decoded := ferry(t, text+"05\n", "decode")
	if decoded.code != exitFailed {
		t.Fatalf("exit %d: %.200s", decoded.code, decoded.stdout)
	}
	out := splitLines(t, decoded.stdout, 2)
	encoded := ferry(t, out[0]+"\n", "encode")
	if encoded.code != exitDone || encoded.stdout != text {
		t.Errorf("exit %d, %d bytes, want %d", encoded.code, len(encoded.stdout), len(text))
	}
}
