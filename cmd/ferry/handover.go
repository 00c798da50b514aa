package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"ferry/cluster"
	"ferry/orchestrator"
)

// A ferry migrate --as o beside a running ferry orchestrator --name o hands its
// move over, through a unix socket in o's data directory, which its owner alone
// may open. Lines of JSON:
//
//	client  a handOverRequest, then at most {"cancel":true}
//	server  any number of handOverLines, the last of which has end
//
// The move goes on when the connection is lost.

const (
	handOverVersion  = 1
	handOverLineMax  = 1 << 20
	handOverPatience = 5 * time.Second // for a line to be taken
)

type handOverRequest struct {
	Version int           `json:"version"`
	Daemon  string        `json:"daemon,omitempty"`
	To      string        `json:"to,omitempty"`
	DryRun  bool          `json:"dry_run,omitempty"`
	Resume  bool          `json:"resume,omitempty"` // wait until every open move has ended
	Timeout time.Duration `json:"timeout"`          // nanoseconds
	Limit   byteRate      `json:"limit,omitempty"`  // bytes a second
	Wait    time.Duration `json:"wait,omitempty"`   // nanoseconds
}

type handOverCancel struct {
	Cancel bool `json:"cancel"`
}

// handOverLine has one of: a line for people, progress of a move from one node
// to another, the end of that, a result, or the end of all.
type handOverLine struct {
	Notice   string                 `json:"notice,omitempty"`
	From     string                 `json:"from,omitempty"`
	To       string                 `json:"to,omitempty"`
	Progress *orchestrator.Progress `json:"progress,omitempty"`
	Still    bool                   `json:"still,omitempty"` // no more progress of that move
	Result   *moveResult            `json:"result,omitempty"`
	Code     int                    `json:"code,omitempty"`
	Error    string                 `json:"error,omitempty"`
	Left     int                    `json:"left,omitempty"`
	End      bool                   `json:"end,omitempty"`
}

// socketPath is where an orchestrator takes moves.
func socketPath(file *cluster.File, name string) string {
	return filepath.Join(file.DataDir(name), "orchestrator.sock")
}

// errNobodyThere: no orchestrator runs under this name here.
var errNobodyThere = errors.New("no orchestrator runs here")

// dialOrchestrator is errNobodyThere also for a socket that a killed one left.
func dialOrchestrator(ctx context.Context, path string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", path)
	switch {
	case errors.Is(err, os.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.EINVAL):
		return nil, errNobodyThere // EINVAL: such a path cannot be a socket's
	case err != nil:
		return nil, fmt.Errorf("an orchestrator runs here, but cannot be asked: %w", err)
	}
	return conn, nil
}

// handOver gives the move to an orchestrator that runs here, and shows what it
// says until it has ended. Ctrl-C cancels the move there.
func (m *mover) handOver(ctx context.Context) (res moveResult, err error) {
	var result *handOverLine
	last, err := m.converse(ctx, handOverRequest{
		Version: handOverVersion, Daemon: m.opts.daemon, To: m.opts.to, DryRun: m.opts.dryRun, Timeout: m.opts.timeout,
		Limit: m.opts.limit, Wait: m.opts.wait,
	}, func(l handOverLine) error {
		if l.Result != nil {
			result = &l
		}
		return nil
	})
	switch {
	case err != nil:
		return res, err
	case last.Error != "":
		return res, &exitError{code: max(last.Code, exitFailed), err: errors.New(last.Error)}
	case result == nil:
		return res, errors.New("the orchestrator has said nothing of the move")
	}
	res = *result.Result
	res.code = result.Code
	return res, nil
}

// handOverResume waits until the orchestrator that runs here has settled what it
// has open, which it does by itself.
func (m *mover) handOverResume(ctx context.Context, emit func(moveResult) error) (left int, err error) {
	last, err := m.converse(ctx, handOverRequest{Version: handOverVersion, Resume: true, Timeout: m.opts.timeout}, func(l handOverLine) error {
		if l.Result == nil {
			return nil
		}
		return emit(*l.Result)
	})
	if err == nil && last.Error != "" {
		err = &exitError{code: max(last.Code, exitFailed), err: errors.New(last.Error)}
	}
	return last.Left, err
}

// converse sends a request and reads what comes until the last line, which it
// returns.
func (m *mover) converse(ctx context.Context, req handOverRequest, take func(handOverLine) error) (last handOverLine, err error) {
	conn, err := dialOrchestrator(ctx, socketPath(m.file, m.me.Name))
	if err != nil {
		return last, err
	}
	defer conn.Close()
	if err := json.NewEncoder(conn).Encode(req); err != nil {
		return last, fmt.Errorf("hand the move over: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = json.NewEncoder(conn).Encode(handOverCancel{Cancel: true}) })
	defer stop()
	var bar moveBar = noBar{}
	still := true
	defer func() { bar.end() }()
	lines := bufio.NewScanner(conn)
	lines.Buffer(nil, handOverLineMax)
	for lines.Scan() {
		var l handOverLine
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			return last, fmt.Errorf("the orchestrator says what cannot be read: %w", err)
		}
		switch {
		case l.Notice != "":
			fmt.Fprintln(m.stderr, oneLine(l.Notice))
		case l.Progress != nil:
			if still {
				bar, still = newMoveBar(m.stderr, m.opts.quiet, m.opts.daemon, l.From, l.To), false
			}
			bar.show(*l.Progress)
		case l.Still:
			bar.end()
			bar, still = noBar{}, true
		}
		if err := take(l); err != nil || l.End {
			return l, err
		}
	}
	return last, &exitError{code: exitInDoubt, err: errors.New(
		"the orchestrator ended before it said how the move did; it goes on when it is started again, and `ferry migrate --resume` does the same")}
}

// lineWriter writes handOverLines to a client, as long as it takes them.
type lineWriter struct {
	mu   sync.Mutex
	conn net.Conn
	gone bool
}

func (w *lineWriter) write(l handOverLine) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.gone {
		return
	}
	_ = w.conn.SetWriteDeadline(time.Now().Add(handOverPatience))
	w.gone = json.NewEncoder(w.conn).Encode(l) != nil
}

// noticeWriter makes lines of text that a mover writes lines for the client.
type noticeWriter struct{ to *lineWriter }

func (w noticeWriter) Write(p []byte) (int, error) {
	for line := range bytes.Lines(p) {
		w.to.write(handOverLine{Notice: string(bytes.TrimRight(line, "\n"))})
	}
	return len(p), nil
}

var _ io.Writer = noticeWriter{}

// remoteBar shows a move's progress at the client.
type remoteBar struct {
	to   *lineWriter
	from string
	dest string
}

func (b remoteBar) show(p orchestrator.Progress) {
	b.to.write(handOverLine{From: b.from, To: b.dest, Progress: &p})
}

func (b remoteBar) end() { b.to.write(handOverLine{Still: true}) }
