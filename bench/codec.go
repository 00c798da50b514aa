package main

import "context"

type codecConfig struct{}

func newCodec(bool) runner { return codecConfig{} }

func (c codecConfig) run(ctx context.Context, out *Result, log *progress) error { return nil }
