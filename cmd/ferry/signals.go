package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// withSignals gives a command that can end cleanly a context that the first SIGINT or SIGTERM ends; context.Cause says
// which. The second one ends the process at once. The other commands leave signals alone: a filter that waits for its
// input has nothing to clean up.
func withSignals(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}
