//go:build unix

package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"

	"ferry/examples/kv"
)

// verdict is what the clients' own records say of the log that is left, and of
// the state, over HTTP alone.
type verdict struct {
	Acked     int    `json:"acknowledged"`
	Unknown   int    `json:"unknown"`        // their answer was never seen
	Landed    int    `json:"unknown_logged"` // of these
	Lost      int    `json:"lost"`
	Doubled   int    `json:"doubled"`
	Reordered int    `json:"reordered"`
	Broken    int    `json:"broken"` // links of the chain
	Strange   int    `json:"never_written"`
	Owners    int    `json:"owners"`
	Samples   int    `json:"owner_samples"`
	Changes   int    `json:"owner_changes"`
	Digest    string `json:"digest"`
	Twin      string `json:"twin_digest"`
	Fault     string `json:"fault,omitempty"`
}

func (v *verdict) fault(format string, args ...any) {
	if v.Fault == "" {
		v.Fault = fmt.Sprintf(format, args...)
	}
}

// check holds the world, in which nobody writes any more, against the writers'
// records.
func (w *world) check(ctx context.Context, wr *writers, own *owners) (v verdict, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*patience)
	defer cancel()
	client, err := kv.NewClient(nil, w.url("a"), w.url("b"))
	if err != nil {
		return v, err
	}
	defer client.CloseIdle()
	v.Acked, v.Unknown = wr.count()
	v.Samples, v.Changes = own.samples, own.changes
	if err := errors.Join(own.fault, wr.stuck, wr.disorder); err != nil {
		v.fault("%v", err)
	}
	owner, err := w.settled(ctx, client)
	if err != nil {
		v.fault("%v", err)
		return v, nil
	}
	v.Owners = 1

	var log []kv.LogLine
	for line, err := range client.Log(ctx, 0) {
		if err != nil {
			return v, fmt.Errorf("the log of %s: %w", owner, err)
		}
		log = append(log, line)
	}
	rep, err := kv.CheckLog(kv.Records(wr.acked), func(yield func(kv.LogLine, error) bool) {
		for _, line := range log {
			if !yield(line, nil) {
				return
			}
		}
	})
	if err != nil {
		return v, err
	}
	v.Lost, v.Doubled, v.Reordered, v.Broken = rep.Lost, rep.Doubled, rep.Reordered, rep.Broken
	if !rep.OK() {
		v.fault("%s", rep.First)
	}
	all := w.written(wr, log, &v)
	state, err := client.State(ctx, w.url(owner), true)
	if err != nil {
		return v, err
	}
	v.Digest = state.Digest
	if state.Recount != state.Digest {
		v.fault("%s says digest %s and counts %s", owner, state.Digest, state.Recount)
	}
	v.Twin, err = w.twin(all)
	if _, gap := errors.AsType[*kv.GapError](err); gap {
		v.fault("%v", err)
		return v, nil
	}
	if v.Twin != v.Digest {
		v.fault("the state's digest is %s, that of a store that never moved %s", v.Digest, v.Twin)
	}
	return v, err
}

// written is everything that is in the log, by the word of those who wrote it:
// what was acknowledged, and of what was never answered that which is there.
func (w *world) written(wr *writers, log []kv.LogLine, v *verdict) []kv.Record {
	unknown := make(map[string]bool)
	for _, p := range wr.unknown {
		unknown[string(p)] = true
	}
	acked := make(map[string]bool)
	for _, r := range wr.acked {
		acked[string(r.Payload)] = true
	}
	all := slices.Clone(wr.acked)
	for _, line := range log {
		switch {
		case unknown[string(line.Payload)]:
			v.Landed++
			all = append(all, kv.Record{Seq: line.Seq, Payload: line.Payload})
		case !acked[string(line.Payload)]:
			v.Strange++
			v.fault("event %d is in the log, and no client has written it", line.Seq)
		}
	}
	slices.SortFunc(all, func(a, b kv.Record) int { return cmp.Compare(a.Seq, b.Seq) })
	return all
}

// twin is the digest of a store that never moved.
func (w *world) twin(records []kv.Record) (string, error) {
	dir := filepath.Join(w.dir, "twin")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	pos, err := kv.Twin(dir, kv.Options{FillBytes: w.fill, FillSeed: fillSeed}, kv.Records(records))
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%016x", pos.Digest()), os.RemoveAll(dir)
}

// settled waits until one node serves, no move is open, and the other has let
// go of its copy: nothing is left over. It gives the owner.
func (w *world) settled(ctx context.Context, client *kv.Client) (owner string, err error) {
	var last string
	err = poll(ctx, patience, "one node serves and the other has nothing left", func() (bool, error) {
		owner, last = "", ""
		free := true
		for _, name := range []string{"a", "b"} {
			d, known, err := w.listed(ctx, name)
			last += fmt.Sprintf("%s: %+v %v; ", name, d, err)
			switch {
			case err != nil:
				free = false
			case d.Authority && d.State == "serving" && owner == "":
				owner = name
			case known && d.State != "moved" && d.State != "none":
				free = false
			}
		}
		return free && owner != "", nil
	})
	if err != nil {
		err = fmt.Errorf("%w: %s", err, last)
	}
	return owner, err
}

// listedDaemon is a daemon as GET /daemons has it.
type listedDaemon struct {
	Name      string `json:"name"`
	Authority bool   `json:"authority"`
	State     string `json:"state"`
	Epoch     uint64 `json:"epoch"`
}

// listed is what a node says of the daemon.
func (w *world) listed(ctx context.Context, name string) (d listedDaemon, known bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.url(name)+"/daemons", nil)
	if err != nil {
		return d, false, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return d, false, err
	}
	defer resp.Body.Close()
	var list struct {
		Daemons []listedDaemon `json:"daemons"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&list); err != nil {
		return d, false, err
	}
	for _, d := range list.Daemons {
		if d.Name == daemonName {
			return d, true, nil
		}
	}
	return d, false, nil
}
