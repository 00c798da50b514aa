package kv

import (
	"log/slog"

	"ferry/daemon"
)

// Schema is the version of the state and the events that this package writes.
const Schema = 1

// Options of a store. The zero value is a store that starts empty.
type Options struct {
	// FillBytes of values are loaded when a daemon is created, below its first
	// event: incompressible, the same for the same FillSeed. Default 0.
	FillBytes int64
	FillSeed  uint64

	// MapBytes is how much address space the file is mapped into from the
	// start. While the file is smaller, an open snapshot stops no writer.
	// Default: 64 GiB where pointers have 64 bits, and four times the file
	// where that is more; less where the system refuses that much.
	MapBytes int64

	// GrowBytes is by how much the file grows at once; each growth costs a
	// sync. Default 64 MiB.
	GrowBytes int
}

// Kind makes kv daemons, for a host to register.
func Kind(opts Options) daemon.Kind {
	return daemon.Kind{
		Name:   "kv",
		Schema: Schema,
		Open: func(env daemon.Env) (daemon.Daemon, error) {
			s, err := Open(env, opts)
			if err != nil {
				return nil, err
			}
			return s, nil
		},
	}
}

func logger(l *slog.Logger) *slog.Logger {
	if l == nil {
		return slog.New(slog.DiscardHandler)
	}
	return l
}
