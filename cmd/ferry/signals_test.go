package main

import (
	"context"
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
)

func TestSignalEndsContext(t *testing.T) {
	ctx, stop := withSignals(context.Background())
	defer stop()
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if err := self.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-ctx.Done()
	if cause := context.Cause(ctx); !strings.Contains(cause.Error(), "terminated") {
		t.Errorf("cause: %v", cause)
	}
}

func TestParentEndsContext(t *testing.T) {
	boom := errors.New("boom")
	parent, cancel := context.WithCancelCause(context.Background())
	ctx, stop := withSignals(parent)
	defer stop()
	cancel(boom)
	<-ctx.Done()
	if cause := context.Cause(ctx); !errors.Is(cause, boom) {
		t.Errorf("cause: %v", cause)
	}
}
