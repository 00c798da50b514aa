// Package quiet logs refusals so that whoever causes them cannot fill a disk with them: all are counted, few are
// written.
package quiet

import (
	"log/slog"
	"sync"
	"time"
)

const (
	// Interval is how long the same refusal of the same peer is not written again.
	Interval = 10 * time.Second
	// LinesMax is how many lines of one kind are written in an Interval: a stranger can come under any number of keys
	// and addresses.
	LinesMax = 16
)

// Log writes a line once per kind and peer in an Interval, and counts every call. It may be used by several goroutines.
type Log struct {
	log   *slog.Logger
	now   func() time.Time
	mu    sync.Mutex
	kinds map[string]*kind
}

type kind struct {
	total  uint64
	begun  time.Time
	seen   map[string]struct{} // at most LinesMax
	hidden uint64              // not written since the last line
}

// New writes to log.
func New(log *slog.Logger) *Log {
	return &Log{log: log, now: time.Now, kinds: make(map[string]*kind)}
}

// Warn counts one more of what, which is a text of ours, and writes a line unless who has had its line. The line says how
// many of the kind were not written before it.
func (l *Log) Warn(what, who string, args ...any) {
	l.mu.Lock()
	k := l.kinds[what]
	if k == nil {
		k = &kind{seen: make(map[string]struct{})}
		l.kinds[what] = k
	}
	k.total++
	if now := l.now(); now.Sub(k.begun) >= Interval {
		k.begun = now
		clear(k.seen)
	}
	_, seen := k.seen[who]
	if seen || len(k.seen) == LinesMax {
		k.hidden++
		l.mu.Unlock()
		return
	}
	k.seen[who] = struct{}{}
	hidden := k.hidden
	k.hidden = 0
	l.mu.Unlock()
	if hidden > 0 {
		args = append(args, slog.Uint64("not_shown", hidden))
	}
	l.log.Warn(what, args...)
}

// Counts is how often each kind has come.
func (l *Log) Counts() map[string]uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	counts := make(map[string]uint64, len(l.kinds))
	for what, k := range l.kinds {
		counts[what] = k.total
	}
	return counts
}
