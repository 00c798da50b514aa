package kv

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/semaphore"

	"ferry/daemon"
	"ferry/proto0500"
)

// HandlerOptions of [Handler]. The zero value works.
type HandlerOptions struct {
	// ParkMax is how long a write waits for a daemon that is frozen or not yet
	// live. Default 15 s.
	ParkMax time.Duration
	// Owner names the base URL of the node that has the daemon, if that is known
	// or can be asked. hint is the node that it was last given to, or 0. Without
	// Owner a request for another node's daemon is answered with 503.
	Owner func(ctx context.Context, hint proto0500.NodeID) (base string, ok bool)
	// BodyBytesMax bounds the memory of all request bodies together. Requests
	// beyond it wait. Default 256 MiB.
	BodyBytesMax int64
	// Log gets what went wrong inside. Default: nothing is logged.
	Log *slog.Logger
}

const (
	parkDefault         = 15 * time.Second
	viewMax             = 2 * time.Second
	bodyBytesMaxDefault = 256 << 20
	// retryAfter is in seconds, as the header is: the shortest it can say.
	retryAfter = "1"
)

// Handler serves one daemon:
//
//	PUT    /kv/{key}  the body becomes the value; 200 {"seq":n} once durable
//	DELETE /kv/{key}  the same; deleting what is not there is an event too
//	GET    /kv/{key}  the value, or 404
//	GET    /log?from=n  the events from n on (see [LogLine]), one JSON object a line
//	GET    /state     [State]; always 200. With ?recount=1 everything is counted anew
//
// The key is all that follows /kv/, unescaped: slashes may be in it, escaped or
// not. Keys over 1 KiB are 400, values over 4 MiB are 413.
//
// A node that does not have the daemon answers 308 with the owner's URL, with
// which `curl -L` sends the same method and body there. 503 has Retry-After and
// means that nothing was accepted. 500 with "outcome":"unknown" means just that.
// All other errors are {"error":…} too.
func Handler(b Backend, opts HandlerOptions) http.Handler {
	if opts.ParkMax <= 0 {
		opts.ParkMax = parkDefault
	}
	if opts.BodyBytesMax <= 0 {
		opts.BodyBytesMax = bodyBytesMaxDefault
	}
	opts.Log = logger(opts.Log)
	return &handler{
		backend: b,
		opts:    opts,
		bodies:  semaphore.NewWeighted(max(opts.BodyBytesMax, ValueBytesMax+1)),
	}
}

type handler struct {
	backend Backend
	opts    HandlerOptions
	bodies  *semaphore.Weighted // bytes
}

// ServeHTTP routes by hand: http.ServeMux would redirect a key with "//" or
// ".." in it to another key.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := r.URL.EscapedPath()
	escaped, isKey := strings.CutPrefix(path, "/kv/")
	switch {
	case isKey:
		h.serveKey(w, r, escaped)
	case path == "/log" && allow(w, r, http.MethodGet):
		h.serveLog(w, r)
	case path == "/state" && allow(w, r, http.MethodGet):
		h.serveState(w, r)
	case path != "/log" && path != "/state":
		httpError(w, http.StatusNotFound, "no such path: there are /kv/{key}, /log and /state")
	}
}

func allow(w http.ResponseWriter, r *http.Request, methods ...string) bool {
	for _, m := range methods {
		if r.Method == m || m == http.MethodGet && r.Method == http.MethodHead {
			return true
		}
	}
	w.Header().Set("Allow", strings.Join(methods, ", "))
	httpError(w, http.StatusMethodNotAllowed, r.Method+" is not for this path")
	return false
}

func (h *handler) serveKey(w http.ResponseWriter, r *http.Request, escaped string) {
	if !allow(w, r, http.MethodGet, http.MethodPut, http.MethodDelete) {
		return
	}
	key, err := url.PathUnescape(escaped)
	if err == nil {
		err = checkKey([]byte(key))
	}
	if err != nil {
		httpError(w, http.StatusBadRequest, err.Error())
		return
	}
	switch r.Method {
	case http.MethodPut:
		h.put(w, r, []byte(key))
	case http.MethodDelete:
		h.delete(w, r, []byte(key))
	default:
		h.get(w, r, []byte(key))
	}
}

