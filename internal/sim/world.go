package sim

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"

	"ferry/frame"
	"ferry/identity"
	"ferry/internal/weaken"
	"ferry/migration"
	"ferry/proto0500"
)

// Config is one episode.
type Config struct {
	Seed     uint64
	Moves    int          // to begin; 0: 12
	Factory  Factory      // zero: Ledger
	Weak     weaken.Set   // what is turned off, for canaries
	Off      [faults]bool // faults that are not injected, for shrinking
	Trace    bool         // keep a trace
	Durable  *bool        // all daemons are, or none; nil: by chance
	Nodes    int          // 0: by chance
	Daemons  int          // 0: by chance
	Refusals int          // one of so many prepares is refused for good; 0: 60
	Model    bool         // hold every step against tla/Handover.tla
}

// The lengths of things, in microseconds. Real ones are longer, in about these proportions.
const (
	askEvery       = 12_000
	attemptTimeout = 60_000
	retain         = 40_000
	stepEvery      = 6_000
	phaseTimeout   = 70_000
	tickEvery      = 4_000
	clientTimeout  = 9_000
	calmMax        = 4_000_000
	episodeMax     = 20_000_000
)

// firstOrchestrator is the first id that is no node's.
const firstOrchestrator proto0500.NodeID = 101

type world struct {
	cfg    Config
	rng    *rand.Rand
	now    int64
	q      queue
	nodes  []*node
	doms   []*dom
	opened []Daemon
	model  *model // nil: not asked for
	orchs  []*orchestrator
	moves  []*moveStats
	began  int
	calm   bool

	latency     int64
	calmness    int64 // between nuisances, at most
	blackoutMax int64
	refusals    int     // one of so many prepares is refused for good
	nodesMay    bool    // nodes may orchestrate
	last        []int64 // arrival of the last frame of each directed link
	cut         []bool  // of directed links between nodes
	mute        [4]bool // orchestrators that are cut off
	rates       [faults]uint32
	toCrash     int // effects until the next crash midway
	chunkBytes  uint32
	lim         frame.Limits
	one         [1]Event // scratch
	trace       strings.Builder
	counts      Counts
	hits        Hits
	steps       uint64
}

// dom is one daemon, wherever it is.
type dom struct {
	i       int
	origin  proto0500.Origin
	entity  [32]byte
	durable bool
	hosts   []*host // by node
	clients []*client

	accepted []accepted
	last     migration.Position
	twin     Daemon
	words    []word // by epoch
	crashes  int    // since it was last at rest
	died     bool   // an in-memory authority crashed; until it is created anew
	gone     bool   // in memory, and no copy is left
	stale    []*flight
	staleN   int
	lived    int // chains begun
}

// accepted is one event that some node accepted.
type accepted struct {
	hash  uint64
	write uint64
}

// word is what has been said of an epoch.
type word struct {
	source, target proto0500.NodeID
	run            uint64
	yes, no        bool
	activate       bool
	liveSeq        proto0500.Seq
}

func (d *dom) word(e frame.Epoch) *word {
	for uint64(len(d.words)) <= uint64(e) {
		d.words = append(d.words, word{})
	}
	return &d.words[e]
}

type entity struct {
	key    [32]byte
	origin proto0500.Origin
}

var entities = func() (list [3]entity) {
	for i := range list {
		var seed [32]byte
		seed[0] = byte(i + 1)
		k := identity.KeyFromSeed(seed)
		copy(list[i].key[:], k.Public())
		list[i].origin = proto0500.Origin(k.Origin())
	}
	return list
}()

func newWorld(cfg Config) *world {
	if cfg.Moves == 0 {
		cfg.Moves = 12
	}
	if cfg.Factory.Open == nil {
		cfg.Factory = Ledger()
	}
	w := &world{cfg: cfg, rng: rand.New(rand.NewPCG(cfg.Seed, 0x66657272796d6f76)), lim: frame.Default()}
	r := w.rng
	nodes, doms := 3+r.IntN(3), 1+r.IntN(2)
	durable := [2]bool{r.IntN(10) < 7, r.IntN(10) < 7}
	if cfg.Nodes > 0 {
		nodes = cfg.Nodes
	}
	if cfg.Daemons > 0 {
		doms = min(cfg.Daemons, len(durable))
	}
	if cfg.Model {
		w.model = newModel(w)
	}
	w.latency = 60 + r.Int64N(120)
	w.calmness = 15_000 + r.Int64N(40_000)
	w.blackoutMax = 800 + r.Int64N(4_000)
	if w.refusals = 60; cfg.Refusals > 0 {
		w.refusals = cfg.Refusals
	}
	w.nodesMay = r.IntN(4) == 0
	w.chunkBytes = uint32(22 + r.IntN(14))
	if cfg.Factory.ChunkBytes > 0 {
		w.chunkBytes = cfg.Factory.ChunkBytes
	}
	w.setRates()
	w.last = make([]int64, (nodes+1)*(nodes+1))
	w.cut = make([]bool, nodes*nodes)
	for i := range nodes {
		w.nodes = append(w.nodes, newNode(w, proto0500.NodeID(i+1), doms))
	}
	for i := range doms {
		d := &dom{i: i, origin: entities[i].origin, entity: entities[i].key, durable: durable[i]}
		if cfg.Durable != nil {
			d.durable = *cfg.Durable
		}
		w.doms = append(w.doms, d)
		for _, n := range w.nodes {
			h := &host{w: w, n: n, d: d}
			h.p = h.participant(migration.Record{})
			n.hosts = append(n.hosts, h)
			d.hosts = append(d.hosts, h)
		}
		w.create(d, w.nodes[r.IntN(nodes)])
	}
	return w
}

