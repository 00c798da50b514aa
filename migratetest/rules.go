package migratetest

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"ferry/daemon"
	"ferry/proto0500"
)

// trial is the material of the rules: events before a snapshot, events after it, and chance.
type trial struct {
	before, after [][]byte
	seed          uint64
}

func (c trial) all() [][]byte { return slices.Concat(c.before, c.after) }

func (c trial) rand() *rand.Rand { return rand.New(rand.NewPCG(c.seed, 0x747269616c)) }

// broken makes a fault of an error of the daemon's.
func broken(err error, steps ...string) *fault {
	return &fault{
		kind: "error", wrong: "a call of the daemon failed: " + err.Error(), steps: steps,
		look: "the host stops a daemon after an error or a panic. Every payload of Options.Generate must be one that the daemon accepts",
	}
}

// ruleSame: the same events give the same state, one by one or together, as a restart replays them, and whatever becomes
// of the payloads later.
func (k *kit) ruleSame(c trial) *fault {
	all := c.all()
	var pictures [4]picture
	var first *specimen
	for i := range pictures {
		s, err := k.open(true)
		if err == nil {
			s.keep = i < 2
			if i == 3 {
				err = s.apply(all...)
			} else {
				err = s.each(all)
			}
		}
		if err == nil {
			pictures[i], err = s.picture()
		}
		if err != nil {
			return broken(err, fmt.Sprintf("a new daemon was given %s", count(len(all))))
		}
		if i == 0 {
			first = s
		}
	}
	d := k.diff(pictures[0], pictures[1])
	if d.outside() {
		if f := k.untidy(first, pictures[0].bytes, len(all)); f != nil {
			return f
		}
		return &fault{
			kind:  "nondeterministic",
			wrong: fmt.Sprintf("Apply gave two different states for the same %s", count(len(all))),
			steps: append([]string{fmt.Sprintf("a first and a second new daemon were given the same %s", count(len(all)))}, d.words("the first", "the second")...),
			look:  "Apply depends on something other than the events: the time, random numbers, the order of a map, a global variable, goroutines. Take what it needs from the event: Event.ReceivedAt, the payload" + d.at(),
		}
	}
	for _, f := range d.fields {
		k.noise[fieldName(f.path)] = true // differs where nobody moved: no state
	}
	if d := k.diff(pictures[0], pictures[2]); d.any() {
		return &fault{
			kind:  "borrowed",
			wrong: "the state changed when the payloads were overwritten after Apply had returned",
			steps: append([]string{fmt.Sprintf("two new daemons were given the same %s; one's payloads were overwritten after each Apply", count(len(all)))},
				d.words("the one with untouched payloads", "the other")...),
			look: "Apply keeps a payload, or a part of it, without copying: payloads are borrowed until Apply returns. bytes.Clone what you keep" + d.at(),
		}
	}
	if d := k.diff(pictures[2], pictures[3]); d.any() {
		return &fault{
			kind:  "batches",
			wrong: fmt.Sprintf("%s gave another state in one Apply than in %d", count(len(all)), len(all)),
			steps: append([]string{"a first new daemon was given the events one by one, a second all at once"}, d.words("the first", "the second")...),
			look:  "how events are cut into batches is by chance and differs between source and target. Nothing may happen once for each Apply: count events, not calls" + d.at(),
		}
	}
	return nil
}

// untidy tells whether snapshots of one state differ by themselves.
func (k *kit) untidy(s *specimen, before []byte, n int) *fault {
	for range 16 {
		if k.opts.State != nil {
			break
		}
		again, err := s.image()
		if err != nil {
			return broken(err)
		}
		if bytes.Equal(again, before) {
			continue
		}
		return &fault{
			kind: "layout", wrong: "two snapshots of one state, with nothing applied between them, have different bytes",
			steps: []string{fmt.Sprintf("a new daemon was given %s", count(n)), "Snapshot was called again and again, and read"},
			look: "if they mean the same (a map written in its random order, a file's free pages), write them in a fixed order, or say with " +
				"Options.State what the state is. If not, Snapshot depends on the time or on chance",
		}
	}
	return nil
}

