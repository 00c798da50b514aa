package main

import (
	"context"
	"errors"
)

// pair is a contender of two processes, one of which sends to the other on demand.
type pair struct {
	source, sink string // roles
	from, to     *child
}

func (p *pair) start(ctx context.Context, cfg Config) (err error) {
	if p.to, err = startChild(ctx, p.sink); err != nil {
		return err
	}
	listening, err := p.to.ask(order{Do: "start", Config: cfg})
	if err != nil {
		return err
	}
	if p.from, err = startChild(ctx, p.source); err != nil {
		return err
	}
	_, err = p.from.ask(order{Do: "dial", Config: cfg, Peer: listening.Self})
	return err
}

func (p *pair) once(context.Context) (Sample, error) {
	before, err := cpuOf(p.from, p.to)
	if err != nil {
		return Sample{}, err
	}
	r, err := p.from.ask(order{Do: "send"})
	if err != nil {
		return Sample{}, err
	}
	after, err := cpuOf(p.from, p.to)
	r.Sample.CPUSeconds = after - before
	return r.Sample, err
}

func (p *pair) stop() error { return errors.Join(p.from.stop(), p.to.stop()) }
