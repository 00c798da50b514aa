package main

import "context"

type neighbourConfig struct{}

func newNeighbour(bool) runner { return neighbourConfig{} }

func (c neighbourConfig) run(ctx context.Context, out *Result, log *progress) error { return nil }
