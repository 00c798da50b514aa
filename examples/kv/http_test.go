package kv

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"ferry/daemon"
	"ferry/proto0500"
)

// fakeNode is a node around a real store: what it answers to writes is set by
// the test.
type fakeNode struct {
	store *Store
	chain *chain

	mu     sync.Mutex
	err    error // instead of applying; nil: apply
	thawed chan struct{}
	absent bool // has nothing of the daemon
}

func newFakeNode(t *testing.T) *fakeNode {
	thawed := make(chan struct{})
	close(thawed)
	return &fakeNode{store: openStore(t, t.TempDir(), Options{}), chain: newChain(), thawed: thawed}
}

func (n *fakeNode) freeze() (thaw func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	ch := make(chan struct{})
	n.thawed = ch
	return func() { close(ch) }
}

func (n *fakeNode) fail(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.err, n.absent = err, err != nil
}

func (n *fakeNode) Write(ctx context.Context, payload []byte) (proto0500.Seq, error) {
	n.mu.Lock()
	thawed := n.thawed
	n.mu.Unlock()
	select {
	case <-thawed:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.err != nil {
		return 0, n.err
	}
	link, err := n.chain.head.Link.Next(n.chain.head.Hash, 0)
	if err != nil {
		return 0, err
	}
	e := daemon.Event{Seq: link.Sequence, Link: link, Hash: link.Hash(payload), Payload: payload}
	if err := n.store.Apply([]daemon.Event{e}); err != nil {
		return 0, err
	}
	n.chain.head = daemon.Head{Seq: e.Seq, Link: e.Link, Hash: e.Hash}
	return e.Seq, nil
}

func (n *fakeNode) View(context.Context) View {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.absent {
		return View{Peer: 7}
	}
	return View{Store: n.store, Authority: true, Epoch: 3}
}

func serve(t *testing.T, b Backend, opts HandlerOptions) *httptest.Server {
	srv := httptest.NewServer(Handler(b, opts))
	t.Cleanup(srv.Close)
	return srv
}

type answered struct {
	status int
	header http.Header
	body   string
	fields map[string]any // of a JSON object
}

// ask sends one request and follows nothing. path is taken as it is.
func ask(t *testing.T, srv *httptest.Server, method, path string, body io.Reader) answered {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, srv.URL+path, body)
	if err != nil {
		t.Fatal(err)
	}
	client := http.Client{Transport: srv.Client().Transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	a := answered{status: resp.StatusCode, header: resp.Header, body: string(b)}
	if resp.Header.Get("Content-Type") == "application/json" {
		if err := json.Unmarshal(b, &a.fields); err != nil {
			t.Fatalf("%s %s: %q is not JSON: %v", method, path, b, err)
		}
	}
	return a
}

func TestHTTPPutGetDelete(t *testing.T) {
	srv := serve(t, newFakeNode(t), HandlerOptions{})
	for i, c := range []struct{ path, key, value string }{
		{"/kv/plain", "plain", "value"},
		{"/kv/a/b/c", "a/b/c", "slashes"},
		{"/kv/a%2Fb%2Fc", "a/b/c", "slashes, escaped"},
		{"/kv/a//b", "a//b", "an empty part"},
		{"/kv/../x/./y", "../x/./y", "dots"},
		{"/kv/%20%00%ff?x=1", " \x00\xff", "\x00\x01\xff"},
		{"/kv/empty", "empty", ""},
		{"/kv/" + strings.Repeat("k", 1024), strings.Repeat("k", 1024), "longest key"},
	} {
		put := ask(t, srv, "PUT", c.path, strings.NewReader(c.value))
		if put.status != 200 || put.fields["seq"] != float64(2*i+1) {
			t.Fatalf("PUT %s: %d %s", c.path, put.status, put.body)
		}
		if get := ask(t, srv, "GET", c.path, nil); get.status != 200 || get.body != c.value {
			t.Errorf("GET %s: %d %q", c.path, get.status, get.body)
		}
		if head := ask(t, srv, "HEAD", c.path, nil); head.status != 200 || head.body != "" {
			t.Errorf("HEAD %s: %d %q", c.path, head.status, head.body)
		}
		if del := ask(t, srv, "DELETE", c.path, nil); del.status != 200 || del.fields["seq"] != float64(2*i+2) {
			t.Errorf("DELETE %s: %d %s", c.path, del.status, del.body)
		}
		if get := ask(t, srv, "GET", c.path, nil); get.status != 404 || get.fields["error"] == "" {
			t.Errorf("GET %s after DELETE: %d %s", c.path, get.status, get.body)
		}
	}
}

func TestHTTPRefuses(t *testing.T) {
	srv := serve(t, newFakeNode(t), HandlerOptions{})
	full := make([]byte, ValueBytesMax)
	unsized := func(b []byte) io.Reader { return io.MultiReader(bytes.NewReader(b)) }
	for _, c := range []struct {
		name, method, path string
		body               io.Reader
		status             int
	}{
		{"no key", "PUT", "/kv/", strings.NewReader("v"), 400},
		{"key too long", "PUT", "/kv/" + strings.Repeat("k", 1025), strings.NewReader("v"), 400},
		{"key too long to get", "GET", "/kv/" + strings.Repeat("k", 1025), nil, 400},
		{"largest value", "PUT", "/kv/k", bytes.NewReader(full), 200},
		{"largest value, chunked", "PUT", "/kv/k", unsized(full), 200},
		{"value too large", "PUT", "/kv/k", bytes.NewReader(append(full, 0)), 413},
		{"value too large, chunked", "PUT", "/kv/k", unsized(append(full, 0)), 413},
		{"method", "POST", "/kv/k", nil, 405},
		{"method on state", "PUT", "/state", nil, 405},
		{"path", "GET", "/kv", nil, 404},
		{"root", "GET", "/", nil, 404},
		{"from", "GET", "/log?from=x", nil, 400},
		{"from below 0", "GET", "/log?from=-1", nil, 400},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := ask(t, srv, c.method, c.path, c.body)
			if a.status != c.status {
				t.Errorf("%d %.200s, want %d", a.status, a.body, c.status)
			}
			if text, _ := a.fields["error"].(string); (text == "") != (c.status == 200) {
				t.Errorf("error %q in %.200s", text, a.body)
			}
		})
	}
}

