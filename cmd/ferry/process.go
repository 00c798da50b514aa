package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"ferry/examples/kv"
)

// process is one of the demo's processes, whose output goes to a log file.
type process struct {
	name  string
	cmd   *exec.Cmd
	stdin io.WriteCloser
	log   *os.File
	done  chan struct{} // closed when it has ended
	err   error         // of Wait, before done is closed
}

// command is this program with other arguments, in a process group of its own:
// Ctrl-C at a terminal is for this process, which then ends the others in order.
func (d *demo) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, d.opts.exe, args...)
	cmd.Env = append(os.Environ(), d.opts.env...)
	cmd.SysProcAttr = ownGroup()
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// start starts a process that stopAll will end, and that ends by itself should
// this process be killed: its input ends then.
func (d *demo) start(name string, args ...string) (*process, error) {
	log, err := os.Create(d.path(strings.ReplaceAll(name, " ", "-") + ".log"))
	if err != nil {
		return nil, err
	}
	cmd := d.command(context.Background(), args...)
	cmd.Stdout, cmd.Stderr = log, log
	p := &process{name: name, cmd: cmd, log: log, done: make(chan struct{})}
	if p.stdin, err = cmd.StdinPipe(); err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", name, err), log.Close())
	}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	d.procs = append(d.procs, p)
	return p, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// finish ends the process's input and waits for it to end by itself.
func (p *process) finish(timeout time.Duration) error {
	_ = p.stdin.Close()
	select {
	case <-p.done:
		return p.failure()
	case <-time.After(timeout):
		return fmt.Errorf("%s did not end within %v", p.name, timeout)
	}
}

// failure is why it ended, with the last line that it wrote.
func (p *process) failure() error {
	if p.err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w: %s", p.name, p.err, p.lastLine())
}

func (p *process) lastLine() string {
	b, err := os.ReadFile(p.log.Name())
	if err != nil {
		return err.Error()
	}
	lines := bytes.Split(bytes.TrimSpace(b), []byte("\n"))
	return string(lines[len(lines)-1])
}

// endTimeout is how long a process may take to end on SIGTERM.
const endTimeout = 2 * (drainTimeout + stopTimeout)

// stopAll ends what still runs, last started first.
func (d *demo) stopAll() (err error) {
	for i := len(d.procs) - 1; i >= 0; i-- {
		p := d.procs[i]
		_ = p.stdin.Close()
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
	}
	for _, p := range d.procs {
		select {
		case <-p.done:
		case <-time.After(endTimeout):
			err = errors.Join(err, fmt.Errorf("%s did not end on SIGTERM and was killed", p.name))
			_ = p.cmd.Process.Kill()
			<-p.done
		}
		_ = p.log.Close()
	}
	return err
}

// awaitNode polls a node's HTTP API until it answers, and has the daemon if it
// is to have it.
func (d *demo) awaitNode(ctx context.Context, p *process, base string, authority bool) error {
	client, err := kv.NewClient(nil, base)
	if err != nil {
		return err
	}
	defer client.CloseIdle()
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		st, err := client.State(ctx, base, false)
		if err == nil && (st.Authority || !authority) {
			return nil
		}
		select {
		case <-tick.C:
		case <-p.done:
			return fmt.Errorf("%s ended: %s", p.name, p.lastLine())
		case <-ctx.Done():
			return fmt.Errorf("%s does not serve: %w", p.name, context.Cause(ctx))
		}
	}
}
