package sim

import (
	"fmt"
	"io"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"ferry/migration"
)

// Counts are sums over episodes.
type Counts struct {
	Episodes, Moves, Orphans, Partitions, Chunks, Events, Steps, Checks uint64
	Deputies, Cleaned                                                   uint64 // moves that sources drove for chiefs; chiefs that heard CleanupComplete
	Gone                                                                uint64 // in-memory daemons that died, with no copy left
	Outcomes                                                            [8]uint64
	Faults                                                              [faults]uint64
	Broken                                                              map[string]uint64 // violations by name
}

// Report is what many episodes came to.
type Report struct {
	Counts
	Hits     Hits
	PerMove  [3][perMoveMax]uint32 // histograms: chunks, events, faults of a move
	Failures []*Failure            // the first few
	Took     time.Duration
	Seed     uint64
}

const perMoveMax = 4096

// Median of a histogram.
func (r *Report) median(k int) (m int) {
	var all, sum uint64
	for _, n := range r.PerMove[k] {
		all += uint64(n)
	}
	for i, n := range r.PerMove[k] {
		if sum += uint64(n); 2*sum >= all {
			return i
		}
	}
	return 0
}

// MedianChunks, MedianEvents and MedianFaults are of one move.
func (r *Report) MedianChunks() int { return r.median(0) }

// MedianEvents counts those that were accepted while the move was under way.
func (r *Report) MedianEvents() int { return r.median(1) }

// MedianFaults counts those that hit the daemon's nodes, frames and orchestrators while the move was under way.
func (r *Report) MedianFaults() int { return r.median(2) }

// Failure is an episode in which something was that must not be. Seed reproduces it.
type Failure struct {
	Config    Config
	Violation *Violation
	Moves     int // that had begun
	Trace     string
}

func (f *Failure) Error() string {
	return fmt.Sprintf("episode %d, move %d: %v", f.Config.Seed, f.Moves, f.Violation)
}

// Episode runs one; nil is one in which nothing was wrong. A package that tests its users' daemons gives Config a Factory
// and an own Seed.
func Episode(cfg Config) (failure *Failure) {
	_, failure = episode(cfg)
	return failure
}

// RunOne runs one episode, of that seed, and counts it.
func RunOne(cfg Config) *Report {
	r := &Report{Seed: cfg.Seed, Counts: Counts{Broken: map[string]uint64{}}}
	r.add(episode(cfg))
	return r
}

func episode(cfg Config) (w *world, failure *Failure) {
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		v, ok := p.(*Violation)
		if !ok {
			v = &Violation{Name: "panic", Detail: fmt.Sprintf("%v\n%s", p, debug.Stack())}
		}
		failure = &Failure{Config: cfg, Violation: v}
		if w != nil {
			failure.Moves, failure.Trace = w.began, w.trace.String()
		}
	}()
	w = newWorld(cfg)
	defer func() {
		for _, d := range w.opened {
			_ = d.Close()
		}
	}()
	w.run()
	return w, nil
}

// Options are for Run.
type Options struct {
	Seed    uint64
	Moves   int // at least so many
	Workers int // goroutines, each with worlds of its own; 0: 1
	Config  Config
	// FailuresMax ends the run; 0: 1.
	FailuresMax int
	Progress    func(moves uint64)
}

// Run runs episodes until there were enough moves. With one worker the same options give the same counts; with more an
// episode or two may be added.
func Run(o Options) *Report {
	workers := max(o.Workers, 1)
	total := &Report{Seed: o.Seed, Counts: Counts{Broken: map[string]uint64{}}}
	begun := time.Now()
	var (
		mu   sync.Mutex
		next uint64
		work sync.WaitGroup
	)
	seeds := func() (uint64, bool) {
		mu.Lock()
		defer mu.Unlock()
		if total.Moves >= uint64(o.Moves) || len(total.Failures) >= max(o.FailuresMax, 1) {
			return 0, false
		}
		next++
		return EpisodeSeed(o.Seed, next), true
	}
	for range workers {
		work.Go(func() {
			for {
				seed, ok := seeds()
				if !ok {
					return
				}
				cfg := o.Config
				cfg.Seed = seed
				w, failure := episode(cfg)
				mu.Lock()
				total.add(w, failure)
				if o.Progress != nil && total.Episodes%512 == 0 {
					o.Progress(total.Moves)
				}
				mu.Unlock()
			}
		})
	}
	work.Wait()
	total.Took = time.Since(begun)
	return total
}

// EpisodeSeed is that of the n-th episode of a run.
func EpisodeSeed(seed, n uint64) uint64 { return rand.NewPCG(seed, n).Uint64() >> 1 }