// setRates draws how bad the world is: the chance of each fault of frames and writes, of 65,536.
func (w *world) setRates() {
	scale := uint32(40 + w.rng.IntN(100))
	base := [faults]uint32{
		Lose: 1000, Double: 1000, Delay: 900, Reorder: 1000, Stale: 900,
		CrashUnsync: 350, CrashPersist: 450, WriteFails: 450, EarlyTimer: 60, HostFails: 400,
	}
	for f, v := range base {
		w.rates[f] = v * scale / 100
		if w.cfg.Off[f] {
			w.rates[f] = 0
		}
	}
	w.toCrash = w.crashAfter()
}

func (w *world) crashAfter() int {
	if w.cfg.Off[CrashMidway] {
		return math.MaxInt
	}
	return 1 + w.rng.IntN(2000)
}

// chance tells whether the fault f happens now.
func (w *world) chance(f Fault) bool { return !w.calm && w.rng.Uint32()&0xffff < w.rates[f] }

func (w *world) after(d int64, do func()) { w.q.push(item{at: w.now + d, do: do}) }

// soon is a moment of up to d from now.
func (w *world) soon(d int64) int64 { return 1 + w.rng.Int64N(d) }

func (w *world) printf(format string, args ...any) {
	fmt.Fprintf(&w.trace, "%8d "+format+"\n", append([]any{w.now}, args...)...)
}

// create brings a daemon into being on a node.
func (w *world) create(d *dom, n *node) {
	h := d.hosts[n.id-1]
	h.put(migration.Created())
	rep, err := newReplica(w, d, 0)
	if err != nil {
		w.fail("daemon", "Open: %v", err)
	}
	h.rep = rep
	d.begin(w)
	h.boot()
}

// begin is the start of a chain: at first, and when an in-memory daemon was lost and is created anew.
func (d *dom) begin(w *world) {
	genesis := proto0500.Genesis(d.origin)
	d.accepted, d.last = d.accepted[:0], migration.Position{Head: genesis, Hash: genesis.Hash(nil)}
	d.died = false
	d.lived++
	if d.twin != nil {
		w.closeDaemon(d.twin)
	}
	var err error
	if d.twin, err = w.openDaemon(true); err != nil {
		w.fail("daemon", "Open: %v", err)
	}
	for _, c := range d.clients {
		c.forget()
	}
}

// run is one episode, to its end.
func (w *world) run() {
	r := w.rng
	for _, d := range w.doms {
		for range 4 {
			c := newClient(w, d)
			w.after(w.soon(200), c.next)
		}
		w.after(w.soon(1500), func() { w.wantMove(d) })
	}
	w.after(w.soon(3000), w.nuisance)
	for w.now < episodeMax {
		it, ok := w.q.pop()
		if !ok {
			break
		}
		w.happen(it)
		if w.began >= w.cfg.Moves && w.idle() {
			break
		}
	}
	w.becalm(r.IntN(2) == 0)
	end := w.now + calmMax
	for w.now < end {
		it, ok := w.q.pop()
		if !ok {
			break
		}
		w.happen(it)
	}
	w.settled()
}

func (w *world) happen(it item) {
	w.now = it.at
	w.steps++
	if it.f != nil {
		w.arrive(it.f)
		return
	}
	it.do()
}

// idle tells whether every move that began has ended, for its orchestrator at least.
func (w *world) idle() bool {
	for _, o := range w.orchs {
		if o.open() {
			return false
		}
	}
	return true
}

// becalm ends the faults. When hard, all that is in flight is lost and there is no orchestrator any more (L1).
func (w *world) becalm(hard bool) {
	w.calm = true
	if w.cfg.Trace {
		w.printf("calm, hard=%t", hard)
	}
	clear(w.cut)
	w.mute = [4]bool{}
	if hard {
		for i := range w.q.items {
			if f := w.q.items[i].f; f != nil {
				w.q.items[i] = item{at: f.at, n: w.q.items[i].n, do: func() {}}
			}
		}
		for _, o := range w.orchs {
			o.dead = true
		}
	}
	for _, n := range w.nodes {
		if !n.up {
			n.restart()
		}
	}
}
