package quiet

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestQuiet: one line per peer and kind in an interval, a few per kind, and all are counted.
func TestQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		l := New(slog.New(slog.NewTextHandler(&out, nil)))
		lines := func() int { defer out.Reset(); return strings.Count(out.String(), "\n") }
		for range 1000 {
			l.Warn("refused", "a")
			l.Warn("refused", "b")
			l.Warn("malformed", "a")
		}
		if n := lines(); n != 3 {
			t.Errorf("%d lines for two peers and two kinds, want 3", n)
		}
		for i := range 1000 {
			l.Warn("refused", fmt.Sprint(i))
		}
		if n := lines(); n != LinesMax-2 {
			t.Errorf("%d lines for a thousand more peers, want %d", n, LinesMax-2)
		}
		time.Sleep(Interval)
		l.Warn("refused", "a")
		if text := out.String(); !strings.Contains(text, fmt.Sprint("not_shown=", 1000-(LinesMax-2))) {
			t.Errorf("the next line is %q", text)
		}
		if got := l.Counts(); got["refused"] != 3001 || got["malformed"] != 1000 {
			t.Errorf("counted %v", got)
		}
	})
}
