package kv_test

import (
	"context"
	"net/http"

	"ferry/daemon"
	"ferry/examples/kv"
	"ferry/proto0500"
)

// A node registers the kind, and serves each daemon of it beside the host.
func Example() {
	cfg := daemon.Config{Kinds: []daemon.Kind{kv.Kind(kv.Options{})}} // and key, journal, resolver
	host, err := daemon.New(cfg)
	if err != nil {
		return
	}
	handler := kv.Handler(kv.HostBackend(host, "orders"), kv.HandlerOptions{
		// From the node that the daemon went to, to its URL: the cluster knows.
		Owner: func(_ context.Context, at proto0500.NodeID) (string, bool) {
			return "http://127.0.0.1:8081", at != 0
		},
	})
	http.Handle("/", handler)
}
