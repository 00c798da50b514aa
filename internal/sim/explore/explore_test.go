package explore

import (
	"bytes"
	"testing"

	"ferry/internal/weaken"
)

// The bounds of CI; Documented has the long ones.
func TestBounds(t *testing.T) {
	small := []Bounds{
		{Any: true, Nodes: 2, Moves: 2, Writes: 1, Timeouts: 1},
		{Any: true, Nodes: 2, Moves: 1, Writes: 2, Crashes: 2, Timeouts: 1, Refusals: 1, Fails: 1},
		{Any: true, Nodes: 2, Moves: 1, Writes: 2, Crashes: 1, Timeouts: 1, Memory: true},
		{Nodes: 2, Moves: 1, Crashes: 1},
	}
	if !testing.Short() {
		small = append(small,
			Bounds{Any: true, Nodes: 3, Moves: 2, Crashes: 1},
			Bounds{Nodes: 3, Moves: 2},
		)
	}
	for _, b := range small {
		r := Search(b)
		var out bytes.Buffer
		r.Print(&out)
		t.Log("\n" + out.String())
		if r.Violation != nil || !r.Complete {
			t.Errorf("%v", r.Violation)
		}
	}
}

// What a rule forbids is found, by the shortest way. OnlyPresentEpoch needs a third attempt, which the simulator's canary
// has; FreezeTooLate and NoGateAtBoot are rules of a host that this one has none of.
func TestCanaries(t *testing.T) {
	plain := Bounds{Any: true, Nodes: 2, Moves: 1, Writes: 1, Crashes: 1, Timeouts: 1}
	twice := Bounds{Any: true, Nodes: 2, Moves: 2, Crashes: 1}
	for _, c := range []struct {
		rule   weaken.Rule
		bounds Bounds
	}{
		{weaken.SourceEpochNotDurable, Bounds{Any: true, Nodes: 3, Moves: 2, Crashes: 1}},
		{weaken.EpochReused, Bounds{Any: true, Nodes: 3, Moves: 2}},
		{weaken.TargetEpochNotDurable, plain},
		{weaken.RefusalNotRecorded, Bounds{Any: true, Nodes: 2, Moves: 1, Refusals: 1}},
		{weaken.RecordForgotten, Bounds{Any: true, Nodes: 2, Moves: 2}},
		{weaken.RetiredNotDurable, plain},
		{weaken.RetiredBeforeAck, plain},
		{weaken.AnySealCounts, plain},
		{weaken.ActivateBeforeRetired, plain},
		{weaken.AbortAfterRetire, plain},
		{weaken.RefusalKeepsAttempt, plain},
		{weaken.DropAfterAck, Bounds{Any: true, Nodes: 2, Moves: 1, Writes: 1, Crashes: 1, Memory: true}},
		{weaken.SourceDoesNotAsk, plain},
		{weaken.TargetDoesNotAsk, plain},
		{weaken.EarlyRelease, plain},
		{weaken.LiveNotDurable, plain},
		{weaken.StateNotFlushed, plain},
		{weaken.HintIsAuthority, plain},
		{weaken.LaterEpochSaysYes, twice},
	} {
		t.Run(c.rule.String(), func(t *testing.T) {
			c.bounds.Weak = weaken.Of(c.rule)
			c.bounds.StatesMax = 400_000
			r := Search(c.bounds)
			if r.Violation == nil {
				t.Fatalf("nothing is wrong in %d states", r.States)
			}
			t.Logf("after %d states, in %d steps: %v", r.States, len(r.Trace), r.Violation)
		})
	}
}
