package explore

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/zeebo/xxh3"

	"ferry/migration"
	"ferry/proto0500"
)

// Result is what a search came to.
type Result struct {
	Bounds Bounds
	States int // distinct
	Steps  int // between them
	Depth  int // of the search, in steps from the start
	// Complete: every state within the bounds was seen.
	Complete bool
	// Nodes, Moves and Frames are how many different ones there were; Calms how many worlds L1 was tried from.
	Nodes, Moves, Frames, Calms int
	Violation                   error    // nil: none
	Trace                       []string // the shortest way there
	Took                        time.Duration
}

// Print writes the figures, and the trace where there is one.
func (r *Result) Print(w io.Writer) {
	end := "all states within the bounds"
	if !r.Complete {
		end = "not all states within the bounds"
	}
	fmt.Fprintf(w, "%v\n  %d distinct states, %s, %d steps, depth %d; %d different nodes, %d orchestrators, %d frames; L1 from %d worlds; %.1f s\n",
		r.Bounds, r.States, end, r.Steps, r.Depth, r.Nodes, r.Moves, r.Frames, r.Calms, r.Took.Seconds())
	if r.Violation != nil {
		fmt.Fprintf(w, "  %v\n", r.Violation)
		for i, line := range r.Trace {
			fmt.Fprintf(w, "  %3d %s\n", i+1, line)
		}
	}
}

// seen is a set of hashes: open addressing, 8 bytes a place, at most 3/4 full.
type seen struct {
	slots []uint64
	n     int
}

func (t *seen) add(h uint64) bool {
	if h == 0 {
		h = 1
	}
	if 4*t.n >= 3*len(t.slots) {
		old := t.slots
		t.slots = make([]uint64, max(1<<16, 2*len(old)))
		for _, v := range old {
			if v != 0 {
				t.put(v)
			}
		}
	}
	if !t.put(h) {
		return false
	}
	t.n++
	return true
}

func (t *seen) put(h uint64) bool {
	mask := uint64(len(t.slots) - 1)
	for i := h & mask; ; i = (i + 1) & mask {
		switch t.slots[i] {
		case 0:
			t.slots[i] = h
			return true
		case h:
			return false
		}
	}
}

// level is the states of one depth, one after the other.
type level struct {
	bytes []byte
	ends  []uint64
	first uint32 // number of the first
}

func (l *level) add(st *state) {
	l.bytes = st.append(l.bytes)
	l.ends = append(l.ends, uint64(len(l.bytes)))
}

// Search looks at every state within the bounds, until one is violated.
func Search(b Bounds) *Result {
	begun := time.Now()
	s := newSpace(b)
	res := &Result{Bounds: b}
	var (
		known   seen
		parents []uint32
		actions []action
		scratch []byte
		at, to  state
		acts    []action
	)
	found := func(v *broken, from uint32, a action) *Result {
		res.Violation = v
		var way []action
		way = append(way, a)
		for n := from; n != 0; n = parents[n] {
			way = append(way, actions[n])
		}
		res.Trace = s.describe(way)
		return s.finish(res, len(parents), begun)
	}
	start := s.first()
	scratch = start.append(scratch)
	known.add(xxh3.Hash(scratch))
	parents, actions = append(parents, 0), append(actions, 0)
	now, then := &level{}, &level{}
	now.add(&start)
	for len(now.ends) > 0 {
		then.first = uint32(len(parents))
		from := uint64(0)
		for n, end := range now.ends {
			at.read(now.bytes[from:end])
			from = end
			number := now.first + uint32(n)
			if s.ghosts[at.ghost].died {
				continue // nothing can save it
			}
			acts = s.actions(&at, acts[:0])
			for _, a := range acts {
				talk := !b.Any && a.what() == actDeliver && s.idleTalk(&at, a.arg())
				ok, bad := s.step(&at, &to, a)
				if !ok {
					continue
				}
				if !s.spend(&to, a, talk) {
					continue
				}
				res.Steps++
				if bad == nil {
					scratch = to.append(scratch[:0])
					if !known.add(xxh3.Hash(scratch)) {
						continue
					}
					bad = s.check(&to)
				}
				if bad != nil {
					return found(bad, number, a)
				}
				parents, actions = append(parents, number), append(actions, a)
				then.add(&to)
				if b.Progress != nil && len(parents)%(1<<20) == 0 {
					b.Progress(len(parents), res.Depth)
				}
				if b.StatesMax > 0 && len(parents) >= b.StatesMax {
					return s.finish(res, len(parents), begun)
				}
			}
		}
		if len(then.ends) > 0 {
			res.Depth++
		}
		now, then = then, now
		then.bytes, then.ends = then.bytes[:0], then.ends[:0]
	}
	res.Complete = true
	return s.finish(res, len(parents), begun)
}

