package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

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
	file *cluster.File
	host *daemon.Host
	name string // of --daemon, or ""
	log  *slog.Logger

	mu       sync.Mutex
	handlers map[string]http.Handler
	located  map[string]location
}

// location is where a daemon was found.
type location struct {
	base string
	ok   bool
	at   time.Time
}

const (
	daemonsPrefix = "/daemons/"
	// locateFor is how long one search of the cluster answers for the next.
	locateFor     = 200 * time.Millisecond
	locateTimeout = 2 * time.Second
)

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := r.URL.EscapedPath()
	if path == "/" || path == "/daemons" {
		f.list(w)
		return
	}
	rest, named := strings.CutPrefix(path, daemonsPrefix)
	if !named {
		name, ok := f.only(r.Context())
		if !ok {
			http.Error(w, `{"error":"several daemons are here: use /daemons/NAME/…; GET /daemons lists them"}`, http.StatusNotFound)
			return
		}
		f.handler(name).ServeHTTP(w, r)
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
		http.Error(w, `{"error":"bad escape in the path"}`, http.StatusBadRequest)
		return
	}
	r2 := r.Clone(r.Context())
	r2.URL = &u
	f.handler(name).ServeHTTP(w, r2)
}

// only is the daemon that a path without a name means.
func (f *front) only(ctx context.Context) (string, bool) {
	if f.name != "" {
		return f.name, true
	}
	var here, known []string
	for _, st := range f.host.List() {
		if st.Authority {
			here = append(here, st.Name)
		}
		if st.Name != "" {
			known = append(known, st.Name)
		}
	}
	if len(here) == 0 && len(known) == 0 {
		for _, found := range askAll(ctx, f.file, f.host) {
			for _, r := range found.reports {
				known = append(known, r.Name.String())
			}
		}
	}
	for _, names := range [][]string{here, known} {
		slices.Sort(names)
		if names = slices.Compact(names); len(names) > 0 {
			return names[0], len(names) == 1
		}
	}
	return "", true // there is none: the handler says so
}

func (f *front) handler(name string) http.Handler {
	f.mu.Lock()
	defer f.mu.Unlock()
	if h := f.handlers[name]; h != nil {
		return h
	}
	h := kv.Handler(kv.HostBackend(f.host, name), kv.HandlerOptions{
		Log: f.log,
		Owner: func(ctx context.Context, hint proto0500.NodeID) (string, bool) {
			return f.owner(ctx, name, hint)
		},
	})
	if _, err := f.host.Status(context.Background(), name); err == nil {
		// Only names that exist are remembered: paths are a client's words.
		if f.handlers == nil {
			f.handlers = make(map[string]http.Handler)
		}
		f.handlers[name] = h
	}
	return h
}

// owner is the URL of the node that has the daemon: the one it was given to, or
// what the nodes say.
func (f *front) owner(ctx context.Context, name string, hint proto0500.NodeID) (string, bool) {
	if base, ok := f.base(name, hint); ok {
		return base, true
	}
	f.mu.Lock()
	loc, ok := f.located[name]
	f.mu.Unlock()
	if ok && time.Since(loc.at) < locateFor {
		return loc.base, loc.ok
	}
	ctx, cancel := context.WithTimeout(ctx, locateTimeout)
	defer cancel()
	loc = location{at: time.Now()}
	var best proto0500.Report
	for _, found := range askAll(ctx, f.file, f.host) {
		for _, r := range found.reports {
			if r.Name.String() != name || r.Epoch < best.Epoch {
				continue
			}
			switch r.State {
			case proto0500.StateServing, proto0500.StateBegun, proto0500.StateCopying, proto0500.StateFrozen:
				if r.Copy {
					best = r
					loc.base, loc.ok = f.base(name, proto0500.NodeID(found.node.ID()))
				}
			}
		}
	}
	f.mu.Lock()
	if f.located == nil || len(f.located) > 1024 {
		f.located = make(map[string]location)
	}
	f.located[name] = loc
	f.mu.Unlock()
	return loc.base, loc.ok
}

// base is the URL below which a daemon is served at another node.
func (f *front) base(name string, id proto0500.NodeID) (string, bool) {
	for _, n := range f.file.Nodes {
		if proto0500.NodeID(n.ID()) == id && n.HTTP != "" && n.ID() != f.host.Node() {
			return "http://" + n.HTTP + daemonsPrefix + url.PathEscape(name), true
		}
	}
	return "", false
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
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"daemons": list}) // a client that is gone needs no answer
}
