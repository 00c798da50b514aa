package main

import "context"

type memoryConfig struct{}

func newMemory(bool) runner { return memoryConfig{} }

func (c memoryConfig) run(ctx context.Context, out *Result, log *progress) error { return nil }
