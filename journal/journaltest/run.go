// Package journaltest says in code what every journal.Journal promises.
package journaltest

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"

	"ferry/journal"
)

// Run checks a kind of journal. open gives a new, empty one; its reopen closes
// whatever is open, and opens again what is durable. What is open at the end is
// for open to clean up, with t.Cleanup.
func Run(t *testing.T, open func(t *testing.T) (j journal.Journal, reopen func() journal.Journal)) {
	tests := []struct {
		name string
		test func(t *testing.T, j journal.Journal, reopen func() journal.Journal)
	}{
		{"empty", empty},
		{"put and get", putAndGet},
		{"overwrite", overwrite},
		{"range order", rangeOrder},
		{"range prefix", rangePrefix},
		{"range stops", rangeStops},
		{"range is one moment", rangeIsOneMoment},
		{"isolation", isolation},
		{"limits", limits},
		{"concurrent puts", concurrentPuts},
		{"reopen", reopenKeepsAll},
		{"close", closeEnds},
		{"close while in use", closeWhileInUse},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			j, reopen := open(t)
			tt.test(t, j, reopen)
		})
	}
}

func empty(t *testing.T, j journal.Journal, _ func() journal.Journal) {
	if value, err := j.Get([]byte("none")); !errors.Is(err, journal.ErrNotFound) || value != nil {
		t.Errorf("Get = %q, %v, want ErrNotFound", value, err)
	}
	expect(t, j, "", map[string]string{})
}

func putAndGet(t *testing.T, j journal.Journal, _ func() journal.Journal) {
	records := map[string]string{
		"a":        "1",
		"a\x00":    "2",
		"\x00":     "zero",
		"\xff\xff": "\xff\x00",
		"empty":    "",
		string(make([]byte, journal.KeyBytesMax)): "long key",
		"long value": string(bytes.Repeat([]byte{7}, journal.ValueBytesMax)),
	}
	for key, value := range records {
		put(t, j, key, value)
	}
	for key, value := range records {
		get(t, j, key, value)
	}
	if value, err := j.Get([]byte("empty")); err != nil || value == nil {
		t.Errorf("an empty value: %v, %v, want empty and not nil", value, err)
	}
	put(t, j, "nil", "x")
	if err := j.Put([]byte("nil"), nil); err != nil {
		t.Errorf("Put of nil: %v", err)
	}
	get(t, j, "nil", "")
	if _, err := j.Get([]byte("b")); !errors.Is(err, journal.ErrNotFound) {
		t.Errorf("Get = %v, want ErrNotFound", err)
	}
}

func overwrite(t *testing.T, j journal.Journal, reopen func() journal.Journal) {
	for _, value := range []string{"first", "", "a longer third", "4"} {
		put(t, j, "key", value)
		get(t, j, "key", value)
	}
	expect(t, j, "", map[string]string{"key": "4"})
	get(t, reopen(), "key", "4")
}

func rangeOrder(t *testing.T, j journal.Journal, _ func() journal.Journal) {
	keys := []string{"b", "a", "\xff", "ab", "\x00", "aa", "B", "a\x00", "\x00\x00", "\x7f", "\x80"}
	for _, key := range keys {
		put(t, j, key, "of "+key)
	}
	var got []string
	err := j.Range(nil, func(key, value []byte) error {
		got = append(got, string(key))
		if string(value) != "of "+string(key) {
			t.Errorf("Range gave %q for %q", value, key)
		}
		return nil
	})
	slices.Sort(keys)
	if err != nil || !slices.Equal(got, keys) {
		t.Errorf("Range gave %q, %v, want %q", got, err, keys)
	}
}

func rangePrefix(t *testing.T, j journal.Journal, _ func() journal.Journal) {
	for _, key := range []string{"d", "d/", "d/1", "d/2", "d0", "c/9", "e", "\xff", "\xff\xff1"} {
		put(t, j, key, "v")
	}
	expect(t, j, "d/", map[string]string{"d/": "v", "d/1": "v", "d/2": "v"})
	expect(t, j, "d/1", map[string]string{"d/1": "v"})
	expect(t, j, "d/3", map[string]string{})
	expect(t, j, "\xff", map[string]string{"\xff": "v", "\xff\xff1": "v"})
	expect(t, j, "\xff\xff", map[string]string{"\xff\xff1": "v"})
	expect(t, j, string(make([]byte, journal.KeyBytesMax+1)), map[string]string{})
}

