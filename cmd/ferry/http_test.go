package main

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// ask sends one request and follows nothing.
func ask(t *testing.T, method, url, body string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	mustDo(t, err)
	client := &http.Client{Timeout: patience, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	mustDo(t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	mustDo(t, err)
	return resp, string(b)
}

// A node without the daemon sends its clients on: the same method, path and
// body, at a path that names the daemon.
func TestRedirects(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "a", "b", "o")
	w.node("a", "--daemon", "or ders/1") // a name that must be escaped
	w.node("b")
	named := w.url("a") + "/daemons/or%20ders%2F1"
	for _, path := range []string{"/kv/a%2Fb//c?x=1", "/log?from=3"} {
		for _, base := range []string{"", "/daemons/or%20ders%2F1"} {
			resp, body := ask(t, http.MethodGet, w.url("b")+base+path, "")
			if got := resp.Header.Get("Location"); resp.StatusCode != http.StatusPermanentRedirect || got != named+path {
				t.Errorf("%s: %s to %q, %s", base+path, resp.Status, got, body)
			}
		}
	}
	// Bodies of any size arrive.
	value := strings.Repeat("0123456789abcdef", 3<<16) // 3 MiB
	client := &http.Client{Timeout: patience}
	if seq, err := put(client, w.url("b")+"/kv/big", value); err != nil || seq != 1 {
		t.Errorf("%d, %v", seq, err)
	}
	resp, err := client.Get(w.url("b") + "/kv/big")
	mustDo(t, err)
	got, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil || string(got) != value {
		t.Errorf("%d bytes of %d: %v", len(got), len(value), err)
	}
	req, err := http.NewRequest(http.MethodDelete, w.url("b")+"/kv/big", nil)
	mustDo(t, err)
	if resp, err = client.Do(req); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("delete: %v, %v", resp, err)
	}
	resp.Body.Close()

	// State is each node's own, and always there.
	for node, authority := range map[string]bool{"a": true, "b": false} {
		resp, body := ask(t, http.MethodGet, w.url(node)+"/state", "")
		var st struct {
			Authority bool
			Seq       uint64
		}
		if err := json.Unmarshal([]byte(body), &st); err != nil || resp.StatusCode != http.StatusOK || st.Authority != authority {
			t.Errorf("state of %s: %s, %s", node, resp.Status, body)
		}
	}
	// A daemon that is nowhere may come: try again.
	within(t, "the search for a daemon that is nowhere", 5*time.Second, func() {
		var crowd sync.WaitGroup
		for range 20 {
			crowd.Go(func() {
				resp, body := ask(t, http.MethodPut, w.url("b")+"/daemons/nope/kv/x", "v")
				if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
					t.Errorf("%s, %s", resp.Status, body)
				}
			})
		}
		crowd.Wait()
	})
	for _, c := range []struct {
		path string
		code int
	}{{"/daemons/or%20ders%2F1/nope", 404}, {"/nope", 404}, {"/daemons", 200}, {"/", 200}} {
		if resp, body := ask(t, http.MethodGet, w.url("a")+c.path, ""); resp.StatusCode != c.code || !json.Valid([]byte(body)) {
			t.Errorf("%s: %s, %s", c.path, resp.Status, body)
		}
	}
}

// Several daemons of one node are told apart by name.
func TestSeveralDaemons(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "a", "b", "c", "o")
	w.node("a", "--daemon", "orders")
	w.node("b", "--daemon", "carts")
	w.node("c")
	// c has none of the two that there are, and cannot know which is meant.
	if resp, body := ask(t, http.MethodGet, w.url("c")+"/kv/k", ""); resp.StatusCode != http.StatusNotFound || !strings.Contains(body, "/daemons/NAME/kv/k") {
		t.Errorf("%s, %s", resp.Status, body)
	}
	w.migrate(exitDone, "carts", "a")
	client := &http.Client{Timeout: patience}
	for _, c := range []struct{ base, value string }{
		{w.url("a"), "orders by --daemon"}, {w.url("b") + "/daemons/orders", "orders by name"},
		{w.url("a") + "/daemons/carts", "carts by name"}, {w.url("b"), "carts by --daemon"},
	} {
		if _, err := put(client, c.base+"/kv/k", c.value); err != nil {
			t.Errorf("%s: %v", c.base, err)
			continue
		}
		name, _, _ := strings.Cut(c.value, " ")
		if _, body := ask(t, http.MethodGet, w.url("a")+"/daemons/"+name+"/kv/k", ""); body != c.value {
			t.Errorf("%s wrote %q, %s has %q", c.base, c.value, name, body)
		}
	}
	var list struct {
		Daemons []struct {
			Name      string
			Authority bool
		}
	}
	_, body := ask(t, http.MethodGet, w.url("a")+"/daemons", "")
	if err := json.Unmarshal([]byte(body), &list); err != nil || len(list.Daemons) != 2 || !list.Daemons[0].Authority || !list.Daemons[1].Authority {
		t.Errorf("%v: %s", err, body)
	}
}

// A write at a target that is not live yet waits until it is.
func TestWriteAtTargetWaits(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "a", "b", "o")
	w.slowTransfer("a", "b")
	w.node("a", "--daemon", "orders", "--fill", "4MiB")
	w.node("b")
	m := w.transferring("orders", "b")
	written := make(chan error, 1)
	go func() {
		resp, err := http.DefaultClient.Do(newPut(w.url("b")+"/daemons/orders/kv/early", "bird"))
		if err == nil {
			resp.Body.Close()
			if resp.Request.URL.Host != w.find("b").HTTP || resp.StatusCode != http.StatusOK {
				t.Errorf("%s from %v", resp.Status, resp.Request.URL)
			}
		}
		written <- err
	}()
	if r := m.exit(patience); r.code != exitDone {
		t.Fatalf("exit %d: %s", r.code, r.stderr)
	}
	if err := <-written; err != nil {
		t.Error(err)
	}
	if _, body := ask(t, http.MethodGet, w.url("b")+"/kv/early", ""); body != "bird" {
		t.Errorf("it has %q", body)
	}
}

func newPut(url, value string) *http.Request {
	req, err := http.NewRequest(http.MethodPut, url, strings.NewReader(value))
	if err != nil {
		panic(err)
	}
	return req
}
