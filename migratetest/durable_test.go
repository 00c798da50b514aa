package migratetest_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"ferry/daemon"
	"ferry/migratetest"
	"ferry/proto0500"
)

// notes is a daemon that keeps its own log: its events are its state, a line of JSON each in one file.
type notes struct {
	env  daemon.Env
	mu   sync.Mutex // of list: Events is called while Apply goes on
	list []daemon.Event
	text []byte

	write func(d *notes, line []byte) error
	from  func(text []byte) []byte // what a received state is made into
}

func openNotes(env daemon.Env, change func(*notes)) (daemon.Daemon, error) {
	d := &notes{env: env, write: (*notes).save, from: func(text []byte) []byte { return text }}
	change(d)
	text, err := os.ReadFile(d.path())
	if errors.Is(err, fs.ErrNotExist) {
		return d, nil
	}
	return d, errors.Join(err, d.read(text))
}

func (d *notes) path() string { return filepath.Join(d.env.Dir, "notes") }

func (d *notes) read(text []byte) error {
	d.text = text
	for line := range bytes.Lines(text) {
		var e daemon.Event
		if err := json.Unmarshal(line, &e); err != nil {
			return err
		}
		d.list = append(d.list, e)
	}
	return nil
}

func (d *notes) save(line []byte) error {
	f, err := os.OpenFile(d.path(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(line)
	return errors.Join(err, f.Close())
}

func (d *notes) Apply(events []daemon.Event) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range events {
		line, err := json.Marshal(e)
		if err != nil {
			return err
		}
		line = append(line, '\n')
		if err := d.write(d, line); err != nil {
			return err
		}
		e.Payload = bytes.Clone(e.Payload)
		d.list, d.text = append(d.list, e), append(d.text, line...)
	}
	return nil
}

func (d *notes) Snapshot() (daemon.Snapshot, error) {
	return daemon.Bytes(d.text[:len(d.text):len(d.text)]), nil
}

func (d *notes) Restore(s daemon.State) error {
	if err := s.Take(d.path()); err != nil {
		return err
	}
	text, err := os.ReadFile(d.path())
	return errors.Join(err, d.read(d.from(text)))
}

func (d *notes) Head() (daemon.Head, error) {
	if len(d.list) == 0 {
		return daemon.Genesis(d.env.Origin), nil
	}
	e := d.list[len(d.list)-1]
	return daemon.Head{Seq: e.Seq, Link: e.Link, Hash: e.Hash}, nil
}

func (d *notes) Events(from proto0500.Seq, _ int) ([]daemon.Event, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, e := range d.list {
		if e.Seq == from {
			return d.list[i : i+1 : i+1], nil
		}
	}
	return nil, nil
}

func (d *notes) Sync() error  { return nil }
func (d *notes) Close() error { return nil }

func TestDaemonWithItsOwnLog(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*notes)
		want   string // "": it is well
	}{
		{"well", func(*notes) {}, ""},
		{"writes nothing", func(d *notes) { d.write = func(*notes, []byte) error { return nil } }, "after Apply and a crash Head is event 0, and must be event 1"},
		{"the log stays behind", func(d *notes) { d.from = func([]byte) []byte { return nil } }, "after one move at event 1 the daemon's `list`, `text` is lost"},
		{"the last event moves", func(d *notes) {
			d.from = func(text []byte) []byte { return text[bytes.LastIndexByte(text[:max(len(text)-1, 0)], '\n')+1:] }
		}, "after one move at event 2 the daemon's `list`, `text` is lost"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &recorder{TB: t}
			migratetest.Run(r, daemon.Kind{
				Name: "notes", Schema: 1,
				Open: func(env daemon.Env) (daemon.Daemon, error) { return openNotes(env, c.change) },
			}, migratetest.Options{Seed: 1, Generate: twoBytes, Moves: 4, Events: 6, Timeout: 4 * time.Second})
			said := strings.Join(r.errors, "\n")
			t.Log(said)
			if c.want == "" && said != "" || !strings.Contains(said, c.want) {
				t.Errorf("it does not say %q", c.want)
			}
		})
	}
}
