// Package migratetest tries whether a daemon of yours can be moved.
//
//	func TestMoves(t *testing.T) {
//		migratetest.Run(t, kind, migratetest.Options{Generate: event})
//	}
//
// [Run] first holds the daemon, by itself, against what package daemon asks of its author: Apply is deterministic,
// Snapshot is a copy, Restore is the other end of Snapshot, and a [daemon.Durable] keeps what it has said it keeps. Then
// it moves the daemon in a simulated world around ferry's own protocol code: frames that are lost, doubled, late,
// reordered or come back from an earlier attempt, partitions, crashes at every step with only what was synced, failing
// writes, aborts, several orchestrators, moves back and forth. After every move, and at the end, the daemon is held
// against a twin that was given the same events and never moved.
//
// What is found is made small, and told as a short story: which events, which steps, what differs, and where to look.
package migratetest

import (
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"ferry/daemon"
)

// Options say what the daemon's events look like and how much is tried. The zero value works for a daemon that takes
// any payload.
type Options struct {
	// Generate makes the payload of one event that the daemon accepts, from r alone. Default: up to 16 random bytes.
	Generate func(r *rand.Rand) []byte

	// State gives what the daemon's state is, as bytes that are equal where two states are. It is needed where
	// snapshots of equal states may differ, as those of a database file do. Default: the bytes of Snapshot, and the
	// fields of the daemon's struct.
	State func(d daemon.Daemon) ([]byte, error)

	// Ignore names fields of the daemon's struct that are no state, such as a cache: "cache", "index.hits". Functions,
	// channels, locks, files, loggers and what comes from other modules are ignored anyway, and so is what differs
	// between two daemons that never moved.
	Ignore []string

	// Seed decides everything that is by chance. 0: another one each time, printed when something is found.
	Seed uint64

	// Moves is how many are simulated. Default 300.
	Moves int

	// Events is how many one daemon is given, at most, before it is simulated. Default 24.
	Events int

	// Timeout ends the trying: nothing new is begun after it. Default 10 s.
	Timeout time.Duration
}

// rounds is how often the daemon is held against the interface's rules, each time with other events.
const rounds = 12

func (o Options) withDefaults() Options {
	if o.Generate == nil {
		o.Generate = func(r *rand.Rand) []byte {
			b := make([]byte, r.IntN(17))
			for i := range b {
				b[i] = byte(r.Uint32())
			}
			return b
		}
	}
	if o.Seed == 0 {
		o.Seed = rand.Uint64()>>1 | 1
	}
	if o.Moves == 0 {
		o.Moves = 300
	}
	if o.Events == 0 {
		o.Events = 24
	}
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Second
	}
	return o
}

// Run tries kind and reports the first fault that it finds, with t.Error. At most one Options is used.
func Run(t testing.TB, kind daemon.Kind, opts ...Options) {
	t.Helper()
	var o Options
	if len(opts) > 0 {
		o = opts[0]
	}
	o = o.withDefaults()
	k := newKit(kind, t.TempDir(), o)
	defer k.sweep()
	f := k.tryRules()
	if f == nil {
		f = k.simulate()
	}
	switch {
	case f != nil:
		t.Errorf("%s", f.story(o.Seed))
	case k.moves == 0:
		t.Errorf("migratetest: there was no time for a single simulated move: Options.Timeout is %v", o.Timeout)
	default:
		t.Logf("migratetest: %d moves with %d events and %d faults, seed %d: as if never moved", k.moves, k.events, k.faults, o.Seed)
	}
}

// tryRules holds the daemon against the interface's rules.
func (k *kit) tryRules() *fault {
	r := rand.New(rand.NewPCG(k.opts.Seed, 0x72756c6573))
	for i := range rounds {
		if i > 0 && time.Since(k.begun) > k.opts.Timeout/2 {
			break
		}
		c := k.draw(r)
		if f := k.try(c); f != nil {
			return k.shrink(c, f)
		}
	}
	return nil
}

// draw makes a trial of random events.
func (k *kit) draw(r *rand.Rand) trial {
	c := trial{seed: r.Uint64()}
	for range 1 + r.IntN(k.opts.Events) {
		c.before = append(c.before, k.opts.Generate(r))
	}
	for range 1 + r.IntN(max(k.opts.Events/2, 1)) {
		c.after = append(c.after, k.opts.Generate(r))
	}
	return c
}

// try goes through the rules in an order in which the first that is broken is the one to blame.
func (k *kit) try(c trial) *fault {
	for _, rule := range []func(trial) *fault{k.ruleSame, k.ruleRestore, k.ruleCopy, k.ruleDurable} {
		f := rule(c)
		k.sweep()
		for i := 0; f != nil && f.kind != "nondeterministic" && f.kind != "layout" && i < 6; i++ {
			if same := k.ruleSame(c); same != nil {
				f = same // it shows only now and then, and would explain the other
			}
			k.sweep()
		}
		if f != nil {
			f.trial = c
			return f
		}
	}
	return nil
}

// sweep closes what is still open, and removes what it left.
func (k *kit) sweep() {
	for _, s := range k.all {
		s.close()
		_ = os.RemoveAll(s.dir)
	}
	k.all = k.all[:0]
}
