package migratetest

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"time"

	"ferry/daemon"
	"ferry/internal/sim"
	"ferry/proto0500"
)

// guest is a specimen as the simulator sees it.
type guest struct {
	*specimen
	st   *stay
	id   int
	last proto0500.Seq
}

// stay is one episode of the simulator, told from the daemon's side.
type stay struct {
	k        *kit
	copies   int
	told     []string
	applying []span         // by copy: what is not told yet
	chain    []daemon.Event // the longest that a copy was given from the beginning
	compared [2]*look       // the last two
}

type span struct{ first, last proto0500.Seq }

// look is a picture of a copy.
type look struct {
	id int
	p  picture
}

// tell what copy id does.
func (st *stay) tell(id int, format string, args ...any) {
	st.pause(id)
	st.told = append(st.told, fmt.Sprintf("copy %d", id)+fmt.Sprintf(format, args...))
}

// pause ends a copy's run of events.
func (st *stay) pause(id int) {
	for len(st.applying) <= id {
		st.applying = append(st.applying, span{})
	}
	switch at := st.applying[id]; {
	case at.first == 0:
		return
	case at.first == at.last:
		st.told = append(st.told, fmt.Sprintf("copy %d applied event %d", id, at.first))
	default:
		st.told = append(st.told, fmt.Sprintf("copy %d applied events %d to %d", id, at.first, at.last))
	}
	st.applying[id] = span{}
}

func (st *stay) applied(id int, seq proto0500.Seq) {
	if at := &st.applying[id]; at.first == 0 {
		*at = span{seq, seq}
	}
	st.applying[id].last = seq
}

func (st *stay) open(created bool) (sim.Daemon, error) {
	s, err := st.k.open(created)
	if err != nil {
		return nil, err
	}
	return st.guest(s, map[bool]string{true: "as a new daemon", false: "to be given a state"}[created]), nil
}

func (st *stay) guest(s *specimen, how string) sim.Daemon {
	st.copies++
	g := &guest{specimen: s, st: st, id: st.copies}
	if g.id == 2 {
		how += ": the twin, which never moves"
	}
	st.tell(g.id, " is opened, %s", how)
	if _, ok := s.durable(); ok {
		return &ownLog{g}
	}
	return g
}

func (g *guest) Apply(events []sim.Event) error {
	list := make([]daemon.Event, len(events))
	for i, e := range events {
		list[i] = daemon.Event(e)
		g.st.applied(g.id, e.Seq)
		g.last = e.Seq
	}
	if err := g.give(list); err != nil {
		return err
	}
	if len(g.events) > 0 && g.events[0].Seq == 1 && len(g.events) > len(g.st.chain) {
		g.st.chain = g.events
	}
	return nil
}

func (g *guest) Snapshot() (sim.Snapshot, error) {
	g.endSnapshots() // of an earlier attempt
	g.st.tell(g.id, ": Snapshot at event %d", g.last)
	return g.snapshot()
}

func (g *guest) Restore(s sim.State) error {
	g.st.tell(g.id, ": Restore of %d bytes", s.Size())
	b := make([]byte, s.Size())
	if n, err := s.ReadAt(b, 0); n < len(b) {
		return err
	}
	return g.restore(b)
}

func (g *guest) Close() error {
	g.st.tell(g.id, ": Close")
	g.close()
	return nil
}

func (g *guest) Picture() ([]byte, error) {
	p, err := g.picture()
	g.st.compared[0], g.st.compared[1] = g.st.compared[1], &look{g.id, p}
	return g.k.flat(p), err
}

func (g *guest) Digest() (sum uint64, err error) {
	if d, ok := g.d.(daemon.Digester); ok {
		err = guard("Digest", func() (err error) { sum, err = d.Digest(); return err })
	}
	return sum, err
}

// ownLog is a guest that keeps its log.
type ownLog struct{ *guest }

func (g *ownLog) Sync() error {
	own, _ := g.durable()
	return guard("Sync", own.Sync)
}

func (g *ownLog) Crash() (sim.Daemon, proto0500.Seq, error) {
	again, err := g.crashed()
	if err != nil {
		return nil, 0, err
	}
	g.specimen.close()
	own, _ := again.durable()
	var head daemon.Head
	if err := guard("Head", func() (err error) { head, err = own.Head(); return err }); err != nil {
		return nil, 0, err
	}
	return g.st.guest(again, fmt.Sprintf("on what a crash of copy %d left", g.id)), head.Seq, nil
}

// simulate moves the daemon until there were enough moves.
func (k *kit) simulate() *fault {
	chunk, err := k.chunkBytes()
	if err != nil {
		return broken(err)
	}
	durable := !k.kind.InMemory
	base := sim.Config{Daemons: 1, Durable: &durable, Moves: 4, Factory: sim.Factory{Payload: k.opts.Generate, ChunkBytes: chunk}}
	for n := uint64(1); k.moves < uint64(k.opts.Moves) && (n == 1 || time.Since(k.begun) < k.opts.Timeout); n++ {
		cfg := base
		cfg.Seed = sim.EpisodeSeed(k.opts.Seed, n)
		if st, failure := k.episode(cfg, true); failure != nil {
			return k.explain(st, failure)
		}
	}
	return nil
}

