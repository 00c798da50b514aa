package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ferry/examples/kv"
	"ferry/proto0500"
)

// loop writes one value after the other, as curl -L in a shell loop does: a new
// connection for each, redirects followed, nothing tried again. Any answer but
// 200 is a failure.
type loop struct {
	t       *testing.T
	client  *http.Client
	base    string
	stop    context.CancelFunc
	done    chan struct{}
	acked   atomic.Int64
	records []kv.Record // of the goroutine until done
	failure error
}

func newLoop(t *testing.T, base, prefix string) *loop {
	ctx, cancel := context.WithCancel(context.Background())
	l := &loop{
		t: t, base: base, stop: cancel, done: make(chan struct{}),
		client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience},
	}
	go func() {
		defer close(l.done)
		for n := 1; ctx.Err() == nil && l.failure == nil; n++ {
			l.failure = l.put(fmt.Sprintf("%s%06d", prefix, n), fmt.Sprintf("value %d", n))
		}
	}()
	t.Cleanup(func() { cancel(); <-l.done })
	return l
}

func (l *loop) put(key, value string) error {
	seq, err := put(l.client, l.base+"/kv/"+key, value)
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	payload, err := kv.EncodePut([]byte(key), []byte(value))
	if err != nil {
		return err
	}
	l.records = append(l.records, kv.Record{Seq: seq, Payload: payload})
	l.acked.Add(1)
	return nil
}

// put is one curl -L -X PUT.
func put(client *http.Client, url, value string) (proto0500.Seq, error) {
	req, err := http.NewRequest(http.MethodPut, url, strings.NewReader(value))
	if err != nil {
		return 0, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("%s: %.200s %v", resp.Status, bytes.TrimSpace(body), err)
	}
	var answer struct{ Seq proto0500.Seq }
	return answer.Seq, json.Unmarshal(body, &answer)
}

// more waits until n more writes have been acknowledged.
func (l *loop) more(n int64) {
	l.t.Helper()
	want := l.acked.Load() + n
	eventually(l.t, fmt.Sprintf("%d more writes", n), patience, func() bool {
		select {
		case <-l.done:
			l.t.Fatalf("a write failed: %v", l.failure)
		default:
		}
		return l.acked.Load() >= want
	})
}

// end ends the loop, none of whose writes may have failed.
func (l *loop) end() []kv.Record {
	l.t.Helper()
	l.stop()
	<-l.done
	if l.failure != nil {
		l.t.Fatalf("after %d writes one failed: %v", len(l.records), l.failure)
	}
	return l.records
}

// checkLog holds a daemon's log against all records of its writes.
func (w *world) checkLog(node, daemon string, records []kv.Record) {
	w.t.Helper()
	resp, err := http.Get(w.url(node) + daemonsPrefix + daemon + "/log?from=0")
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		w.t.Fatalf("log of %s at %s: %s", daemon, node, resp.Status)
	}
	rep, err := kv.CheckLog(kv.Records(records), kv.ReadLog(resp.Body))
	if err != nil || !rep.OK() || rep.Unacked != 0 || rep.Logged != len(records) {
		w.t.Errorf("log of %s at %s, with %d records: %v, %+v", daemon, node, len(records), err, rep)
	}
}

// within fails when a step took longer than it may.
func within(t *testing.T, what string, limit time.Duration, f func()) {
	t.Helper()
	begun := time.Now()
	f()
	if took := time.Since(begun); took > limit {
		t.Errorf("%s took %v, allowed are %v", what, took, limit)
	}
}
