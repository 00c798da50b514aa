package sim

import (
	"slices"
	"testing"

	"ferry/internal/weaken"
)

// Each canary turns one rule off, and must be caught by one of the invariants named; the seed is one that is quick. How
// many moves that takes is printed. What no canary turns off:
//
//   - the target's comparison of what it replayed with the seal, the source's check of which node refused, and, for a
//     durable daemon, R7: a second line of defence. The model's "spare" runs hold without each; they cost nothing, and
//     the last is what an in-memory daemon lives by.
//   - R11, clients follow no lower epoch: no safety rests on a hint. It saves a client from going in circles.
//   - R12 is about operators.
var canaries = []struct {
	rule    weaken.Rule
	seed    uint64
	of      string
	caught  []string
	durable *bool
}{
	{weaken.SourceEpochNotDurable, 2, "R1", []string{"I5", "I2", "I1"}, nil},
	{weaken.EpochReused, 1, "R1", []string{"I5", "I2", "I1", "I4", "result"}, nil},
	{weaken.TargetEpochNotDurable, 1, "R2", []string{"I1", "I2", "I4", "I6", "L1"}, nil},
	{weaken.RefusalNotRecorded, 1, "R2", []string{"I1", "I4", "I6"}, nil},
	{weaken.RecordForgotten, 1, "R2", []string{"I1", "I4", "I5", "I6", "L1", "result"}, nil},
	{weaken.RetiredNotDurable, 3, "R3", []string{"I1", "I2", "I6", "result"}, nil},
	{weaken.RetiredBeforeAck, 1, "R3", []string{"I1", "I2", "I3", "I6"}, nil},
	{weaken.AnySealCounts, 8, "R3", []string{"I2", "I3", "I6"}, nil},
	{weaken.ActivateBeforeRetired, 1, "R4", []string{"I1", "I2", "I6"}, nil},
	{weaken.AbortAfterRetire, 4, "R5", []string{"I1", "I2", "I6"}, nil},
	{weaken.RefusalKeepsAttempt, 1, "R6", []string{"I1", "I2", "I4", "I6", "L1"}, nil},
	{weaken.DropAfterAck, 1, "R7", []string{"I3"}, new(false)},
	{weaken.SourceDoesNotAsk, 2, "R8", []string{"L1"}, nil},
	{weaken.TargetDoesNotAsk, 1, "R8", []string{"L1"}, nil},
	{weaken.EarlyRelease, 11, "R9", []string{"I3"}, nil},
	{weaken.OnlyPresentEpoch, 9, "R9", []string{"L1"}, nil},
	{weaken.LiveNotDurable, 5, "R10", []string{"I1", "I2", "I3", "I4", "result"}, nil},
	{weaken.StateNotFlushed, 2, "R10", []string{"I2", "I3"}, new(true)},
	{weaken.HintIsAuthority, 1, "R11", []string{"I1", "I2", "result"}, nil},
	{weaken.LaterEpochSaysYes, 9, "I4", []string{"I4", "result"}, nil},
	{weaken.FreezeTooLate, 1, "host 1", []string{"I2", "I3", "I6"}, nil},
	{weaken.NoGateAtBoot, 5, "host 2", []string{"I1", "I2"}, nil},
}

func TestCanaries(t *testing.T) {
	for _, c := range canaries {
		t.Run(c.rule.String(), func(t *testing.T) {
			t.Parallel()
			cfg := Config{Weak: weaken.Of(c.rule), Durable: c.durable}
			if c.rule == weaken.RefusalNotRecorded {
				cfg.Refusals = 3
			}
			r := Run(Options{Seed: c.seed, Moves: 20_000, Config: cfg})
			if len(r.Failures) == 0 {
				t.Fatalf("%s turned off, and nothing was wrong in %d moves", c.of, r.Moves)
			}
			v := r.Failures[0].Violation
			t.Logf("%s: caught after %d moves: %s", c.of, r.Moves, v.Name)
			if !slices.Contains(c.caught, v.Name) {
				t.Errorf("caught by %s: %s; not by any of %v", v.Name, v.Detail, c.caught)
			}
		})
	}
}
