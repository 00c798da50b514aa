package main

import (
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"

	"ferry/migration"
	"ferry/orchestrator"
	"ferry/proto0500"
)

// moveBar shows a move's progress on stderr: a live bar on a terminal, a line a
// phase elsewhere.
type moveBar interface {
	show(orchestrator.Progress)
	end()
}

func newMoveBar(w io.Writer, quiet bool, daemon, from, to string) moveBar {
	if quiet {
		return noBar{}
	}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return newLiveBar(w, daemon, from, to)
	}
	return &lineBar{w: w, what: fmt.Sprintf("%s %s → %s", daemon, from, to)}
}

// laterBar opens a bar once the target has said yes.
type laterBar struct {
	open func() moveBar
	bar  moveBar
}

func (b *laterBar) show(p orchestrator.Progress) {
	if b.bar == nil && p.Phase > migration.PhasePrepare {
		b.bar = b.open()
	}
	if b.bar != nil {
		b.bar.show(p)
	}
}

func (b *laterBar) end() {
	if b.bar != nil {
		b.bar.end()
	}
}

type noBar struct{}

func (noBar) show(orchestrator.Progress) {}
func (noBar) end()                       {}

// liveBar is one bar: phase, bytes, rate, remaining, event backlog.
type liveBar struct {
	w        io.Writer
	progress *mpb.Progress
	bar      *mpb.Bar
	now      atomic.Pointer[orchestrator.Progress] // read by mpb's goroutine
	bytes    int64
	last     time.Time
}

func newLiveBar(w io.Writer, daemon, from, to string) *liveBar {
	b := &liveBar{w: w, last: time.Now()}
	b.now.Store(new(orchestrator.Progress))
	b.progress = mpb.New(mpb.WithOutput(w), mpb.WithWidth(30), mpb.WithRefreshRate(100*time.Millisecond))
	b.bar = b.progress.New(0, mpb.BarStyle(),
		mpb.PrependDecorators(
			decor.Name(fmt.Sprintf("%s %s → %s ", daemon, from, to)),
			decor.Any(func(decor.Statistics) string { return fmt.Sprintf("%-8s ", b.now.Load().Phase) }),
			decor.CountersKibiByte("% .1f / % .1f"),
		),
		mpb.AppendDecorators(
			decor.EwmaSpeed(decor.SizeB1024(0), "% .0f ", 30),
			decor.EwmaETA(decor.ET_STYLE_MMSS, 30), decor.Name(" left, "),
			decor.Any(func(decor.Statistics) string {
				p := *b.now.Load()
				return fmt.Sprintf("%d events behind%s", backlog(p), limited(p))
			}),
		),
	)
	return b
}

func (b *liveBar) show(p orchestrator.Progress) {
	b.now.Store(&p)
	total, done := int64(p.Source[proto0500.CounterStateBytes]), int64(p.Target[proto0500.CounterBytesDone])
	done = min(done, total)
	if total > 0 {
		b.bar.SetTotal(total, false)
	}
	now := time.Now()
	if done > b.bytes {
		b.bar.EwmaIncrInt64(done-b.bytes, now.Sub(b.last))
		b.bytes, b.last = done, now
	}
}

func (b *liveBar) end() {
	p := *b.now.Load()
	if p.Phase == migration.PhaseComplete {
		b.bar.SetTotal(-1, true)
	} else {
		b.bar.Abort(false)
	}
	b.progress.Wait()
	if p.Notice != "" {
		fmt.Fprintln(b.w, oneLine(p.Notice))
	}
}

// backlog is how many events the source has accepted that it has not sent yet.
func backlog(p orchestrator.Progress) uint64 { return p.Source[proto0500.CounterBacklog] }

// limited says so where the snapshot's rate is limited.
func limited(p orchestrator.Progress) string {
	if n := p.Source[proto0500.CounterRateLimit]; n > 0 {
		return fmt.Sprintf(", at most %v", byteRate(n))
	}
	return ""
}

// lineBar prints a line for each phase, and one a second while bytes move.
type lineBar struct {
	w      io.Writer
	what   string
	phase  migration.Phase
	begun  bool
	notice string
	last   time.Time
	bytes  uint64
}

// lineEvery is how often a line is printed inside a phase.
const lineEvery = time.Second

func (b *lineBar) show(p orchestrator.Progress) {
	now := time.Now()
	if p.Notice != b.notice {
		b.notice = p.Notice
		fmt.Fprintf(b.w, "%s  %s\n", b.what, oneLine(p.Notice))
	}
	if b.begun && p.Phase == b.phase && now.Sub(b.last) < lineEvery || p.Epoch == 0 && p.Phase != migration.PhaseBegin {
		return
	}
	total, done := p.Source[proto0500.CounterStateBytes], p.Target[proto0500.CounterBytesDone]
	if done = min(done, total); p.Phase >= migration.PhaseReplay {
		done = total // it has been restored; the count is still on its way
	}
	line := b.what + "  " + p.Phase.String()
	if total > 0 {
		line = fmt.Sprintf("%s  %-8s  %3d%%  %s of %s", b.what, p.Phase, done*100/total, size(done), size(total))
		if rate := float64(done-min(b.bytes, done)) / now.Sub(b.last).Seconds(); b.begun && rate > 0 && p.Phase == b.phase {
			line += fmt.Sprintf("  %s/s", size(uint64(rate)))
			if left := time.Duration(float64(total-done) / rate * float64(time.Second)).Round(time.Second); left > 0 {
				line += fmt.Sprintf("  %v left", left)
			}
		}
		if p.Phase < migration.PhaseCutover { // then it is nothing, and the count is still on its way
			line += fmt.Sprintf("  %d events behind%s", backlog(p), limited(p))
		}
	}
	fmt.Fprintln(escaped{b.w}, line)
	b.begun, b.phase, b.last, b.bytes = true, p.Phase, now, done
}

func (b *lineBar) end() {}