func TestHTTPLog(t *testing.T) {
	n := newFakeNode(t)
	srv := serve(t, n, HandlerOptions{})
	for i := range 30 {
		body := strings.Repeat("x", i*1000) + "<&>"
		if i == 4 {
			body = "\xff"
		}
		if a := ask(t, srv, "PUT", fmt.Sprintf("/kv/k%d", i), strings.NewReader(body)); a.status != 200 {
			t.Fatal(a.body)
		}
	}
	ask(t, srv, "DELETE", "/kv/k1", nil)
	for _, c := range []struct {
		query string
		first int
	}{{"", 1}, {"?from=0", 1}, {"?from=1", 1}, {"?from=2", 2}, {"?from=31", 31}, {"?from=32", 0}, {"?from=18446744073709551615", 0}} {
		a := ask(t, srv, "GET", "/log"+c.query, nil)
		var got []LogLine
		for l, err := range ReadLog(strings.NewReader(a.body)) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, l)
		}
		if c.first == 0 {
			if a.status != 200 || len(got) != 0 {
				t.Errorf("%s: %d, %d lines", c.query, a.status, len(got))
			}
			continue
		}
		if a.status != 200 || len(got) != 31-c.first+1 || int(got[0].Seq) != c.first {
			t.Fatalf("%s: %d, %d lines from %+v", c.query, a.status, len(got), got)
		}
	}
	a := ask(t, srv, "GET", "/log", nil)
	if strings.Count(a.body, "\n") != 31 {
		t.Errorf("%d lines", strings.Count(a.body, "\n"))
	}
	r, err := CheckLog(seq2[Record](nil), ReadLog(strings.NewReader(a.body)))
	if err != nil || !r.OK() || r.Logged != 31 {
		t.Errorf("%+v, %v", r, err)
	}
	// The shape that others read: exact keys, base64, text where it is text.
	var line map[string]any
	if err := json.Unmarshal([]byte(strings.SplitN(a.body, "\n", 2)[0]), &line); err != nil {
		t.Fatal(err)
	}
	events, err := n.store.Events(1, 1)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"seq": 1.0, "link": hex.EncodeToString(events[0].Link.Append(nil)), "payload": "AQIAazA8Jj4=", "op": "put", "key": "k0", "value": "<&>"}
	if fmt.Sprint(line) != fmt.Sprint(want) {
		t.Errorf("first line %v, want %v", line, want)
	}
	for needle, at := range map[string]string{
		`"value":"<&>"}`:                                "a value that needs no escapes",
		`"value":null,"value_base64":"/w=="`:            "a value that is no text",
		`"op":"delete","key":"k1","value":null}` + "\n": "a delete",
	} {
		if !strings.Contains(a.body, needle) {
			t.Errorf("%s: no %s", at, needle)
		}
	}
}

