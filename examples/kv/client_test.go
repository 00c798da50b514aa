package kv

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"ferry/daemon"
	"ferry/proto0500"
)

func newTestClient(t *testing.T, nodes ...string) *Client {
	t.Helper()
	c, err := NewClient(nil, nodes...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdle)
	return c
}

func TestClient(t *testing.T) {
	n := newFakeNode(t)
	srv := serve(t, n, HandlerOptions{})
	c, ctx := newTestClient(t, srv.URL), t.Context()
	key := []byte("odd/key \xff?#")
	if seq, err := c.Put(ctx, key, []byte("value")); err != nil || seq != 1 {
		t.Fatalf("put: %d, %v", seq, err)
	}
	if v, err := c.Get(ctx, key); err != nil || string(v) != "value" {
		t.Fatalf("get: %q, %v", v, err)
	}
	if seq, err := c.Put(ctx, key, nil); err != nil || seq != 2 {
		t.Fatalf("put of nothing: %d, %v", seq, err)
	}
	if v, err := c.Get(ctx, key); err != nil || len(v) != 0 {
		t.Fatalf("get: %q, %v", v, err)
	}
	if seq, err := c.Delete(ctx, key); err != nil || seq != 3 {
		t.Fatalf("delete: %d, %v", seq, err)
	}
	_, err := c.Get(ctx, key)
	if se, ok := errors.AsType[*StatusError](err); !ok || se.Status != 404 {
		t.Errorf("get of nothing: %v", err)
	}
	if _, err := c.Put(ctx, nil, nil); !errors.As(err, new(*StatusError)) {
		t.Errorf("put without a key: %v", err)
	}
	r, err := CheckLog(seq2([]Record{{1, put(t, string(key), "value")}, {2, put(t, string(key), "")}, {3, del(t, string(key))}}), c.Log(ctx, 1))
	if err != nil || !r.OK() || r.Logged != 3 {
		t.Errorf("log: %+v, %v", r, err)
	}
	st, err := c.State(ctx, srv.URL, true)
	if err != nil || !st.Authority || st.Seq != 3 || st.Recount != st.Digest || st.Keys != 0 {
		t.Errorf("state: %+v, %v", st, err)
	}
	n.fail(daemon.ErrStopped)
	if _, err := c.Put(ctx, key, nil); !errors.Is(err, ErrUnknownOutcome) {
		t.Errorf("put to a broken daemon: %v", err)
	}
}

// The client goes after the daemon and stays there.
func TestClientFollows(t *testing.T) {
	a, b := newFakeNode(t), newFakeNode(t)
	var atB atomic.Bool
	var urls [2]string
	owner := func(context.Context, proto0500.NodeID) (string, bool) {
		if atB.Load() {
			return urls[1], true
		}
		return urls[0], true
	}
	urls = [2]string{serve(t, a, HandlerOptions{Owner: owner}).URL, serve(t, b, HandlerOptions{Owner: owner}).URL}
	b.fail(daemon.ErrUnknownDaemon)
	c, ctx := newTestClient(t, urls[1], urls[0]), t.Context()
	if _, err := c.Put(ctx, []byte("k"), []byte("1")); err != nil || c.Owner() != urls[0] {
		t.Fatalf("at %s: %v", c.Owner(), err)
	}
	b.fail(nil)
	atB.Store(true)
	a.fail(&daemon.MovedError{Target: 2})
	if _, err := c.Put(ctx, []byte("k"), []byte("2")); err != nil || c.Owner() != urls[1] {
		t.Fatalf("at %s: %v", c.Owner(), err)
	}
	wantValue(t, b.store, "k", "2")
	// Both deny it: it goes round, with rests, until its time is over.
	b.fail(&daemon.MovedError{Target: 1})
	atB.Store(false)
	short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	if _, err := c.Put(short, []byte("k"), []byte("3")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("nobody has it: %v", err)
	}
}

func TestClientTriesAnotherNode(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	n := newFakeNode(t)
	srv := serve(t, n, HandlerOptions{})
	c := newTestClient(t, gone.URL, srv.URL)
	if _, err := c.Put(t.Context(), []byte("k"), []byte("v")); err != nil || c.Owner() != srv.URL {
		t.Errorf("at %s: %v", c.Owner(), err)
	}
}

// 503 says that nothing was accepted: the write is sent again after the time
// that the node asked for. A connection that breaks says nothing: it is not.
func TestClientRepeatsOnlyWhatWasRefused(t *testing.T) {
	n := newFakeNode(t)
	inner := Handler(n, HandlerOptions{})
	var requests atomic.Int32
	var first atomic.Pointer[http.HandlerFunc]
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		if f := first.Swap(nil); f != nil {
			(*f)(w, r)
			return
		}
		inner.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	c := newTestClient(t, srv.URL)
	busy := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { unavailable(w, "later") })
	first.Store(&busy)
	start := time.Now()
	if seq, err := c.Put(t.Context(), []byte("k"), []byte("v")); err != nil || seq != 1 || requests.Load() != 2 {
		t.Errorf("after a 503: %d, %v, %d requests", seq, err, requests.Load())
	}
	if waited := time.Since(start); waited < time.Second {
		t.Errorf("came again after %v", waited)
	}
	broken := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	first.Store(&broken)
	if _, err := c.Put(t.Context(), []byte("k"), []byte("v")); !errors.Is(err, ErrUnknownOutcome) || requests.Load() != 3 {
		t.Errorf("after a broken connection: %v, %d requests", err, requests.Load())
	}
}

func TestNewClientRefuses(t *testing.T) {
	for _, nodes := range [][]string{nil, {""}, {"127.0.0.1:80"}, {"http://a", "b"}} {
		if _, err := NewClient(nil, nodes...); err == nil {
			t.Errorf("took %q", nodes)
		}
	}
}