// ruleRestore: Restore is the other end of Snapshot, twice over, and Apply after it gives what it would have.
func (k *kit) ruleRestore(c trial) *fault {
	n := len(c.before)
	a, err := k.open(true)
	if err == nil {
		err = a.each(c.before)
	}
	steps := []string{fmt.Sprintf("a new daemon was given %s", count(n))}
	if err != nil {
		return broken(err, steps...)
	}
	from := a
	for _, moved := range []string{"one move", "two moves"} {
		state, err := from.image()
		if err != nil {
			return broken(err, steps...)
		}
		steps = append(steps, fmt.Sprintf("Snapshot gave %d bytes at event %d, and a daemon opened on an empty directory was given them by Restore", len(state), n))
		to, err := k.restored(state, from.head)
		if err != nil {
			return broken(err, steps...)
		}
		d, err := k.between(a, to)
		if err != nil {
			return broken(err, steps...)
		}
		if d.any() {
			return forgotten(d, moved, n, steps)
		}
		if f := k.headIs(to, a.head, "Restore"); f != nil {
			return f
		}
		from = to
	}
	if err := errors.Join(a.each(c.after), from.apply(c.after...)); err != nil {
		return broken(err, append(steps, "both were given "+count(len(c.after))+" more")...)
	}
	d, err := k.between(a, from)
	if err != nil {
		return broken(err, steps...)
	}
	if d.any() {
		steps = append(steps, fmt.Sprintf("both were given %s more, and differ", count(len(c.after))))
		return &fault{
			kind: "forgotten", wrong: fmt.Sprintf("a daemon that moved at event %d treats later events otherwise than one that never moved", n),
			steps: append(steps, d.words("the one that never moved", "the moved one")...),
			look:  "Snapshot leaves out something that Apply uses, or Restore does not set it; right after Restore nothing showed it" + d.at(),
		}
	}
	return nil
}

func forgotten(d diff, moves string, n int, steps []string) *fault {
	f := &fault{
		kind: "forgotten", steps: append(steps, d.words("the one that never moved", "the moved one")...),
		wrong: fmt.Sprintf("after %s at event %d the daemon is not what it was", moves, n),
		look:  "Snapshot does not write something, or Restore does not read it: compare the two field by field with the struct",
	}
	if names := d.names(); names != "" {
		f.wrong = fmt.Sprintf("after %s at event %d the daemon's %s is lost", moves, n, names)
		f.look = "Snapshot does not write " + names + ", or Restore does not read it. If it is no state but a cache, name it in Options.Ignore"
	}
	return f
}

func (k *kit) between(a, b *specimen) (diff, error) {
	p, err := a.picture()
	if err != nil {
		return diff{}, err
	}
	q, err := b.picture()
	return k.diff(p, q), err
}

