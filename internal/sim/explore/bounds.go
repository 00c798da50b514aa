package explore

import (
	"fmt"

	"ferry/internal/weaken"
)

// Bounds are how much may happen in a world.
type Bounds struct {
	Nodes    int // at least 2, at most 3
	Moves    int // that orchestrators begin; each hands out an epoch, or more where the target has seen a higher one
	Writes   int // accepted events
	Crashes  int // with restart, of nodes and orchestrators
	Losses   int // of frames
	Doubles  int // of frames
	Timeouts int // timers that give something up: attempt, blackout, retain, phase
	Cancels  int // by the user
	Refusals int // final noes to prepare
	Asks     int // timers that only ask again
	Fails    int // writes to a journal that fail; a failed write may be there or not

	// Any: in place of orchestrators with a state there are any number without memory, as in the TLA+ model. Each may ask
	// for whatever some frame that was sent to one allows: TakeSnapshot(e) after Prepared(e), CutoverNotify(e) during the
	// copy, a wish to end e at any time, Release after ActivateAck(e). Every frame stays in flight for ever, so that losses
	// and doubled frames are without bounds, and so are timers, but for thaws, which Timeouts bounds. Losses, Doubles,
	// Cancels and Asks mean nothing.
	Any bool

	Memory bool       // the daemon is in memory
	Weak   weaken.Set // for canaries

	Progress func(states, depth int) // told now and then; nil: nobody

	StatesMax int // ends the search; 0: none
}

func (b Bounds) String() string {
	kind := "durable"
	if b.Memory {
		kind = "in memory"
	}
	if b.Any {
		return fmt.Sprintf("%d nodes, %d attempts, %d writes, %d crashes, %d refusals, %d failed writes, %d thaws, any number of losses, doubled frames, timeouts and orchestrators, %s",
			b.Nodes, b.Moves, b.Writes, b.Crashes, b.Refusals, b.Fails, b.Timeouts, kind)
	}
	return fmt.Sprintf("%d nodes, %d moves, %d writes, %d crashes, %d losses, %d doubled, %d timeouts, %d cancels, %d asks, %d refusals, %d failed writes, %s",
		b.Nodes, b.Moves, b.Writes, b.Crashes, b.Losses, b.Doubles, b.Timeouts, b.Cancels, b.Asks, b.Refusals, b.Fails, kind)
}

// Documented are the bounds that docs speak of, the largest last: with orchestrators as they are, and with any number of
// them and of lost and doubled frames.
func Documented() []Bounds {
	return []Bounds{
		{Nodes: 3, Moves: 2, Writes: 1},
		{Nodes: 2, Moves: 1, Writes: 1, Crashes: 1},
		{Nodes: 2, Moves: 1, Writes: 1, Timeouts: 2, Cancels: 1},
		{Any: true, Nodes: 3, Moves: 2, Writes: 2, Crashes: 2, Timeouts: 1, Memory: true},
		{Any: true, Nodes: 3, Moves: 2, Writes: 2, Crashes: 4, Timeouts: 1, Refusals: 1, Fails: 1},
	}
}