func (h *handler) get(w http.ResponseWriter, r *http.Request, key []byte) {
	view := h.view(r)
	if !view.Authority || view.Store == nil {
		h.elsewhere(w, r, view.Peer)
		return
	}
	value, ok, err := view.Store.Get(key)
	switch {
	case errors.Is(err, ErrClosed): // it left between two lines
		h.elsewhere(w, r, view.Peer)
	case err != nil:
		h.broken(w, r, err)
	case !ok:
		httpError(w, http.StatusNotFound, "no such key")
	default:
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Content-Length", strconv.Itoa(len(value)))
		_, _ = w.Write(value) // a client that is gone needs no answer
	}
}

// view asks the node, but not for long: /state always answers.
func (h *handler) view(r *http.Request) View {
	ctx, cancel := context.WithTimeout(r.Context(), viewMax)
	defer cancel()
	return h.backend.View(ctx)
}

func (h *handler) put(w http.ResponseWriter, r *http.Request, key []byte) {
	if r.ContentLength > ValueBytesMax {
		tooLarge(w)
		return
	}
	// One more than the limit, so that a body without a length that is too long
	// is told from one that just fits.
	weight := int64(ValueBytesMax + 1)
	if r.ContentLength >= 0 {
		weight = r.ContentLength
	}
	ctx, cancel := context.WithTimeout(r.Context(), h.opts.ParkMax)
	defer cancel()
	if err := h.bodies.Acquire(ctx, weight); err != nil {
		unavailable(w, "too much is being written at once")
		return
	}
	defer h.bodies.Release(weight)
	value, err := io.ReadAll(http.MaxBytesReader(w, r.Body, ValueBytesMax))
	if _, over := errors.AsType[*http.MaxBytesError](err); over {
		tooLarge(w)
		return
	}
	if err != nil {
		httpError(w, http.StatusBadRequest, "reading the body: "+err.Error())
		return
	}
	payload, err := EncodePut(key, value)
	h.write(w, r, payload, err)
}

func (h *handler) delete(w http.ResponseWriter, r *http.Request, key []byte) {
	payload, err := EncodeDelete(key)
	h.write(w, r, payload, err)
}

func (h *handler) write(w http.ResponseWriter, r *http.Request, payload []byte, err error) {
	if err != nil {
		httpError(w, http.StatusBadRequest, err.Error())
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), h.opts.ParkMax)
	defer cancel()
	seq, err := h.backend.Write(ctx, payload)
	if err == nil {
		answer(w, http.StatusOK, map[string]any{"seq": seq})
		return
	}
	if moved, ok := errors.AsType[*daemon.MovedError](err); ok {
		h.elsewhere(w, r, moved.Target)
		return
	}
	if large, ok := errors.AsType[*daemon.TooLargeError](err); ok {
		httpError(w, http.StatusRequestEntityTooLarge, large.Error())
		return
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		unavailable(w, "the daemon is on its way to another node, try again")
	case errors.Is(err, daemon.ErrClosed): // it never reached the daemon
		unavailable(w, "the node is ending, try again")
	case errors.Is(err, daemon.ErrUnknownDaemon), errors.Is(err, daemon.ErrNotServing), errors.Is(err, daemon.ErrNoState):
		h.elsewhere(w, r, 0)
	default:
		h.broken(w, r, err)
	}
}

// elsewhere answers for a node that does not have the daemon.
func (h *handler) elsewhere(w http.ResponseWriter, r *http.Request, hint proto0500.NodeID) {
	if h.opts.Owner != nil {
		if base, ok := h.opts.Owner(r.Context(), hint); ok {
			w.Header().Set("Location", strings.TrimSuffix(base, "/")+r.URL.RequestURI())
			httpError(w, http.StatusPermanentRedirect, "the daemon is at another node")
			return
		}
	}
	unavailable(w, "the daemon is not here, and where it is is not known now")
}

// broken answers when it cannot be told whether a write was accepted.
func (h *handler) broken(w http.ResponseWriter, r *http.Request, err error) {
	h.opts.Log.Error("kv request failed", "method", r.Method, "path", r.URL.Path, "err", err)
	answer(w, http.StatusInternalServerError, map[string]any{"error": err.Error(), "outcome": "unknown"})
}

func unavailable(w http.ResponseWriter, message string) {
	w.Header().Set("Retry-After", retryAfter)
	httpError(w, http.StatusServiceUnavailable, message)
}

func tooLarge(w http.ResponseWriter) {
	httpError(w, http.StatusRequestEntityTooLarge, ErrValueSize.Error())
}

func httpError(w http.ResponseWriter, status int, message string) {
	answer(w, status, map[string]any{"error": message})
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(v) // a client that is gone needs no answer
}
