package kv

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"ferry/proto0500"
)

// Client talks to the nodes of one daemon and follows it when it moves. It may
// be used by many goroutines. Every call goes on, from node to node, until it
// has a final answer or its context ends: give it a deadline.
type Client struct {
	http  *http.Client
	nodes []string

	mu   sync.Mutex
	base string // where the daemon was last found
}

// NewClient begins at the first of the base URLs (http://host:port). The others
// are tried, in turn, when a node cannot be reached or does not know where the
// daemon is. transport nil: one of its own that keeps a connection per request
// in flight.
func NewClient(transport http.RoundTripper, nodes ...string) (*Client, error) {
	if len(nodes) == 0 {
		return nil, errors.New("kv: a client needs the URL of a node")
	}
	for _, n := range nodes {
		if u, err := url.Parse(n); err != nil || u.Scheme == "" || u.Host == "" {
			return nil, fmt.Errorf("kv: %q is not the URL of a node, like http://127.0.0.1:8080", n)
		}
	}
	if transport == nil {
		transport = &http.Transport{MaxIdleConnsPerHost: 1024, DisableCompression: true}
	}
	return &Client{
		http: &http.Client{
			Transport: transport,
			// We follow by ourselves, to begin there the next time.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		nodes: nodes,
		base:  nodes[0],
	}, nil
}

// Owner is the base URL where the daemon was last found, or is looked for next.
func (c *Client) Owner() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.base
}

// CloseIdle closes the connections that are not in use.
func (c *Client) CloseIdle() { c.http.CloseIdleConnections() }

// ErrUnknownOutcome: the write was sent and no answer that says what became of
// it came back. It may be in the log or not; writing it again may double it.
var ErrUnknownOutcome = errors.New("kv: it is not known whether the write was accepted")

// StatusError is an answer that asking again would not change.
type StatusError struct {
	Status  int
	Message string
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("kv: %d %s: %s", e.Status, http.StatusText(e.Status), e.Message)
}

// Put sets key to value and returns the event's number once it is durable. It
// repeats the write only after answers that say that nothing was accepted.
func (c *Client) Put(ctx context.Context, key, value []byte) (proto0500.Seq, error) {
	if value == nil {
		value = []byte{}
	}
	return c.write(ctx, http.MethodPut, key, value)
}

// Delete removes key, like Put.
func (c *Client) Delete(ctx context.Context, key []byte) (proto0500.Seq, error) {
	return c.write(ctx, http.MethodDelete, key, nil)
}

func (c *Client) write(ctx context.Context, method string, key, value []byte) (proto0500.Seq, error) {
	body, err := c.call(ctx, method, keyPath(key), value)
	if err != nil {
		return 0, err
	}
	defer body.Close()
	var answer struct {
		Seq proto0500.Seq `json:"seq"`
	}
	if err := json.NewDecoder(body).Decode(&answer); err != nil || answer.Seq == 0 {
		return 0, fmt.Errorf("%w: answer without a number: %v", ErrUnknownOutcome, err)
	}
	_, _ = io.Copy(io.Discard, body) // so that the connection is used again
	return answer.Seq, nil
}

// Get is the value of key. A key that is not there is a *StatusError of 404.
func (c *Client) Get(ctx context.Context, key []byte) ([]byte, error) {
	body, err := c.call(ctx, http.MethodGet, keyPath(key), nil)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return io.ReadAll(io.LimitReader(body, ValueBytesMax))
}

// Log streams the log from an event on.
func (c *Client) Log(ctx context.Context, from proto0500.Seq) iter.Seq2[LogLine, error] {
	return func(yield func(LogLine, error) bool) {
		body, err := c.call(ctx, http.MethodGet, "/log?from="+strconv.FormatUint(uint64(from), 10), nil)
		if err != nil {
			yield(LogLine{}, err)
			return
		}
		defer body.Close()
		for line, err := range ReadLog(body) {
			if !yield(line, err) {
				return
			}
		}
	}
}

