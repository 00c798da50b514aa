package state

import (
	"testing"

	"ferry/fuzz/internal/harness"
)

// targets is every target of this package.
var targets = []harness.Target{
	{Name: "FuzzSnapshotOpen", Fuzz: fuzzSnapshotOpen, Runs: 4000},
	{Name: "FuzzPack", Fuzz: fuzzPack, Runs: 300},
	{Name: "FuzzUnpack", Fuzz: fuzzUnpack, Runs: 2000},
	{Name: "FuzzPlacer", Fuzz: fuzzPlacer, Runs: 4000},
	{Name: "FuzzReassembler", Fuzz: fuzzReassembler, Runs: 4000},
	{Name: "FuzzParticipant", Fuzz: fuzzParticipant, Runs: 4000},
	{Name: "FuzzMove", Fuzz: fuzzMove, Runs: 4000},
	{Name: "FuzzEnvelope", Fuzz: fuzzEnvelope, Runs: 600},
}

func TestReplay(t *testing.T)           { harness.Replay(t, targets) }
func TestCanaries(t *testing.T)         { harness.Canaries(t, targets) }
func TestTargetsAreListed(t *testing.T) { harness.Listed(t, targets) }
