package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"ferry/examples/kv"
)

// checkTimeout bounds the reading of the log and the building of the twin.
const checkTimeout = 5 * time.Minute

// check holds what the nodes say over HTTP against the writers' own records.
func (d *demo) check(ctx context.Context, rep *demoReport, a, b string) error {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	client, err := kv.NewClient(nil, b, a)
	if err != nil {
		return err
	}
	defer client.CloseIdle()
	records, err := readRecords(d.path("records"))
	if err != nil {
		return err
	}
	timings, err := readTimings(d.path("timings"))
	if err != nil {
		return err
	}
	log := client.Log(ctx, 0)
	if d.opts.tamper != nil {
		log = d.opts.tamper(log)
	}
	verdict, err := kv.CheckLog(kv.Records(records), log)
	if err != nil {
		return fmt.Errorf("read the log of b: %w", err)
	}
	stateA, err := client.State(ctx, a, false)
	if err != nil {
		return err
	}
	stateB, err := client.State(ctx, b, true)
	if err != nil {
		return err
	}
	twin, twinErr := d.twin(records)
	if _, gap := errors.AsType[*kv.GapError](twinErr); twinErr != nil && !gap {
		return fmt.Errorf("twin: %w", twinErr)
	}
	rep.time(timings, d.opts.writes)
	rep.judge(verdict, stateA, stateB, twin, twinErr)
	rep.hold(d.opts.blackoutMax, d.opts.writesMin)
	return nil
}

// twin is the digest of a store that never moved, fed from the writers' records.
func (d *demo) twin(records []kv.Record) (digest string, err error) {
	dir := d.path("twin")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	pos, err := kv.Twin(dir, kv.Options{FillBytes: int64(d.opts.state), FillSeed: d.opts.seed}, kv.Records(records))
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%016x", pos.Digest()), os.RemoveAll(dir)
}

func readRecords(path string) (list []kv.Record, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	for rec, err := range kv.ReadRecords(f) {
		if err != nil {
			return nil, err
		}
		list = append(list, rec)
	}
	return list, nil
}