func (s *space) finish(res *Result, states int, begun time.Time) *Result {
	res.States, res.Took = states, time.Since(begun)
	res.Nodes, res.Moves, res.Frames, res.Calms = len(s.cells), len(s.drivers), len(s.frames), len(s.calms)
	return res
}

// actions is what can happen next.
func (s *space) actions(st *state, acts []action) []action {
	variants := func(i int, in input, what int, arg uint16) {
		acts = append(acts, act(what, i, 0, arg))
		if st.left[leftCrashes] == 0 && st.left[leftFails] == 0 {
			return
		}
		res := s.stepCell(st.cells[i], in)
		if st.left[leftCrashes] > 0 && !s.b.Any { // there, what was sent may never be received anyway
			for k := range res.crashes {
				acts = append(acts, act(what, i, varCrash+k, arg))
			}
		}
		if st.left[leftFails] > 0 {
			for k := range res.fails {
				acts = append(acts, act(what, i, varFail+k, arg))
			}
		}
	}
	for _, f := range st.flights {
		if !s.ripe(st, f) {
			continue
		}
		to := s.frames[f].to
		if s.b.Any && s.nothing(st, f) {
			continue
		}
		if !s.b.Any && s.idleTalk(st, f) && st.left[leftDoubles] == 0 {
			continue
		}
		if to < firstOrchestrator {
			variants(int(to-1), inFrame|input(f), actDeliver, f)
			if _, ok := s.frames[f].msg.(proto0500.Prepare); ok && st.left[leftRefusals] > 0 {
				acts = append(acts, act(actNever, int(to-1), 0, f))
			}
		} else {
			acts = append(acts, act(actDeliver, 0, 0, f))
		}
		if st.left[leftDoubles] > 0 && !s.lasts[f] {
			acts = append(acts, act(actDouble, 0, 0, f))
		}
	}
	if st.left[leftLosses] > 0 {
		for _, f := range st.flights {
			if !s.lasts[f] {
				acts = append(acts, act(actLose, 0, 0, f))
			}
		}
	}
	for i := range s.b.Nodes {
		c := &s.cells[st.cells[i]]
		for t := migration.TimerAttempt; t <= migration.TimerRetain; t++ {
			if c.timers[t] && s.due(st, i, c, t) {
				variants(i, inTimer|input(t), actTimer, uint16(t))
			}
		}
		if st.left[leftCrashes] > 0 && (c.p.Epoch() > 0 || c.has) {
			acts = append(acts, act(actCrash, i, 0, 0))
		}
		if s.b.Any && c.open && c.p.State() == proto0500.StateServing && st.left[leftMoves] > 0 {
			for target := range s.b.Nodes {
				if target != i && (target < 2 || st.left[leftMoves] < uint8(s.b.Moves)) {
					acts = append(acts, act(actBegin, i, 0, uint16(target+1)))
				}
			}
		}
		if s.b.Any && s.sums[st.cells[i]].busy {
			acts = append(acts, act(actWish, i, 0, 0))
		}
		if st.left[leftWrites] > 0 && c.accepts() {
			acts = append(acts, act(actWrite, i, 0, 0))
		}
	}
	for i := range st.drivers {
		if s.b.Any {
			break
		}
		d := &s.drivers[st.drivers[i]]
		switch {
		case d.open():
			if d.timers[0] && st.left[leftAsks] > 0 && s.quiet(st, d) {
				acts = append(acts, act(actDTimer, i, 0, uint16(migration.TimerStep)))
			}
			if d.timers[1] && st.left[leftTimeouts] > 0 {
				acts = append(acts, act(actDTimer, i, 0, uint16(migration.TimerPhase)))
			}
			if st.left[leftCancels] > 0 {
				acts = append(acts, act(actCancel, i, 0, 0))
			}
			if st.left[leftCrashes] > 0 {
				acts = append(acts, act(actDCrash, i, 0, 0))
			}
		case d.dead && d.rec.Epoch > 0:
			acts = append(acts, act(actResume, i, 0, 0))
		}
		if st.left[leftMoves] > 0 && !d.open() && (i == 0 || s.drivers[st.drivers[0]].open()) {
			for source := range s.b.Nodes {
				if c := &s.cells[st.cells[source]]; !c.open {
					continue
				}
				for target := range s.b.Nodes {
					// At first one target is as good as the other.
					if target != source && (target < 2 || st.left[leftMoves] < uint8(s.b.Moves)) {
						acts = append(acts, act(actStart, i, 0, uint16((source+1)<<4|(target+1))))
					}
				}
			}
		}
	}
	return acts
}

