package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"ferry/cluster"
	"ferry/daemon"
	"ferry/examples/kv"
	"ferry/proto0500"
)

// front is a node's HTTP side:
//
//	/kv/{key}, /log, /state   the daemon that the node was told to serve, or the only one
//	/daemons                  what there is, as JSON
//	/daemons/{name}/kv/…      a daemon by name
//
// A redirect to another node always names the daemon, so that it means the same
// daemon there.
type front struct {
	host   *daemon.Host
	name   string // of --daemon, or ""
	locate *locator
	kv     http.Handler // of the daemon that the request's context names
}

const daemonsPrefix = "/daemons/"

func newFront(file *cluster.File, host *daemon.Host, name string, log *slog.Logger) *front {
	f := &front{host: host, name: name, locate: &locator{file: file, host: host}}
	// One handler for every name, so that its bound on bodies is the node's.
	f.kv = kv.Handler(namedBackend{host}, kv.HandlerOptions{
		Log: log,
		Owner: func(ctx context.Context, hint proto0500.NodeID) (string, bool) {
			return f.locate.find(ctx, daemonOf(ctx), hint)
		},
	})
	return f
}

// daemonKey is the context key of the daemon's name.
type daemonKey struct{}

func daemonOf(ctx context.Context) string {
	name, _ := ctx.Value(daemonKey{}).(string)
	return name
}

// namedBackend is the daemon that the context names.
type namedBackend struct{ host *daemon.Host }

func (b namedBackend) Write(ctx context.Context, payload []byte) (proto0500.Seq, error) {
	return kv.HostBackend(b.host, daemonOf(ctx)).Write(ctx, payload)
}

func (b namedBackend) View(ctx context.Context) kv.View {
	return kv.HostBackend(b.host, daemonOf(ctx)).View(ctx)
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := r.URL.EscapedPath()
	if path == "/" || path == "/daemons" || path == daemonsPrefix {
		f.list(w)
		return
	}
	rest, named := strings.CutPrefix(path, daemonsPrefix)
	if !named {
		name, ok := f.only(r.Context())
		if !ok {
			refuse(w, http.StatusNotFound, "several daemons are known: use /daemons/NAME"+path+"; GET /daemons lists those of this node")
			return
		}
		f.serve(w, r, name, r.URL)
		return
	}
	escaped, tail, _ := strings.Cut(rest, "/")
	name, err := url.PathUnescape(escaped)
	u := *r.URL
	u.RawPath = "/" + tail
	if err == nil {
		u.Path, err = url.PathUnescape(u.RawPath)
	}
	if err != nil {
		refuse(w, http.StatusBadRequest, "bad escape in the path")
		return
	}
	f.serve(w, r, name, &u)
}

func (f *front) serve(w http.ResponseWriter, r *http.Request, name string, u *url.URL) {
	r = r.WithContext(context.WithValue(r.Context(), daemonKey{}, name))
	r.URL = u
	f.kv.ServeHTTP(w, r)
}

// only is the daemon that a path without a name means.
func (f *front) only(ctx context.Context) (string, bool) {
	if f.name != "" {
		return f.name, true
	}
	var here, known []string
	for _, st := range f.host.List() {
		switch {
		case st.Authority:
			here = append(here, st.Name)
		case st.State != proto0500.StateNone:
			known = append(known, st.Name)
		}
	}
	if len(here)+len(known) == 0 {
		known = f.locate.names(ctx)
	}
	for _, names := range [][]string{here, known} {
		slices.Sort(names)
		if names = slices.Compact(names); len(names) > 0 {
			return names[0], len(names) == 1
		}
	}
	return "", true // there is none: the handler says so
}

func (f *front) list(w http.ResponseWriter) {
	type entry struct {
		Name      string        `json:"name"`
		Authority bool          `json:"authority"`
		State     string        `json:"state"`
		Epoch     uint64        `json:"epoch"`
		Seq       proto0500.Seq `json:"seq"`
	}
	list := []entry{}
	for _, st := range f.host.List() {
		list = append(list, entry{st.Name, st.Authority, st.State.String(), uint64(st.Epoch), st.Head.Seq})
	}
	reply(w, http.StatusOK, map[string]any{"daemons": list})
}

func refuse(w http.ResponseWriter, status int, text string) {
	reply(w, status, map[string]string{"error": text})
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // a client that is gone needs no answer
}