func rangeStops(t *testing.T, j journal.Journal, _ func() journal.Journal) {
	for _, key := range []string{"1", "2", "3"} {
		put(t, j, key, "v")
	}
	stop, calls := errors.New("stop"), 0
	err := j.Range(nil, func(_, _ []byte) error {
		calls++
		if calls == 2 {
			return stop
		}
		return nil
	})
	if err != stop || calls != 2 {
		t.Errorf("Range = %v after %d calls, want its fn's own error after 2", err, calls)
	}
}

// rangeIsOneMoment also holds that fn may use the journal.
func rangeIsOneMoment(t *testing.T, j journal.Journal, _ func() journal.Journal) {
	put(t, j, "1", "old")
	put(t, j, "2", "old")
	got := map[string]string{}
	err := j.Range(nil, func(key, value []byte) error {
		got[string(key)] = string(value)
		for _, other := range []string{"0", "1", "2", "3"} {
			put(t, j, other, "new")
			get(t, j, other, "new")
		}
		return nil
	})
	if want := map[string]string{"1": "old", "2": "old"}; err != nil || !maps.Equal(got, want) {
		t.Errorf("Range = %v, %v, want %v", got, err, want)
	}
	expect(t, j, "", map[string]string{"0": "new", "1": "new", "2": "new", "3": "new"})
}

