package main

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"ferry/daemon"
	"ferry/journal"
	"ferry/migration"
)

// This file is for internal/chaos alone, which kills processes at exact steps of
// a move. Nothing in it acts unless FERRY_CHAOS names a directory; there
//
//	trace        gets a line "NAME POINT" for each point that a process passes
//	order        "NAME POINT hold" or "NAME POINT pass": the first to be there renames it to landed
//	landed       the order that was met; "hold": the process waits there for the file go, or to be killed
//	forget       "POINT": this record is never written, so that the harness has something to find
//	full-NAME    while it exists, NAME's journal takes nothing, as on a full disk
//
// Points, each before and after the durable write: begin, prepare, retired,
// live, moved, reinstated and created of a node, intent and outcome of an
// orchestrator. Further ones: snapshot:taken, restore:open, phase:PHASE.
const chaosEnv = "FERRY_CHAOS"

type chaosHook struct{ dir, name string }

// chaosFor is nil, which does nothing, unless the environment asks for more.
func chaosFor(name string) *chaosHook {
	dir := os.Getenv(chaosEnv)
	if dir == "" {
		return nil
	}
	return &chaosHook{dir: dir, name: name}
}

func (c *chaosHook) path(name string) string { return filepath.Join(c.dir, name) }

// holdMax bounds a wait for whoever gave the order.
const holdMax = 15 * time.Second

// at is called at a point.
func (c *chaosHook) at(point string) {
	here := c.name + " " + point
	if f, err := os.OpenFile(c.path("trace"), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600); err == nil {
		fmt.Fprintln(f, here)
		f.Close()
	}
	order, err := os.ReadFile(c.path("order"))
	verb, mine := strings.CutPrefix(string(order), here+" ")
	if err != nil || !mine || os.Rename(c.path("order"), c.path("landed")) != nil || verb != "hold" {
		return
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for over := time.After(holdMax); ; {
		if _, err := os.Stat(c.path("go")); err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-over:
			return
		}
	}
}

// journal passes a point before and after each record that is written.
func (c *chaosHook) journal(j journal.Journal) journal.Journal {
	if c == nil {
		return j
	}
	return chaosJournal{j, c}
}

type chaosJournal struct {
	journal.Journal
	c *chaosHook
}

func (j chaosJournal) Put(key, value []byte) error {
	point := j.point(key, value)
	if point != "" {
		j.c.at(point + ":before")
	}
	if _, err := os.Stat(j.c.path("full-" + j.c.name)); err == nil {
		return &fs.PathError{Op: "write", Path: "journal", Err: syscall.ENOSPC}
	}
	if b, err := os.ReadFile(j.c.path("forget")); err == nil && string(b) == point {
		return nil
	}
	if err := j.Journal.Put(key, value); err != nil {
		return err
	}
	if point != "" {
		j.c.at(point + ":after")
	}
	return nil
}

// point names what a record says; "": nothing of interest.
func (j chaosJournal) point(key, value []byte) string {
	var m migration.MoveRecord
	if key[0] == 'm' && m.UnmarshalBinary(value) == nil {
		if m.Outcome == migration.MoveOpen {
			return "intent"
		}
		return "outcome"
	}
	var rec, old migration.Record
	if key[0] != 'r' || rec.UnmarshalBinary(value) != nil {
		return ""
	}
	if b, err := j.Get(key); err == nil {
		_ = old.UnmarshalBinary(b) // then it is as none
	}
	switch {
	case rec == old:
		return "" // written again
	case rec.State == migration.RecordNone:
		return "prepare"
	case rec.State == migration.RecordRetired, rec.State == migration.RecordMoved:
		return rec.State.String()
	case old.State == migration.RecordRetired:
		return "reinstated"
	case rec.Epoch == 0:
		return "created"
	case rec.LiveEpoch == rec.Epoch:
		return "live"
	}
	return "begin"
}

// kind passes a point where a daemon is opened, as the first step of a restore.
func (c *chaosHook) kind(k daemon.Kind) daemon.Kind {
	if c == nil {
		return k
	}
	open := k.Open
	k.Open = func(env daemon.Env) (daemon.Daemon, error) {
		c.at("restore:open")
		return open(env)
	}
	return k
}

// log passes a point where the log tells of a step that is not written down.
func (c *chaosHook) log(l *slog.Logger) *slog.Logger {
	if c == nil {
		return l
	}
	return slog.New(chaosLog{l.Handler(), c})
}

type chaosLog struct {
	slog.Handler
	c *chaosHook
}

func (h chaosLog) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelInfo || h.Handler.Enabled(ctx, l)
}

func (h chaosLog) Handle(ctx context.Context, r slog.Record) error {
	switch r.Message {
	case "snapshot taken":
		h.c.at("snapshot:taken")
	case "move":
		r.Attrs(func(a slog.Attr) bool {
			if a.Key == "phase" {
				h.c.at("phase:" + a.Value.String())
			}
			return true
		})
	}
	if !h.Handler.Enabled(ctx, r.Level) {
		return nil
	}
	return h.Handler.Handle(ctx, r)
}

func (h chaosLog) WithAttrs(as []slog.Attr) slog.Handler {
	return chaosLog{h.Handler.WithAttrs(as), h.c}
}

func (h chaosLog) WithGroup(name string) slog.Handler {
	return chaosLog{h.Handler.WithGroup(name), h.c}
}