// episode runs one, and counts it if asked.
func (k *kit) episode(cfg sim.Config, counted bool) (*stay, *sim.Failure) {
	st := &stay{k: k}
	cfg.Factory.Open = st.open
	defer k.sweep()
	if !counted {
		return st, sim.Episode(cfg)
	}
	report := sim.RunOne(cfg)
	if len(report.Failures) > 0 {
		return st, report.Failures[0]
	}
	k.moves += report.Moves
	k.events += report.Events
	for _, n := range report.Faults {
		k.faults += n
	}
	return st, nil
}

// chunkBytes is such that a snapshot has a dozen chunks or so.
func (k *kit) chunkBytes() (uint32, error) {
	defer k.sweep()
	r := rand.New(rand.NewPCG(k.opts.Seed, 0x6368756e6b))
	s, err := k.open(true)
	for range k.opts.Events {
		if err == nil {
			err = s.apply(k.opts.Generate(r))
		}
	}
	if err != nil {
		return 0, err
	}
	b, err := s.image()
	return uint32(min(max(len(b)/12, 24), 1<<16)), err
}

// authors are the violations that are the daemon's doing.
func authors(v *sim.Violation) bool { return v.Name == "daemon" || v.Name == "twin" }

// explain makes an episode small, and asks the rules about its events.
func (k *kit) explain(st *stay, failure *sim.Failure) *fault {
	if !authors(failure.Violation) {
		return &fault{
			kind: "ferry", moved: true, wrong: "ferry itself broke a promise, which no daemon should be able to cause: " + failure.Error(),
			look: "report this with the seed; it is no fault of the daemon's as far as can be told",
		}
	}
	st, failure = k.smaller(st, failure)
	if f := k.blame(st); f != nil {
		return f
	}
	var needed []string
	for f, off := range failure.Config.Off {
		if !off {
			needed = append(needed, sim.Fault(f).String())
		}
	}
	for id := range st.applying {
		st.pause(id)
	}
	steps := st.told
	for len(steps) > 0 && strings.HasSuffix(steps[len(steps)-1], ": Close") {
		steps = steps[:len(steps)-1]
	}
	const most = 16
	if len(steps) > most {
		steps = append([]string{fmt.Sprintf("(%d steps before)", len(steps)-most)}, steps[len(steps)-most:]...)
	}
	wrong := afterTime.ReplaceAllString(failure.Violation.Detail, "")
	look := "each step is a call of the daemon, by copies on several nodes. State outside the daemon (globals, files elsewhere, the clock) " +
		"is shared by the copies here, and is not on another machine"
	if a, b := st.compared[0], st.compared[1]; failure.Violation.Name == "twin" && a != nil {
		d := k.diff(a.p, b.p)
		steps = append(steps, d.words(fmt.Sprintf("copy %d, which was moved,", a.id), "the twin")...)
		look += d.at()
		wrong = fmt.Sprintf("it differs from a twin that was given the same %s", count(len(st.chain)))
	}
	with := "with no fault injected"
	if len(needed) > 0 {
		with = "with the faults: " + strings.Join(needed, ", ")
	}
	return &fault{
		kind: "moved", moved: true, steps: steps,
		wrong: fmt.Sprintf("after %s, %s, the daemon is not what it would be had it never moved: %s", moves(failure.Moves), with, wrong),
		look:  look,
	}
}

// afterTime is the simulator's time, which means nothing to an author.
var afterTime = regexp.MustCompile(`^after \d+ µs: `)

func moves(n int) string {
	if n == 1 {
		return "1 simulated move"
	}
	return fmt.Sprintf("%d simulated moves", n)
}

// blame tries the rules on the events of an episode.
func (k *kit) blame(st *stay) *fault {
	var events [][]byte
	for _, e := range st.chain {
		events = append(events, e.Payload)
	}
	for i := range 8 {
		n := len(events) * i / 8
		c := trial{before: events[:n], after: events[n:], seed: uint64(i)}
		if f := k.try(c); f != nil {
			return k.shrink(c, f)
		}
	}
	return nil
}

// smaller looks for an episode with fewer faults, moves and nodes in which the author's daemon still fails.
func (k *kit) smaller(st *stay, failure *sim.Failure) (*stay, *sim.Failure) {
	end := time.Now().Add(k.opts.Timeout / 2)
	seed := failure.Config.Seed
	simpler := func(change func(*sim.Config)) bool {
		for n := range uint64(6) {
			if time.Now().After(end) {
				return false
			}
			cfg := failure.Config
			change(&cfg)
			if n > 0 {
				cfg.Seed = sim.EpisodeSeed(seed, n)
			}
			if s, f := k.episode(cfg, false); f != nil && authors(f.Violation) {
				st, failure = s, f
				return true
			}
		}
		return false
	}
	for moves := 1; moves < 4 && !simpler(func(c *sim.Config) { c.Moves = moves }); moves++ {
		continue
	}
	simpler(func(c *sim.Config) {
		for f := range c.Off {
			c.Off[f] = true
		}
	})
	for f := range failure.Config.Off {
		if !failure.Config.Off[f] {
			simpler(func(c *sim.Config) { c.Off[f] = true })
		}
	}
	simpler(func(c *sim.Config) { c.Nodes = 3 })
	return st, failure
}

var (
	_ sim.Daemon   = (*guest)(nil)
	_ sim.Pictured = (*guest)(nil)
	_ sim.Digester = (*guest)(nil)
	_ sim.Survivor = (*ownLog)(nil)
)