func TestHTTPState(t *testing.T) {
	n := newFakeNode(t)
	srv := serve(t, n, HandlerOptions{})
	ask(t, srv, "PUT", "/kv/a", strings.NewReader("1"))
	ask(t, srv, "PUT", "/kv/b", strings.NewReader("2"))
	pos := recount(t, n.store)
	want := fmt.Sprintf(`{"authority":true,"seq":2,"head":"%x","epoch":3,"digest":"%016x","keys":2}`+"\n", pos.Head.Link.Append(nil), pos.Digest())
	if a := ask(t, srv, "GET", "/state", nil); a.status != 200 || a.body != want {
		t.Errorf("%d %s, want %s", a.status, a.body, want)
	}
	if a := ask(t, srv, "GET", "/state?recount=1", nil); a.fields["recount"] != a.fields["digest"] || a.fields["recount"] == nil {
		t.Errorf("recount: %s", a.body)
	}
	n.fail(daemon.ErrUnknownDaemon)
	if a := ask(t, srv, "GET", "/state", nil); a.status != 200 || a.body != `{"authority":false,"seq":0,"head":"","epoch":0,"digest":"","keys":0}`+"\n" {
		t.Errorf("at a node without it: %d %s", a.status, a.body)
	}
	n.fail(nil)
	if err := n.store.Close(); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/state", "/state?recount=1"} {
		if a := ask(t, srv, "GET", path, nil); a.status != 200 || a.fields["seq"] != 0.0 {
			t.Errorf("with a store that is gone: %d %s", a.status, a.body)
		}
	}
	if a := ask(t, srv, "GET", "/kv/a", nil); a.status != 503 {
		t.Errorf("GET from a store that is gone: %d %s", a.status, a.body)
	}
}

// A frozen daemon's writes wait and then go through; one that stays frozen is 503.
func TestHTTPParks(t *testing.T) {
	n := newFakeNode(t)
	const park = 50 * time.Millisecond
	srv, patient := serve(t, n, HandlerOptions{ParkMax: park}), serve(t, n, HandlerOptions{})
	thaw := n.freeze()
	start := time.Now()
	a := ask(t, srv, "PUT", "/kv/k", strings.NewReader("v"))
	if a.status != 503 || a.header.Get("Retry-After") == "" || a.fields["error"] == nil || time.Since(start) < park {
		t.Errorf("frozen: %d %s after %v", a.status, a.body, time.Since(start))
	}
	done := make(chan answered)
	go func() { done <- ask(t, patient, "PUT", "/kv/k", strings.NewReader("v")) }()
	select {
	case a := <-done:
		t.Errorf("answered while frozen: %d %s", a.status, a.body)
	case <-time.After(2 * park):
	}
	thaw()
	if a := <-done; a.status != 200 || a.fields["seq"] != 1.0 {
		t.Errorf("thawed: %d %s", a.status, a.body)
	}
}