func isolation(t *testing.T, j journal.Journal, reopen func() journal.Journal) {
	// More than the other records here, so that a file has pages of records.
	for i := range 100 {
		put(t, j, fmt.Sprintf("filler %d", i), string(make([]byte, 100)))
	}
	key, value := []byte("key"), []byte("value")
	if err := j.Put(key, value); err != nil {
		t.Fatal(err)
	}
	scribble(key)
	scribble(value)
	get(t, j, "key", "value")

	got, err := j.Get([]byte("key"))
	if err != nil {
		t.Fatal(err)
	}
	scribble(got)
	_ = append(got, "more"...)
	get(t, j, "key", "value")

	err = j.Range(nil, func(key, value []byte) error {
		scribble(key)
		scribble(value)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	expect(t, j, "key", map[string]string{"key": "value"})

	got, err = j.Get([]byte("key"))
	if err != nil {
		t.Fatal(err)
	}
	put(t, j, "key", "other")
	expect(t, reopen(), "key", map[string]string{"key": "other"})
	if string(got) != "value" {
		t.Errorf("what Get gave changed to %q", got)
	}
}

func limits(t *testing.T, j journal.Journal, _ func() journal.Journal) {
	put(t, j, "kept", "v")
	longKey, longValue := make([]byte, journal.KeyBytesMax+1), make([]byte, journal.ValueBytesMax+1)
	_, getEmpty := j.Get(nil)
	_, getLong := j.Get(longKey)
	for _, tt := range []struct {
		name  string
		err   error
		field string
		bytes int
	}{
		{"put without key", j.Put(nil, []byte("v")), "key", 0},
		{"put with long key", j.Put(longKey, []byte("v")), "key", len(longKey)},
		{"put of long value", j.Put([]byte("kept"), longValue), "value", len(longValue)},
		{"get without key", getEmpty, "key", 0},
		{"get with long key", getLong, "key", len(longKey)},
	} {
		limit, ok := errors.AsType[*journal.LimitError](tt.err)
		if !ok || !errors.Is(tt.err, journal.ErrLimit) || limit.Field != tt.field || limit.Bytes != tt.bytes {
			t.Errorf("%s: %v, want a LimitError for %s of %d bytes", tt.name, tt.err, tt.field, tt.bytes)
		}
	}
	expect(t, j, "", map[string]string{"kept": "v"})
}

func concurrentPuts(t *testing.T, j journal.Journal, reopen func() journal.Journal) {
	const writers, records = 8, 8
	want := map[string]string{}
	for w := range writers {
		for r := range records {
			want[fmt.Sprintf("%d/%d", w, r)] = fmt.Sprint(w * r)
		}
	}
	var group sync.WaitGroup
	for w := range writers {
		group.Go(func() {
			for r := range records {
				key, value := fmt.Sprintf("%d/%d", w, r), fmt.Sprint(w*r)
				if err := j.Put([]byte(key), []byte(value)); err != nil {
					t.Errorf("Put: %v", err)
				}
				if got, err := j.Get([]byte(key)); err != nil || string(got) != value {
					t.Errorf("Get(%q) = %q, %v after its Put", key, got, err)
				}
				if err := j.Put([]byte("shared"), []byte{byte(w), byte(w)}); err != nil {
					t.Errorf("Put: %v", err)
				}
				if got, err := j.Get([]byte("shared")); err != nil || len(got) != 2 || got[0] != got[1] {
					t.Errorf("a mixture: %v, %v", got, err)
				}
			}
		})
		group.Go(func() {
			seen := -1
			for range records {
				count := 0
				if err := j.Range(fmt.Appendf(nil, "%d/", w), func(_, _ []byte) error { count++; return nil }); err != nil {
					t.Errorf("Range: %v", err)
				}
				if count < seen {
					t.Errorf("Range saw %d records after %d", count, seen)
				}
				seen = count
			}
		})
	}
	group.Wait()

	shared, err := j.Get([]byte("shared"))
	if err != nil {
		t.Fatal(err)
	}
	want["shared"] = string(shared)
	expect(t, j, "", want)
	expect(t, reopen(), "", want)
}

func reopenKeepsAll(t *testing.T, j journal.Journal, reopen func() journal.Journal) {
	want := map[string]string{}
	for round := range 3 {
		for i := range 20 {
			key := fmt.Sprintf("%d/%d", i%3, i)
			want[key] = fmt.Sprintf("round %d of %s", round, key)
			put(t, j, key, want[key])
		}
		j = reopen()
		expect(t, j, "", want)
	}
}

func closeEnds(t *testing.T, j journal.Journal, reopen func() journal.Journal) {
	put(t, j, "key", "value")
	for range 3 {
		if err := j.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	if _, err := j.Get([]byte("key")); !errors.Is(err, journal.ErrClosed) {
		t.Errorf("Get = %v, want ErrClosed", err)
	}
	if err := j.Put([]byte("key"), []byte("late")); !errors.Is(err, journal.ErrClosed) {
		t.Errorf("Put = %v, want ErrClosed", err)
	}
	err := j.Range(nil, func(_, _ []byte) error { t.Error("Range called fn"); return nil })
	if !errors.Is(err, journal.ErrClosed) {
		t.Errorf("Range = %v, want ErrClosed", err)
	}
	get(t, reopen(), "key", "value")
}

func closeWhileInUse(t *testing.T, j journal.Journal, reopen func() journal.Journal) {
	const writers = 4
	var done [writers]int // Puts that returned nil
	var group sync.WaitGroup
	started := make(chan struct{}, writers)
	for w := range writers {
		group.Go(func() {
			for n := 1; ; n++ {
				err := j.Put([]byte{byte('a' + w)}, fmt.Append(nil, n))
				if errors.Is(err, journal.ErrClosed) {
					return
				}
				if err != nil {
					t.Errorf("Put: %v", err)
					return
				}
				if done[w] = n; n == 1 {
					started <- struct{}{}
				}
			}
		})
	}
	for range writers {
		<-started
	}
	if err := j.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	group.Wait()
	j = reopen()
	for w := range writers {
		get(t, j, string(rune('a'+w)), fmt.Sprint(done[w]))
	}
}

func put(t *testing.T, j journal.Journal, key, value string) {
	t.Helper()
	if err := j.Put([]byte(key), []byte(value)); err != nil {
		t.Fatalf("Put(%.40q): %v", key, err)
	}
}

func get(t *testing.T, j journal.Journal, key, want string) {
	t.Helper()
	if got, err := j.Get([]byte(key)); err != nil || string(got) != want {
		t.Errorf("Get(%.40q) = %.40q, %v, want %.40q", key, got, err, want)
	}
}

// expect compares all records below the prefix.
func expect(t *testing.T, j journal.Journal, prefix string, want map[string]string) {
	t.Helper()
	got := map[string]string{}
	err := j.Range([]byte(prefix), func(key, value []byte) error {
		got[string(key)] = string(value)
		return nil
	})
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("Range(%.40q) = %q, %v, want %q", prefix, got, err, want)
	}
}

func scribble(b []byte) {
	for i := range b {
		b[i] ^= 0xff
	}
}
