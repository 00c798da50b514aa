package daemon

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"ferry/frame"
	"ferry/identity"
	"ferry/journal"
	"ferry/migration"
	"ferry/proto0500"
	"ferry/transport"
)

// Config is what a Host needs. Key, Dir, Journal, Kinds and Resolver are
// required; the zero value of the rest works.
type Config struct {
	Key      *identity.Key
	Dir      string          // the daemons' state lies below it
	Journal  journal.Journal // the records; it must lie on a disk that lasts as long as Dir's
	Kinds    []Kind
	Resolver transport.Resolver

	// Orchestrators may move this node's daemons. The zero value allows nobody:
	// the node then serves, and never moves anything.
	Orchestrators identity.AllowList
	// Askers may ask this node which daemons it has, and no more; those who may
	// orchestrate may ask in any case. The zero value adds nobody.
	Askers identity.AllowList
	// AllowPlain lets those of them that have only net-mesh's ten messages move
	// daemons away from this node, and ask it whether one has arrived. What such
	// a move cannot promise is in docs/compatibility.md. False: they are
	// refused, by this name.
	AllowPlain bool
	// OnAuthority is called when this node learns that the authority over a
	// daemon has changed: to itself, or to the target of a move away. It must
	// return at once.
	OnAuthority func(Authority)

	// Limits is what this node takes from a peer, and bounds an event's
	// payload. Zero: frame.Default.
	Limits frame.Limits
	// StateBytesMax is the largest snapshot that this node takes. 0: 1 TiB.
	StateBytesMax int64
	// AttemptsMax is how many daemons may be on their way here at once; more
	// are answered with NotReady. 0: 16.
	AttemptsMax int
	// IncomingBytesMax is how many bytes of state may be on their way here at
	// once; more are answered with NotReady, and a daemon that is larger is
	// refused. 0: what the disk takes, which is asked in any case.
	IncomingBytesMax int64
	// ChunkBytes is how much of a snapshot goes into one frame. 0: 128 KiB, which
	// with those of the other lanes fits a processor's own cache, and more where
	// the state is so large that it would have over 131,072 chunks, up to 1 MiB.
	ChunkBytes uint32
	// Lanes is how many streams carry a snapshot, at most 32. 0: as many as the
	// path wants, from 4 to 16 (transport.Session.Spread).
	Lanes int
	// BaseBytesMax is how much of the disk may be kept of daemons that are not
	// here: of their earlier stays, and of moves to here that failed. It makes
	// the next move to here cheaper. Those kept longest go first, and all of them
	// before a daemon is refused for want of disk. 0: 16 GiB; negative: nothing
	// is kept.
	BaseBytesMax int64
	// Compression is what is done to chunks that are sent from here. Auto: what
	// gets them to the target soonest, by measuring.
	Compression Compression
	// RateLimit bounds what this node sends of snapshots, in bytes a second, all
	// moves together; each gets the same of it. Events and control messages are
	// never held back. 0: no limit; otherwise at least RateLimitMin.
	RateLimit uint64
	// LogBytes is how far the host's log of a daemon grows before a checkpoint
	// replaces it. 0: 64 MiB.
	LogBytes int64

	// MemoryLogBytes is how much of an in-memory daemon's log is held while it
	// is copied; a target that falls behind further ends the move. 0: 64 MiB.
	MemoryLogBytes int

	// ResumeFor is how long after the loss of a connection a move waits for the
	// way back, before it ends; through a relay twice as long. Only what has not
	// arrived is sent again then. 0: 4 s; negative: a lost connection ends the
	// move.
	ResumeFor time.Duration
	// AttemptTimeout ends a move that has made no progress for so long. 0: 30 s.
	AttemptTimeout time.Duration
	// Behind is what becomes of a move away from here whose target replays events
	// no faster than writers add them. Zero: SlowWriters.
	Behind Behind
	// BehindWindow is over how long the rates of writers and target are compared;
	// the target tells ten times a second. 0: 1 s.
	BehindWindow time.Duration
	// BlackoutMax is how long writes wait for a cutover before the source
	// serves on and tries again. 0: 2 s.
	BlackoutMax time.Duration
	// AskEvery is how often source and target ask each other how an interrupted
	// move ended. 0: 500 ms.
	AskEvery time.Duration
	// Retain is how long the source keeps its copy after the target went live,
	// when no orchestrator releases it. 0: 30 s.
	Retain time.Duration

	// Transport adjusts the endpoint's configuration before it is made; its
	// Key, Resolver and Handler are the host's. May be nil.
	Transport func(*transport.Config)

	// Now is the wall clock, for information only. Nil: time.Now.
	Now func() time.Time
	Log *slog.Logger // nil: discarded
}