func (r *Report) add(w *world, failure *Failure) {
	if w != nil {
		c := &w.counts
		r.Moves += c.Moves
		r.Orphans += c.Orphans
		r.Deputies, r.Cleaned = r.Deputies+c.Deputies, r.Cleaned+c.Cleaned
		r.Partitions += c.Partitions
		r.Chunks += c.Chunks
		r.Events += c.Events
		r.Steps += w.steps
		r.Checks += c.Checks
		r.Gone += c.Gone
		for i, n := range c.Outcomes {
			r.Outcomes[i] += n
		}
		for i, n := range c.Faults {
			r.Faults[i] += n
		}
		for p := range w.hits {
			for f, n := range w.hits[p] {
				r.Hits[p][f] += n
			}
		}
		for _, m := range w.moves {
			for k, n := range []int{m.chunks, m.events, m.faults} {
				r.PerMove[k][min(n, perMoveMax-1)]++
			}
		}
	}
	r.Episodes++
	if failure != nil {
		r.Broken[failure.Violation.Name]++
		r.Failures = append(r.Failures, failure)
	}
}

// Print writes the figures.
func (r *Report) Print(out io.Writer) error {
	p := func(format string, args ...any) { fmt.Fprintf(out, format+"\n", args...) }
	b := r.Broken
	p("seed %d: %d moves in %d episodes, %d steps, %d times the invariants, %.1f s: %.0f moves a second",
		r.Seed, r.Moves, r.Episodes, r.Steps, r.Checks, r.Took.Seconds(), float64(r.Moves)/r.Took.Seconds())
	p("two owners %d, lost %d, doubled or reordered %d, stuck %d, wrong reports %d, other %d",
		b["I1"]+b["gate"], b["I2"]+b["I3"], b["client"]+b["twin"], b["L1"], b["result"],
		b["I4"]+b["I5"]+b["I6"]+b["P"]+b["chief"]+b["daemon"]+b["panic"]+b["move"]+b["flush"]+b["record"]+b["snapshot"])
	p("a median move: %d chunks, %d events, %d faults; in all %d chunks, %d events",
		r.MedianChunks(), r.MedianEvents(), r.MedianFaults(), r.Chunks, r.Events)
	line := "outcomes:"
	for o := migration.OutcomeCommitted; o <= migration.OutcomePrepared; o++ {
		line += fmt.Sprintf(" %v %d,", o, r.Outcomes[o])
	}
	p("%s orphaned %d; in-memory daemons that died with every copy %d", line, r.Orphans, r.Gone)
	p("%d moves were driven by their sources for an orchestrator with ten messages, %d of them retired", r.Deputies, r.Cleaned)
	line = "faults:"
	for f := range Fault(faults) {
		if f == Cut {
			line += fmt.Sprintf(" partitions %d,", r.Partitions)
		}
		line += fmt.Sprintf(" %v %d,", f, r.Faults[f])
	}
	p("%s", line[:len(line)-1])
	if err := r.Hits.Print(out); err != nil {
		return err
	}
	if missing := r.Hits.Missing(); len(missing) > 0 {
		p("%d triples of role, state and fault were not hit: %q", len(missing), missing)
	} else {
		p("every triple of role, state and fault that can be was hit")
	}
	return nil
}

// Shrink looks for a smaller episode that breaks the same invariant: fewer moves, nodes, daemons and kinds of faults,
// and other seeds where those changes need one. It runs at most tries episodes.
func Shrink(f *Failure, tries int) *Failure {
	best := *f
	fails := func(cfg Config) bool {
		if tries--; tries < 0 {
			return false
		}
		again := Episode(cfg)
		if again == nil || again.Violation.Name != f.Violation.Name {
			return false
		}
		best = *again
		return true
	}
	simpler := func(change func(*Config)) bool {
		for n := range uint64(40) {
			cfg := best.Config
			change(&cfg)
			if n > 0 {
				cfg.Seed = EpisodeSeed(f.Config.Seed, n)
			}
			if fails(cfg) {
				return true
			}
		}
		return false
	}
	simpler(func(c *Config) { c.Daemons = 1 })
	simpler(func(c *Config) { c.Nodes = 3 })
	for off := range Fault(faults) {
		simpler(func(c *Config) { c.Off[off] = true })
	}
	for _, moves := range slices.Backward([]int{8, 5, 3, 2, 1}) {
		if simpler(func(c *Config) { c.Moves = moves }) {
			break
		}
	}
	cfg := best.Config
	cfg.Trace = true
	if again := Episode(cfg); again != nil {
		best = *again
	}
	return &best
}
