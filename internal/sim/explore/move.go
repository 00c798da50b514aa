package explore

import (
	"ferry/frame"
	"ferry/migration"
	"ferry/proto0500"
)

// driver is one orchestrator with one move. It is compared with ==. The zero value has not begun.
type driver struct {
	id             proto0500.NodeID
	source, target proto0500.NodeID
	move           migration.Move
	rec            migration.MoveRecord // in its journal
	timers         [2]bool              // step, phase
	done           migration.Outcome
	epoch          frame.Epoch // of the result
	dead           bool        // crashed; it may come back
}

func (d *driver) open() bool { return d.id != 0 && d.done == 0 && !d.dead }

type moveOutcome struct {
	driver uint32
	out    []uint16
	broken string
}

func (s *space) stepMove(from uint32, in input) *moveOutcome {
	key := uint64(from)<<32 | uint64(in)
	if res, ok := s.moveSteps[key]; ok {
		return res
	}
	d := s.drivers[from]
	res := &moveOutcome{}
	var told migration.MoveInput
	switch in & inputKind {
	case inTimer:
		t := migration.Timer(in &^ inputKind)
		d.timers[t-migration.TimerStep] = false
		told = migration.Fired{Timer: t, Epoch: d.rec.Epoch}
	case inFrame:
		f := s.frames[in&^inputKind]
		told = migration.Frame{From: f.from, Epoch: f.epoch, Message: f.msg}
	case inStart:
		told = migration.Start{}
	case inStop:
		told = migration.Cancel{}
	}
	fx, err := d.move.Step(told, nil)
	_ = err // a refusal
	for _, e := range fx {
		switch e := e.(type) {
		case migration.PersistMove:
			d.rec = e.Record
		case migration.Send:
			res.out = append(res.out, s.frame(fly{from: d.id, to: e.To, epoch: e.Epoch, msg: e.Message}))
		case migration.Arm:
			d.timers[e.Timer-migration.TimerStep] = true
		case migration.Disarm:
			d.timers[e.Timer-migration.TimerStep] = false
		case migration.Done:
			d.done, d.epoch = e.Result.Outcome, e.Result.Epoch
			d.move, d.timers, d.rec = migration.Move{}, [2]bool{}, migration.MoveRecord{}
		}
	}
	if d.done == 0 {
		if err := d.move.Check(); err != nil {
			res.broken = err.Error()
		}
	}
	res.driver = s.driver(d)
	s.moveSteps[key] = res
	return res
}