// idleTalk: a lasting frame that changes nothing where it comes, and only brings an answer: without end, if it were not
// one of the doubled.
func (s *space) idleTalk(st *state, id uint16) bool {
	f := &s.frames[id]
	if !s.lasts[id] || f.to >= firstOrchestrator {
		return false
	}
	at := st.cells[f.to-1]
	res := s.stepCell(at, inFrame|input(id))
	if res.cell != at {
		return false
	}
	for _, out := range res.out {
		if s.lasts[out] {
			return false
		}
	}
	return true
}

// nothing: a frame that changes nothing now, and brings only what is in flight already. Most deliveries are that.
func (s *space) nothing(st *state, id uint16) bool {
	at := st.cells[s.frames[id].to-1]
	res := s.stepCell(at, inFrame|input(id))
	if res.cell != at || res.wrote || res.named[0] != 0 || len(res.fails) > 0 || res.broken != "" {
		return false
	}
	if _, prepare := s.frames[id].msg.(proto0500.Prepare); prepare && st.left[leftRefusals] > 0 {
		return false
	}
	for _, out := range res.out {
		f := &s.frames[out]
		_, report := f.msg.(proto0500.Report)
		_, rejected := f.msg.(proto0500.Rejected)
		if f.to >= firstOrchestrator && (report || rejected) {
			continue // nobody reads it
		}
		if _, ok := slices.BinarySearch(st.flights, out); !ok && !(report && s.useless(st, out)) {
			return false
		}
	}
	return true
}

// ripe: events that come before their turn wait, and the snapshot for the target to be prepared.
func (s *space) ripe(st *state, id uint16) bool {
	f := &s.frames[id]
	if f.to >= firstOrchestrator {
		return true
	}
	c := &s.cells[st.cells[f.to-1]]
	switch m := f.msg.(type) {
	case proto0500.BufferedEvents:
		for ev := range m.Events.All() {
			return c.in == f.epoch && c.begun && ev.Link.Sequence == c.tried.Seq+1
		}
	case proto0500.Transfer:
		return c.in == f.epoch && !c.begun
	}
	return true
}

// due tells whether a timer may run out: one that only asks does where no question and no answer is in flight between
// the two.
func (s *space) due(st *state, i int, c *cell, t migration.Timer) bool {
	if s.b.Any {
		return t != migration.TimerBlackout || st.left[leftTimeouts] > 0
	}
	if t != migration.TimerAsk {
		return st.left[leftTimeouts] > 0
	}
	if st.left[leftAsks] == 0 {
		return false
	}
	self, peer := proto0500.NodeID(i+1), c.p.Peer()
	for _, id := range st.flights {
		f := &s.frames[id]
		if !s.lasts[id] && (f.from == self && f.to == peer || f.from == peer && f.to == self) {
			return false
		}
	}
	return true
}

// quiet: nothing is on its way from or to an orchestrator, so that it asks again.
func (s *space) quiet(st *state, d *driver) bool {
	for _, id := range st.flights {
		if f := &s.frames[id]; !s.lasts[id] && (f.from == d.id || f.to == d.id) {
			return false
		}
	}
	return true
}