// ruleCopy: a snapshot stays what it is while events are applied.
func (k *kit) ruleCopy(c trial) *fault {
	n, r := len(c.before), c.rand()
	a, err := k.open(true)
	if err == nil {
		err = a.each(c.before)
	}
	if err != nil {
		return broken(err)
	}
	then, err := a.picture()
	if err != nil {
		return broken(err)
	}
	// Two snapshots: one is read before, while and after, the other only afterwards.
	read, err := a.snapshot()
	if err != nil {
		return broken(err)
	}
	size := read.Size()
	piece := max(size/7, 1)
	shuffled := r.Perm
	first, err := readAll(read, piece, shuffled)
	if err != nil {
		return broken(err)
	}
	late, err := a.snapshot()
	if err != nil {
		return broken(err)
	}
	err = a.each(c.after)
	base := daemon.Genesis(a.head.Link.OriginHash)
	if n > 0 {
		e := a.events[n-1]
		base = daemon.Head{Seq: e.Seq, Link: e.Link, Hash: e.Hash}
	}
	steps := []string{
		fmt.Sprintf("a new daemon was given %s", count(n)), fmt.Sprintf("Snapshot was called, at event %d", n),
		fmt.Sprintf("while the snapshot was open, Apply went on to event %d", n+len(c.after)),
	}
	if err != nil {
		return broken(err, steps...)
	}
	const look = "Snapshot must return a copy of the state, or a view that Apply does not write to (copy on write, a read transaction). " +
		"Look for maps, slices and pointers that the snapshot shares with the daemon"
	second, err := readAll(read, piece, shuffled)
	if err != nil {
		return broken(err, steps...)
	}
	if read.Size() != size || !bytes.Equal(first, second) {
		return &fault{
			kind: "not a copy", wrong: "the snapshot changed while events were applied: it is not a copy", look: look,
			steps: append(steps, fmt.Sprintf("read before and after, the snapshot has different bytes (%d and %d of them)", size, read.Size())),
		}
	}
	state, err := readAll(late, piece, shuffled)
	if err = errors.Join(err, read.Close(), late.Close()); err != nil {
		return broken(err, steps...)
	}
	steps = append(steps, "only then was it read, and given to a new daemon by Restore")
	b, err := k.restored(state, base)
	if err != nil {
		return &fault{
			kind: "not a copy", wrong: "a snapshot that is read after further events cannot be restored: " + err.Error(), steps: steps, look: look,
		}
	}
	got, err := b.picture()
	if err != nil {
		return broken(err, steps...)
	}
	if d := k.diff(then, got); d.any() {
		f := &fault{
			kind:  "not a copy",
			wrong: fmt.Sprintf("the snapshot taken at event %d is not the state at event %d: it changed while events were applied, so it is not a copy", n, n),
			steps: append(steps, d.words(fmt.Sprintf("the state at event %d", n), "the restored daemon")...), look: look,
		}
		if now, err := a.picture(); err == nil && !k.diff(now, got).any() {
			f.steps = append(f.steps, fmt.Sprintf("the restored daemon is at event %d instead", n+len(c.after)))
		}
		return f
	}
	return k.atOnce(a, c, append(steps[:2:2], "Apply went on while the snapshot was being read"), look)
}

// atOnce reads a snapshot, and Events, while events are applied, as the host does. It comes last: a daemon that is
// caught before should not show a race as well.
func (k *kit) atOnce(a *specimen, c trial, steps []string, look string) *fault {
	snap, err := a.snapshot()
	if err != nil {
		return broken(err, steps...)
	}
	piece := max(snap.Size()/16, 1)
	read := make(chan []byte, 1)
	failed := make(chan error, 1)
	go func() {
		b, err := readAll(snap, piece, inOrder)
		if own, ok := a.durable(); ok && err == nil {
			err = guard("Events", func() error { _, err := own.Events(1, 1<<16); return err })
		}
		read <- b
		failed <- err
	}()
	err = a.each(c.after)
	during := <-read
	if err = errors.Join(err, <-failed); err != nil {
		return broken(err, steps...)
	}
	after, err := readAll(snap, piece, c.rand().Perm)
	if err = errors.Join(err, snap.Close()); err != nil {
		return broken(err, steps...)
	}
	if !bytes.Equal(during, after) {
		return &fault{
			kind: "not a copy", wrong: "the snapshot changed while events were applied: it is not a copy", look: look,
			steps: append(steps, "read once more afterwards, it had other bytes"),
		}
	}
	return nil
}

// ruleDurable: a daemon that keeps its own log has after a crash what it said it has.
func (k *kit) ruleDurable(c trial) *fault {
	if k.kind.InMemory {
		return nil
	}
	a, err := k.open(true)
	if err != nil {
		return broken(err)
	}
	own, ok := a.durable()
	if !ok {
		return nil
	}
	if f := k.headIs(a, a.head, "Open"); f != nil {
		return f
	}
	// The host syncs what it has created; from then on Apply is durable by itself.
	err = guard("Sync", own.Sync)
	if err == nil {
		err = a.each(c.before)
	}
	if err != nil {
		return broken(err)
	}
	if f := k.eventsOf(a, own, a.events); f != nil {
		return f
	}
	again, f := k.crash(a, "Apply")
	if f != nil {
		return f
	}
	// A target: restored, caught up, synced, crashed.
	state, err := again.image()
	if err != nil {
		return broken(err)
	}
	target, err := k.restored(state, again.head)
	if err != nil {
		return broken(err)
	}
	own, _ = target.durable()
	if err = target.apply(c.after...); err == nil {
		err = guard("Sync", own.Sync)
	}
	if err != nil {
		return broken(err)
	}
	if f := k.eventsOf(target, own, slices.Concat(a.events, target.events)); f != nil {
		return f
	}
	if again, f = k.crash(target, "Restore, Apply and Sync"); f != nil {
		return f
	}
	// And in peace.
	again.close()
	reopened := &specimen{k: k, dir: again.dir, head: again.head}
	if err := reopened.start(false); err != nil {
		return broken(err, "the daemon was closed", "it was opened again on its directory")
	}
	return k.headIs(reopened, again.head, "Close and Open")
}

