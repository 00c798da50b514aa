package main

import "context"

type blackoutConfig struct{}

func newBlackout(bool) runner { return blackoutConfig{} }

func (c blackoutConfig) run(ctx context.Context, out *Result, log *progress) error { return nil }