func TestHTTPElsewhere(t *testing.T) {
	n := newFakeNode(t)
	var hints []proto0500.NodeID
	known := true
	owner := func(_ context.Context, hint proto0500.NodeID) (string, bool) {
		hints = append(hints, hint)
		return "http://other.example:1234", known
	}
	srv := serve(t, n, HandlerOptions{Owner: owner})
	for _, c := range []struct {
		err          error
		method, path string
		hint         proto0500.NodeID
	}{
		{&daemon.MovedError{Target: 9, Epoch: 4}, "PUT", "/kv/a%2Fb?x=1", 9},
		{&daemon.MovedError{Target: 9, Epoch: 4}, "DELETE", "/kv/a//b", 9},
		{daemon.ErrUnknownDaemon, "PUT", "/kv/k", 0},
		{daemon.ErrNotServing, "PUT", "/kv/k", 0},
		{daemon.ErrNoState, "PUT", "/kv/k", 0},
		{daemon.ErrNotServing, "GET", "/kv/k", 7},
		{daemon.ErrNotServing, "GET", "/log?from=3", 7},
	} {
		n.fail(fmt.Errorf("wrapped: %w", c.err))
		known = true
		a := ask(t, srv, c.method, c.path, strings.NewReader("v"))
		if want := "http://other.example:1234" + c.path; a.status != 308 || a.header.Get("Location") != want {
			t.Errorf("%s %s: %d to %q, want %q", c.method, c.path, a.status, a.header.Get("Location"), want)
		}
		if got := hints[len(hints)-1]; got != c.hint {
			t.Errorf("%s %s: hint %d, want %d", c.method, c.path, got, c.hint)
		}
		known = false
		if a := ask(t, srv, c.method, c.path, strings.NewReader("v")); a.status != 503 || a.header.Get("Retry-After") == "" {
			t.Errorf("%s %s, owner unknown: %d %s", c.method, c.path, a.status, a.body)
		}
	}
	n.fail(&daemon.TooLargeError{Bytes: 2, BytesMax: 1})
	if a := ask(t, srv, "PUT", "/kv/k", strings.NewReader("v")); a.status != 413 {
		t.Errorf("event over the host's limit: %d %s", a.status, a.body)
	}
	n.fail(daemon.ErrClosed)
	if a := ask(t, srv, "PUT", "/kv/k", strings.NewReader("v")); a.status != 503 || a.header.Get("Retry-After") == "" {
		t.Errorf("node that is ending: %d %s", a.status, a.body)
	}
	for _, err := range []error{daemon.ErrStopped, errors.New("else")} {
		n.fail(err)
		if a := ask(t, srv, "PUT", "/kv/k", strings.NewReader("v")); a.status != 500 || a.fields["outcome"] != "unknown" {
			t.Errorf("%v: %d %s", err, a.status, a.body)
		}
	}
}

// What any HTTP client that follows redirects does, `curl -L` among them: the
// method and the body arrive.
func TestHTTPRedirectKeepsTheBody(t *testing.T) {
	here, there := newFakeNode(t), newFakeNode(t)
	thereSrv := serve(t, there, HandlerOptions{})
	srv := serve(t, here, HandlerOptions{Owner: func(context.Context, proto0500.NodeID) (string, bool) { return thereSrv.URL, true }})
	here.fail(&daemon.MovedError{Target: 9})
	req, err := http.NewRequestWithContext(t.Context(), "PUT", srv.URL+"/kv/a%2Fb", strings.NewReader("the body"))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != 200 {
		t.Errorf("status %d", resp.StatusCode)
	}
	wantValue(t, there.store, "a/b", "the body")
}

// Bodies that are still being sent count against the budget; a request that
// finds no room is told to come again.
func TestHTTPBodiesAreBounded(t *testing.T) {
	n := newFakeNode(t)
	h := Handler(n, HandlerOptions{BodyBytesMax: ValueBytesMax + 1, ParkMax: 100 * time.Millisecond})
	srv := httptest.NewServer(h)
	defer srv.Close()
	if !h.(*handler).bodies.TryAcquire(ValueBytesMax) {
		t.Fatal("no room at the start")
	}
	if a := ask(t, srv, "PUT", "/kv/k", strings.NewReader("vv")); a.status != 503 {
		t.Errorf("beyond the budget: %d %s", a.status, a.body)
	}
	h.(*handler).bodies.Release(ValueBytesMax)
	if a := ask(t, srv, "PUT", "/kv/k", strings.NewReader("vv")); a.status != 200 {
		t.Errorf("with room again: %d %s", a.status, a.body)
	}
	if !h.(*handler).bodies.TryAcquire(ValueBytesMax + 1) {
		t.Error("budget not given back")
	}
}
