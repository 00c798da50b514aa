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
	return fmt.Sprintf("%d nodes, %d moves, %d writes, %d crashes, %d losses, %d doubled, %d timeouts, %d cancels, %d asks, %d refusals, %d failed writes, %s",
		b.Nodes, b.Moves, b.Writes, b.Crashes, b.Losses, b.Doubles, b.Timeouts, b.Cancels, b.Asks, b.Refusals, b.Fails, kind)
}

// Documented are the bounds that docs and CI speak of, the largest last.
func Documented() []Bounds {
	return []Bounds{
		{Nodes: 3, Moves: 2, Writes: 1, Crashes: 2, Losses: 2, Doubles: 1},
	}
}