// crash opens what a crash leaves and holds it against what the daemon was.
func (k *kit) crash(s *specimen, after string) (*specimen, *fault) {
	steps := []string{fmt.Sprintf("%s had returned, at event %d", after, s.head.Seq), "the process crashed; the directory was opened again"}
	const look = "what Apply returned for must be on disk: flush and fsync before it returns (after Restore: before Sync returns)"
	again, err := s.crashed()
	if err != nil {
		return nil, &fault{kind: "crash", wrong: "the daemon cannot be opened after a crash: " + err.Error(), steps: steps, look: look}
	}
	if f := k.headIs(again, s.head, after+" and a crash"); f != nil {
		f.steps, f.look = steps, look
		return nil, f
	}
	d, err := k.between(s, again)
	if err != nil {
		return nil, broken(err, steps...)
	}
	if d.any() {
		return nil, &fault{
			kind: "crash", wrong: fmt.Sprintf("after a crash at event %d the daemon is not what it was", s.head.Seq),
			steps: append(steps, d.words("the one before", "the one after")...), look: look + d.at(),
		}
	}
	return again, nil
}

// headIs checks Head, of a daemon that has one.
func (k *kit) headIs(s *specimen, want daemon.Head, after string) *fault {
	own, ok := s.durable()
	if !ok {
		return nil
	}
	var got daemon.Head
	if err := guard("Head", func() (err error) { got, err = own.Head(); return err }); err != nil {
		return broken(err, "after "+after)
	}
	if got == want {
		return nil
	}
	f := &fault{
		kind: "head", wrong: fmt.Sprintf("after %s Head is event %d, and must be event %d", after, got.Seq, want.Seq),
		look: "Head is the last event in the state, Genesis of Env.Origin where there is none; it moves with the state in the snapshot",
	}
	if got.Seq == want.Seq {
		f.wrong = fmt.Sprintf("after %s Head has another link or hash than event %d", after, want.Seq)
	}
	return f
}

// eventsOf checks Events against what was applied.
func (k *kit) eventsOf(s *specimen, own daemon.Durable, want []daemon.Event) *fault {
	wrong := func(format string, args ...any) *fault {
		return &fault{
			kind: "events", wrong: fmt.Sprintf(format, args...),
			look: "Events gives every accepted event once, in order, from the one asked for on, at least one where there is one; those before a move came with the snapshot",
		}
	}
	for _, bytesMax := range []int{1, 1 << 20} {
		for from := 1; from <= len(want); {
			var got []daemon.Event
			if err := guard("Events", func() (err error) { got, err = own.Events(proto0500.Seq(from), bytesMax); return err }); err != nil {
				return broken(err)
			}
			if len(got) == 0 {
				return wrong("Events(%d, %d) gave nothing; there are %d events", from, bytesMax, len(want))
			}
			for _, g := range got {
				if from > len(want) {
					return wrong("Events gave event %d, and only %d were applied", g.Seq, len(want))
				}
				w := want[from-1]
				if g.Seq != w.Seq || g.Link != w.Link || g.Hash != w.Hash || g.ReceivedAt != w.ReceivedAt || !bytes.Equal(g.Payload, w.Payload) {
					return wrong("Events gave event %d otherwise than it was applied: %v, and it was %v", w.Seq, g, w)
				}
				from++
			}
		}
	}
	return nil
}

func count(n int) string {
	if n == 1 {
		return "1 event"
	}
	return fmt.Sprintf("%d events", n)
}
