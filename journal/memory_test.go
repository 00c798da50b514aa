package journal_test

import (
	"errors"
	"fmt"
	"math"
	"testing"

	"ferry/journal"
	"ferry/journal/journaltest"
)

func TestMemory(t *testing.T) {
	journaltest.Run(t, func(*testing.T) (journal.Journal, func() journal.Journal) {
		m := journal.NewMemory()
		return m, func() journal.Journal {
			m.Close()
			m = m.CrashClone(0) // each Put was durable when it returned
			return m
		}
	})
}

func TestMemoryCrashBetweenWriteAndSync(t *testing.T) {
	m := journal.NewMemory()
	put(t, m, "a", "durable")
	m.HoldSync()
	put(t, m, "a", "first")
	put(t, m, "b", "second")
	put(t, m, "a", "third")
	if m.Pending() != 3 {
		t.Errorf("Pending = %d, want 3", m.Pending())
	}
	if got := contents(t, m); got != "a=third b=second " {
		t.Errorf("before the crash: %s", got)
	}
	if got, err := m.Get([]byte("a")); err != nil || string(got) != "third" {
		t.Errorf("before the crash: Get = %q, %v", got, err)
	}

	for _, tt := range []struct {
		n    int
		want string
	}{
		{0, "a=durable "},
		{1, "a=first "},
		{2, "a=first b=second "},
		{3, "a=third b=second "},
		{-1, "a=durable "},
		{math.MaxInt, "a=third b=second "},
	} {
		clone := m.CrashClone(tt.n)
		if got := contents(t, clone); got != tt.want {
			t.Errorf("after a crash with %d writes on disk: %s, want %s", tt.n, got, tt.want)
		}
		// The clone lives a life of its own, and holds nothing.
		put(t, clone, "a", "clone's")
		if clone.Pending() != 0 {
			t.Errorf("the clone holds %d writes", clone.Pending())
		}
	}
	if got := contents(t, m); got != "a=third b=second " {
		t.Errorf("the original became %s", got)
	}

	m.Sync()
	put(t, m, "c", "durable again")
	if got := contents(t, m.CrashClone(0)); got != "a=third b=second c=durable again " {
		t.Errorf("after Sync: %s", got)
	}
}

func TestMemoryCloseDoesNotSync(t *testing.T) {
	m := journal.NewMemory()
	m.HoldSync()
	put(t, m, "a", "held")
	m.Close()
	if got := contents(t, m.CrashClone(0)); got != "" {
		t.Errorf("after Close and a crash: %s", got)
	}
}

func TestMemoryFailPut(t *testing.T) {
	full := errors.New("disk full")
	m := journal.NewMemory()
	put(t, m, "a", "old")
	m.FailPut(func(key []byte) error {
		switch string(key) {
		case "a":
			return full
		case "b":
			return fmt.Errorf("%w: %w", journal.ErrAfterWrite, full)
		}
		return nil
	})
	if err := m.Put([]byte("a"), []byte("new")); !errors.Is(err, full) {
		t.Errorf("Put = %v, want the injected error", err)
	}
	if err := m.Put([]byte("b"), []byte("new")); !errors.Is(err, full) {
		t.Errorf("Put = %v, want the injected error", err)
	}
	put(t, m, "c", "new")
	if got := contents(t, m); got != "a=old b=new c=new " {
		t.Errorf("after failed Puts: %s", got)
	}
	m.FailPut(nil)
	put(t, m, "a", "new")
	put(t, m.CrashClone(0), "b", "the clone does not fail")
}

func put(t *testing.T, j journal.Journal, key, value string) {
	t.Helper()
	if err := j.Put([]byte(key), []byte(value)); err != nil {
		t.Fatal(err)
	}
}

func contents(t *testing.T, j journal.Journal) (text string) {
	t.Helper()
	err := j.Range(nil, func(key, value []byte) error {
		text += fmt.Sprintf("%s=%s ", key, value)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return text
}
