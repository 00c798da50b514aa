package orchestrator

import (
	"errors"

	"ferry/migration"
	"ferry/proto0500"
)

// Settle takes up the oldest move of a daemon that this orchestrator's journal
// has no end of, as after a crash. It goes on to whatever end source and target
// still allow; nil: there is none. Migrate does the same first, but cannot tell
// its caller of a move that was to another node.
func (o *Orchestrator) Settle(daemon proto0500.Origin) (*Handle, error) {
	open, err := o.records.OpenMoves(daemon)
	if err != nil || len(open) == 0 {
		return nil, err
	}
	rec := open[0]
	return o.begin(Move{Daemon: rec.Origin, Source: rec.Source, Target: rec.Target}, &rec)
}

// Move is what is moved where.
func (h *Handle) Move() Move { return h.req }

// TakeOver takes up a move that may be another orchestrator's, from what source and target were found to be in: it goes
// forward where the source has retired, and is cancelled before. Nothing is written of it but its outcome.
func (o *Orchestrator) TakeOver(rec migration.MoveRecord) (*Handle, error) {
	if o.self == rec.Source || o.self == rec.Target {
		return nil, errors.New("orchestrator: the orchestrator must be a third node")
	}
	return o.begin(Move{Daemon: rec.Origin, Source: rec.Source, Target: rec.Target}, &rec)
}

// Open are the moves that this orchestrator's journal has no end of, oldest first of each daemon.
func (o *Orchestrator) Open() ([]migration.MoveRecord, error) { return o.records.OpenMoves(0) }

// Recorded is what the journal has of a move, with its outcome.
func (o *Orchestrator) Recorded(rec migration.MoveRecord) (migration.MoveRecord, error) {
	return o.records.Move(rec.Origin, rec.Epoch)
}