// spend takes what the action costs.
func (s *space) spend(st *state, a action, talk bool) bool {
	pay := func(k int) bool {
		if st.left[k] == 0 {
			return false
		}
		st.left[k]--
		return true
	}
	ok := true
	switch a.what() {
	case actDouble:
		ok = pay(leftDoubles)
	case actDeliver:
		ok = !talk || s.b.Any || pay(leftDoubles)
	case actLose:
		ok = pay(leftLosses)
	case actNever:
		ok = pay(leftRefusals)
	case actTimer:
		if s.b.Any {
			ok = migration.Timer(a.arg()) != migration.TimerBlackout || pay(leftTimeouts)
			break
		}
		if migration.Timer(a.arg()) == migration.TimerAsk {
			ok = pay(leftAsks)
		} else {
			ok = pay(leftTimeouts)
		}
	case actDTimer:
		if migration.Timer(a.arg()) == migration.TimerStep {
			ok = pay(leftAsks)
		} else {
			ok = pay(leftTimeouts)
		}
	case actCrash, actDCrash:
		ok = pay(leftCrashes)
	case actWrite:
		ok = pay(leftWrites)
	case actStart, actBegin:
		ok = pay(leftMoves)
	case actCancel:
		ok = pay(leftCancels)
	}
	switch v := a.variant(); {
	case v >= varFail:
		ok = ok && pay(leftFails)
	case v >= varCrash:
		ok = ok && pay(leftCrashes)
	}
	return ok
}

// describe tells a way, whose last action comes first.
func (s *space) describe(way []action) (lines []string) {
	st := s.first()
	for i := len(way) - 1; i >= 0; i-- {
		a := way[i]
		var line strings.Builder
		line.WriteString(s.tell(&st, a))
		var to state
		s.step(&st, &to, a)
		s.spend(&to, a, a.what() == actDeliver && s.idleTalk(&st, a.arg()))
		for n := range s.b.Nodes {
			if to.cells[n] != st.cells[n] {
				c := &s.cells[to.cells[n]]
				line.WriteString(fmt.Sprintf("; %d: %v@%d", n+1, c.p.State(), c.p.Epoch()))

				if c.open {
					line.WriteString(" open")
				}
				if c.rec.State != c.p.Record().State || c.rec.Epoch != c.p.Record().Epoch {
					line.WriteString(fmt.Sprintf(" (on disk: %v@%d)", c.rec.State, c.rec.Epoch))
				}
			}
		}
		for n, id := range to.drivers {
			if d := &s.drivers[id]; id != st.drivers[n] && d.done != 0 {
				line.WriteString(fmt.Sprintf("; %d says %v of %d", n+int(firstOrchestrator), d.done, d.epoch))
			}
		}
		lines = append(lines, line.String())
		st = to
	}
	return lines
}

func (s *space) tell(st *state, a action) string {
	frame := func() string {
		f := &s.frames[a.arg()]
		return fmt.Sprintf("%d>%d %v@%d", f.from, f.to, f.msg.Kind(), f.epoch)
	}
	var text string
	switch a.what() {
	case actDeliver:
		text = frame()
	case actDouble:
		text = frame() + ", and will come again"
	case actLose:
		text = "lost: " + frame()
	case actNever:
		text = frame() + ", answered with never"
	case actTimer:
		text = fmt.Sprintf("%d: timer %v", a.whose()+1, migration.Timer(a.arg()))
	case actCrash:
		text = fmt.Sprintf("%d crashes and starts", a.whose()+1)
	case actWrite:
		text = fmt.Sprintf("%d accepts a write", a.whose()+1)
	case actDTimer:
		text = fmt.Sprintf("%d: timer %v", a.whose()+int(firstOrchestrator), migration.Timer(a.arg()))
	case actStart:
		text = fmt.Sprintf("%d wants it from %d to %d", a.whose()+int(firstOrchestrator), a.arg()>>4, a.arg()&15)
	case actBegin:
		text = fmt.Sprintf("somebody begins at %d, for %d", a.whose()+1, a.arg())
	case actWish:
		text = fmt.Sprintf("somebody wishes %d to end it", a.whose()+1)
	case actCancel:
		text = fmt.Sprintf("%d is cancelled", a.whose()+int(firstOrchestrator))
	case actDCrash:
		text = fmt.Sprintf("%d crashes", a.whose()+int(firstOrchestrator))
	case actResume:
		text = fmt.Sprintf("%d starts, and takes its move up", a.whose()+int(firstOrchestrator))
	}
	switch v := a.variant(); {
	case v >= varFail:
		text += ", and the write fails"
	case v >= varCrash:
		text += ", and crashes after the write"
	}
	return text
}
