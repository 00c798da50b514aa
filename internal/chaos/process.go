//go:build unix

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// process is a running ferry.
type process struct {
	name    string
	args    []string
	started time.Time
	cmd     *exec.Cmd
	stdin   io.Closer
	stdout  bytes.Buffer
	stderr  tail
	done    chan struct{} // closed when it has ended and was waited for
}

// tail keeps the end of what a process has said.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

const tailBytes = 32 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	if over := len(t.buf) - tailBytes; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
	return len(p), nil
}

func (t *tail) text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.TrimSpace(t.buf))
}

// start runs ferry. It ends with this process at the latest: its stdin does.
func (w *world) start(name string, args ...string) (*process, error) {
	p := &process{name: name, args: args, done: make(chan struct{})}
	p.cmd = exec.Command(w.ferry, args...)
	p.cmd.Env = append(os.Environ(), "FERRY_CHAOS="+w.orders.dir, "FERRY_CHAOS_NAME="+name)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for us alone
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	p.stdin, p.started = stdin, time.Now()
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		_ = p.cmd.Wait() // the exit code says it
		close(p.done)
	}()
	return p, nil
}

// kill is kill -9; it returns when the process is no more.
func (p *process) kill() error {
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-p.done
	return nil
}

// ended says whether the process has ended; exit is valid then.
func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// exit is the exit code, -1 for one that was killed.
func (p *process) exit() int { return p.cmd.ProcessState.ExitCode() }

// said is the end of its stderr, without what it says of each request.
func (p *process) said() string {
	lines := strings.Split(p.stderr.text(), "\n")
	return strings.Join(slices.DeleteFunc(lines, func(l string) bool { return strings.Contains(l, "kv request failed") }), "\n")
}

// lastLine is the last line of its stderr.
func (p *process) lastLine() string {
	text := p.stderr.text()
	return text[strings.LastIndexByte(text, '\n')+1:]
}