// State asks the node at base for its own view; it does not follow the daemon.
func (c *Client) State(ctx context.Context, base string, recount bool) (State, error) {
	path := base + "/state"
	if recount {
		path += "?recount=1"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, path, nil)
	if err != nil {
		return State{}, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return State{}, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return State{}, statusError(resp)
	}
	var st State
	return st, json.NewDecoder(resp.Body).Decode(&st)
}

func keyPath(key []byte) string { return "/kv/" + url.PathEscape(string(key)) }

const (
	hopsMax   = 4 // redirects in a row before a rest
	restTime  = 50 * time.Millisecond
	retryTime = time.Second // 503 without a usable Retry-After
	answerMax = 64 << 10    // of an error
)

// call follows the daemon until a node answers 200.
func (c *Client) call(ctx context.Context, method, path string, value []byte) (io.ReadCloser, error) {
	base := c.Owner()
	for hops := 1; ; hops++ {
		resp, err := c.send(ctx, method, base+path, value)
		var wait time.Duration
		switch {
		case err != nil && notSent(err):
			base, wait = c.leave(base), restTime
		case err != nil && method == http.MethodGet:
			return nil, fmt.Errorf("kv: %w", err)
		case err != nil:
			return nil, fmt.Errorf("%w: %w", ErrUnknownOutcome, err)
		case resp.StatusCode == http.StatusOK:
			c.found(base)
			return resp.Body, nil
		case resp.StatusCode == http.StatusPermanentRedirect:
			if base, err = location(resp, path); err != nil {
				return nil, err
			}
			if hops%hopsMax == 0 { // they point at each other: a move is under way
				wait = restTime
			}
		case resp.StatusCode == http.StatusServiceUnavailable:
			wait = retryAfterOf(resp)
			base = c.leave(base)
		default:
			return nil, statusError(resp)
		}
		if err := rest(ctx, wait); err != nil {
			return nil, fmt.Errorf("kv: %s %s: %w", method, path, err)
		}
	}
}

func (c *Client) send(ctx context.Context, method, address string, value []byte) (*http.Response, error) {
	var body io.Reader
	if value != nil {
		body = bytes.NewReader(value)
	}
	req, err := http.NewRequestWithContext(ctx, method, address, body)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		// Read here, whole and bounded, so that the connection is used again.
		b, err := io.ReadAll(io.LimitReader(resp.Body, answerMax))
		_ = resp.Body.Close()
		if err != nil {
			return nil, err
		}
		resp.Body = io.NopCloser(bytes.NewReader(b))
	}
	return resp, nil
}

// notSent says that a request never left, so that it may be sent again.
func notSent(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "dial"
}

func (c *Client) found(base string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.base = base
}

// leave gives the node to try after base.
func (c *Client) leave(base string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.base != base {
		return c.base // somebody else has found it meanwhile
	}
	next := c.nodes[0]
	for i, n := range c.nodes {
		if n == base {
			next = c.nodes[(i+1)%len(c.nodes)]
		}
	}
	c.base = next
	return next
}

// location is the base URL that a redirect of path points below: a node may
// serve the daemon under a path of its own.
func location(resp *http.Response, path string) (string, error) {
	u, err := resp.Location()
	if err != nil {
		return "", statusError(resp)
	}
	if base, ok := strings.CutSuffix(u.String(), path); ok {
		return base, nil
	}
	return u.Scheme + "://" + u.Host, nil
}

func retryAfterOf(resp *http.Response) time.Duration {
	if s, err := strconv.ParseUint(resp.Header.Get("Retry-After"), 10, 16); err == nil {
		return time.Duration(s) * time.Second
	}
	return retryTime
}

func statusError(resp *http.Response) error {
	var answer struct {
		Error   string `json:"error"`
		Outcome string `json:"outcome"`
	}
	_ = json.NewDecoder(io.LimitReader(resp.Body, answerMax)).Decode(&answer) // another server's page has none
	err := &StatusError{Status: resp.StatusCode, Message: answer.Error}
	if answer.Outcome == "unknown" {
		return fmt.Errorf("%w: %w", ErrUnknownOutcome, err)
	}
	return err
}

func rest(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
