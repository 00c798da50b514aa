// Package kv is a key-value store that moves: a real daemon for ferry, with
// one bbolt file as its state, its event log inside that file, and an HTTP API.
//
// The store is a [daemon.Daemon] that keeps its own events ([daemon.Durable])
// and tells a digest of its contents ([daemon.Digester]). A write is one event,
// and one bbolt transaction holds a batch of them: the keys and values, the log
// entries, the chain's head and the digest are on disk together or not at all.
// So the log moves with the state, and a crash leaves no half.
//
// A snapshot copies nothing: it is a bbolt read transaction held open, read
// through its own file descriptor (see [Store.Snapshot] for why that does not
// hold the writers up).
//
// [Kind] registers the store at a host, [Handler] serves it over HTTP, [Client]
// follows it from node to node, and [CheckLog] and [Twin] judge from the
// outside whether a move lost, doubled or reordered anything.
package kv