// Compression is how chunks are sent.
type Compression uint8

const (
	// CompressionAuto compresses where that is faster than to send more.
	CompressionAuto Compression = 0
	// CompressionOff sends chunks as they are. What is all zeros, or lies at the
	// target, is not sent even so.
	CompressionOff Compression = 1
)

// Authority says which node serves a daemon from an epoch on.
type Authority struct {
	Name   string
	Origin proto0500.Origin
	Node   proto0500.NodeID
	Epoch  frame.Epoch
}

func (c *Config) validate() error {
	switch {
	case c.Key == nil:
		return errors.New("daemon: Config.Key is required")
	case c.Dir == "":
		return errors.New("daemon: Config.Dir is required")
	case c.Journal == nil:
		return errors.New("daemon: Config.Journal is required")
	case c.Resolver == nil:
		return errors.New("daemon: Config.Resolver is required")
	}
	for _, k := range c.Kinds {
		if len(k.Name) == 0 || len(k.Name) > 255 || k.Open == nil {
			return fmt.Errorf("daemon: kind %q needs a name of 1 to 255 bytes and an Open", k.Name)
		}
	}
	if c.Limits == (frame.Limits{}) {
		c.Limits = frame.Default()
	}
	if c.RateLimit > 0 && c.RateLimit < RateLimitMin {
		return fmt.Errorf("daemon: Config.RateLimit is %d, allowed are %d and more", c.RateLimit, RateLimitMin)
	}
	if c.Compression > CompressionOff {
		return fmt.Errorf("daemon: Config.Compression is %d", c.Compression)
	}
	if c.Behind > GiveUp {
		return fmt.Errorf("daemon: Config.Behind is %v", c.Behind)
	}
	setDefault(&c.BaseBytesMax, 16<<30)
	setDefault(&c.StateBytesMax, 1<<40)
	setDefault(&c.AttemptsMax, 16)
	setDefault(&c.LogBytes, 64<<20)
	setDefault(&c.MemoryLogBytes, 64<<20)
	setDefault(&c.ResumeFor, 4*time.Second)
	setDefault(&c.AttemptTimeout, 30*time.Second)
	setDefault(&c.BehindWindow, time.Second)
	setDefault(&c.BlackoutMax, 2*time.Second)
	setDefault(&c.AskEvery, 500*time.Millisecond)
	setDefault(&c.Retain, 30*time.Second)
	c.ChunkBytes = min(c.ChunkBytes, c.Limits.ChunkBytesMax)
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}

func setDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// timer is how long each of the core's timers runs.
func (c *Config) timer(t migration.Timer) time.Duration {
	switch t {
	case migration.TimerAttempt:
		return c.AttemptTimeout
	case migration.TimerBlackout:
		return c.BlackoutMax
	case migration.TimerRetain:
		return c.Retain
	default:
		return c.AskEvery
	}
}

// lanesMax is how many lanes there may be, away from here and to here.
func (c *Config) lanesMax() int {
	if c.Lanes == 0 {
		return 16
	}
	return c.Lanes
}
