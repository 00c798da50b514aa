package sim

import (
	"fmt"

	"ferry/migration"
	"ferry/proto0500"
)

// replica is one copy of a daemon: its state, and, on the disk of a durable one, the checkpoint that it began with and
// its log. Of the log, what was synced survives a crash.
type replica struct {
	w      *world
	dom    *dom
	epoch  uint64 // at which this node became the authority with it; where it lies on disk
	d      Daemon
	ckpt   []byte // nil: it began empty
	base   migration.Position
	log    []Event
	synced int
	head   migration.Position
}

func newReplica(w *world, d *dom, epoch uint64) (*replica, error) {
	genesis := proto0500.Genesis(d.origin)
	at := migration.Position{Head: genesis, Hash: genesis.Hash(nil)}
	r := &replica{w: w, dom: d, epoch: epoch, base: at, head: at}
	var err error
	r.d, err = w.openDaemon(true)
	return r, err
}

// restoreReplica makes one of a received state.
func restoreReplica(w *world, d *dom, epoch uint64, state []byte, base migration.Position) (*replica, error) {
	r := &replica{w: w, dom: d, epoch: epoch, ckpt: state, base: base, head: base}
	var err error
	if r.d, err = w.openDaemon(false); err != nil {
		return nil, err
	}
	return r, r.d.Restore(&buffer{state})
}

func (r *replica) extend(ev Event) error {
	r.w.one[0] = ev
	if err := r.d.Apply(r.w.one[:]); err != nil {
		return fmt.Errorf("Apply of event %d: %w", ev.Seq, err)
	}
	r.log = append(r.log, ev)
	r.head = migration.Position{Seq: ev.Seq, Head: ev.Link, Hash: ev.Hash}
	return nil
}

// from gives the events from seq from on; they are borrowed.
func (r *replica) from(from proto0500.Seq) []Event {
	if from <= r.base.Seq || from > r.head.Seq {
		return nil
	}
	return r.log[from-r.base.Seq-1:]
}

func (r *replica) sync() {
	if s, ok := r.d.(Survivor); ok {
		if err := s.Sync(); err != nil {
			r.w.fail("daemon", "Sync: %v", err)
		}
	}
	r.synced = len(r.log)
}

func (r *replica) digest() (uint64, error) {
	if d, ok := r.d.(Digester); ok {
		return d.Digest()
	}
	return 0, nil
}

// crashed is what a restart makes of what is on disk.
func (r *replica) crashed() *replica {
	again := &replica{w: r.w, dom: r.dom, epoch: r.epoch, ckpt: r.ckpt, base: r.base, head: r.base}
	if s, ok := r.d.(Survivor); ok {
		return again.survive(s, r.log, r.synced)
	}
	r.w.closeDaemon(r.d)
	var err error
	if again.d, err = r.w.openDaemon(r.ckpt == nil); err == nil && r.ckpt != nil {
		err = again.d.Restore(&buffer{r.ckpt})
	}
	if err == nil && r.synced > 0 {
		err = again.d.Apply(r.log[:r.synced])
	}
	if err != nil {
		r.w.fail("daemon", "cannot be opened after a crash: %v", err)
	}
	return again.with(r.log[:r.synced])
}

// survive is crashed for a daemon that keeps its own log.
func (r *replica) survive(s Survivor, log []Event, synced int) *replica {
	var through proto0500.Seq
	var err error
	if r.d, through, err = s.Crash(); err != nil {
		r.w.fail("daemon", "cannot be opened after a crash: %v", err)
	}
	kept := int(through) - int(r.base.Seq)
	if kept < synced || kept > len(log) {
		r.w.fail("daemon", "after a crash it ends at event %d; event %d was synced, and %d applied",
			through, int(r.base.Seq)+synced, int(r.base.Seq)+len(log))
	}
	return r.with(log[:kept])
}

// with takes the log that was found.
func (r *replica) with(log []Event) *replica {
	r.log = append(r.log, log...)
	r.synced = len(log)
	if n := len(log); n > 0 {
		r.head = migration.Position{Seq: log[n-1].Seq, Head: log[n-1].Link, Hash: log[n-1].Hash}
	}
	return r
}

// picture is the whole state as bytes.
func picture(d Daemon) ([]byte, error) {
	if p, ok := d.(Pictured); ok {
		return p.Picture()
	}
	s, err := d.Snapshot()
	if err != nil {
		return nil, err
	}
	defer s.Close()
	b := make([]byte, s.Size())
	if n, err := s.ReadAt(b, 0); n < len(b) {
		return nil, fmt.Errorf("Snapshot: %d of %d bytes: %w", n, len(b), err)
	}
	return b, nil
}
